// Package oci has the documents of the OCI image format, as far as the lab makes and serves them, and the directory that
// holds images: an OCI image layout (https://github.com/opencontainers/image-spec).
package oci

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

// Media types of the OCI image format and of Docker's, which came before it.
const (
	Manifest  = "application/vnd.oci.image.manifest.v1+json"
	Index     = "application/vnd.oci.image.index.v1+json"
	Config    = "application/vnd.oci.image.config.v1+json"
	Layer     = "application/vnd.oci.image.layer.v1.tar"
	LayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip"
	LayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd"

	DockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	DockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	DockerConfig   = "application/vnd.docker.container.image.v1+json"
	DockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// RefName is the annotation that names an image in a layout's index.json: registry/repository:tag.
const RefName = "org.opencontainers.image.ref.name"

// Descriptor points to a blob.
type Descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Platform    *Platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Platform is what an image runs on.
type Platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

// ManifestDoc is an image for one platform.
type ManifestDoc struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        Descriptor   `json:"config"`
	Layers        []Descriptor `json:"layers"`
}

// IndexDoc lists images for several platforms, or all of a layout.
type IndexDoc struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []Descriptor `json:"manifests"`
}

// ConfigDoc is an image's configuration.
type ConfigDoc struct {
	Created string `json:"created"`
	Platform
	Config RunConfig `json:"config"`
	RootFS RootFS    `json:"rootfs"`
}

// RunConfig is how an image wants to be run.
type RunConfig struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
}

// RootFS names the layers by the digests of their uncompressed tars.
type RootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// IsIndex tells whether a media type is that of a list of manifests.
func IsIndex(mediaType string) bool { return mediaType == Index || mediaType == DockerList }

// Digest is the name of a blob with this content.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

var digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// ValidDigest tells whether s can be the name of a blob. The lab knows no other algorithm than SHA-256.
func ValidDigest(s string) bool { return digestPattern.MatchString(s) }

// Name is the full name of an image, taken apart.
type Name struct{ Registry, Repository, Tag string }

// ParseName takes registry/repository:tag apart.
func ParseName(s string) (Name, bool) {
	registry, rest, ok := strings.Cut(s, "/")
	repository, tag, tagged := strings.Cut(rest, ":")
	return Name{registry, repository, tag}, ok && tagged && repository != "" && tag != ""
}

func (n Name) String() string { return n.Registry + "/" + n.Repository + ":" + n.Tag }
