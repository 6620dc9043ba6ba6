package images

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"time"

	"vch-kubelet/tools/labd/internal/oci"
)

// builder makes layers and images in a layout.
type builder struct {
	layout   *oci.Layout
	packages *packages
}

// layer is one that is in the layout.
type layer struct {
	files tree
	blob  oci.Descriptor // of the OCI kind
	diff  string         // digest of the tar
}

// spec is what an image is made of.
type spec struct {
	layers []layer
	config oci.RunConfig
	arch   string // this machine's if empty
	docker bool   // with Docker's media types
}

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// layer makes one from a tree, with the libraries of its programs and the directories of its files.
func (b *builder) layer(mediaType string, files tree, below ...layer) (layer, error) {
	var trees []tree
	for _, l := range below {
		trees = append(trees, l.files)
	}
	if err := files.addLibraries(b.packages.files, trees...); err != nil {
		return layer{}, err
	}
	files.addParents(trees...)
	blob, err := b.layout.NewBlob()
	if err != nil {
		return layer{}, err
	}
	l := layer{files: files}
	sum := sha256.New()
	switch mediaType {
	case oci.LayerGzip:
		zipped := gzip.NewWriter(blob)
		if err = files.write(io.MultiWriter(zipped, sum)); err == nil {
			err = zipped.Close()
		}
	case oci.LayerZstd:
		var plain, errs bytes.Buffer
		if err = files.write(io.MultiWriter(&plain, sum)); err == nil {
			c := exec.Command("zstd", "-q", "-c", "-12", "--single-thread", "--no-check")
			c.Stdin, c.Stdout, c.Stderr = &plain, blob, &errs
			if err = c.Run(); err != nil {
				err = fmt.Errorf("zstd: %w\n%s", err, errs.String())
			}
		}
	default:
		err = files.write(io.MultiWriter(blob, sum))
	}
	if err != nil {
		return layer{}, err
	}
	l.diff = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	l.blob, err = blob.Done(mediaType)
	return l, err
}

// image makes an image and returns its manifest.
func (b *builder) image(s spec) (oci.Descriptor, error) {
	if s.arch == "" {
		s.arch = runtime.GOARCH
	}
	manifestType, configType := oci.Manifest, oci.Config
	if s.docker {
		manifestType, configType = oci.DockerManifest, oci.DockerConfig
	}
	platform := oci.Platform{Architecture: s.arch, OS: "linux"}
	config := oci.ConfigDoc{Created: stamp.Format(time.RFC3339), Platform: platform, Config: s.config, RootFS: oci.RootFS{Type: "layers"}}
	manifest := oci.ManifestDoc{SchemaVersion: 2, MediaType: manifestType}
	for _, l := range s.layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.diff)
		if s.docker && l.blob.MediaType == oci.LayerGzip {
			l.blob.MediaType = oci.DockerLayer
		}
		manifest.Layers = append(manifest.Layers, l.blob)
	}
	var err error
	if manifest.Config, err = b.layout.AddDocument(configType, config); err != nil {
		return oci.Descriptor{}, err
	}
	d, err := b.layout.AddDocument(manifestType, manifest)
	d.Platform = &platform
	return d, err
}

// tag names an image: registry/repository, and its tags.
func (b *builder) tag(d oci.Descriptor, name string, tags ...string) error {
	for _, t := range tags {
		n, ok := oci.ParseName(name + ":" + t)
		if !ok {
			return fmt.Errorf("%q is no name of an image", name+":"+t)
		}
		b.layout.Tag(d, n)
	}
	return nil
}

// add makes an image and names it.
func (b *builder) add(s spec, name string, tags ...string) error {
	d, err := b.image(s)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return b.tag(d, name, tags...)
}
