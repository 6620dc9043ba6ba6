package images

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vch-kubelet/tools/labd/internal/oci"
)

func TestTarIsTheSame(t *testing.T) {
	make := func() []byte {
		tr := tree{}
		tr.text("b/file", "x")
		tr.hardlink("a/first", "b/file")
		tr.text("c", "y").PAXRecords = map[string]string{"SCHILY.xattr.user.x": "\x00\x01", "SCHILY.xattr.user.a": "z"}
		tr.addParents()
		var out bytes.Buffer
		if err := tr.write(&out); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	first := make()
	for range 20 {
		if !bytes.Equal(first, make()) {
			t.Fatal("the same tree gives another tar")
		}
	}
	var order []string
	for in := tar.NewReader(bytes.NewReader(first)); ; {
		h, err := in.Next()
		if err != nil {
			break
		}
		order = append(order, h.Name)
		if !h.ModTime.Equal(stamp) || h.Uid != 0 {
			t.Errorf("%+v", h)
		}
	}
	if got := strings.Join(order, " "); got != "a/ b/ b/file c a/first" {
		t.Errorf("order %s", got)
	}
}

func TestParentsAreAsBelow(t *testing.T) {
	below, above := tree{}, tree{}
	below.dir(0o1777, "tmp")
	above.text("tmp/deep/file", "")
	above.addParents(below)
	if above["tmp"].Mode != 0o1777 || above["tmp/deep"].Mode != 0o755 {
		t.Errorf("tmp %o, tmp/deep %o", above["tmp"].Mode, above["tmp/deep"].Mode)
	}
}

func TestPackagesAreMerged(t *testing.T) {
	var content bytes.Buffer
	out := tar.NewWriter(&content)
	for _, h := range []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./bin", Typeflag: tar.TypeSymlink, Linkname: "usr/bin"},
		{Name: "./bin/tool", Typeflag: tar.TypeReg, Mode: 0o755, Size: 4},
		{Name: "./sbin/tool", Typeflag: tar.TypeSymlink, Linkname: "/bin/tool"},
		{Name: "./usr/share/doc/tool/copyright", Typeflag: tar.TypeReg, Size: 4},
		{Name: "./lib/loop", Typeflag: tar.TypeSymlink, Linkname: "loop"},
	} {
		if err := out.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size != 0 {
			_, _ = out.Write([]byte("data"))
		}
	}
	_ = out.Close()
	all := tree{}
	if err := all.read(&content); err != nil {
		t.Fatal(err)
	}
	got := tree{}
	if err := got.copy(all, "/sbin/tool"); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got["usr/sbin/tool"] == nil || string(got["usr/bin/tool"].data) != "data" {
		t.Errorf("%v", got)
	}
	if all["bin"] != nil || all["usr/share/doc/tool/copyright"] != nil {
		t.Errorf("%v", all)
	}
	for _, name := range []string{"lib/loop", "usr/bin/none"} {
		if err := got.copy(all, name); err == nil {
			t.Errorf("%s is there", name)
		}
	}
	if err := (tree{"x": {Header: tar.Header{Typeflag: tar.TypeReg}, data: []byte("#!/bin/sh")}}).addLibraries(all); err != nil {
		t.Error(err)
	}
}

// The tests below are about the images that were built; tools/lab test says where they are.
func openImages(t *testing.T) *oci.Layout {
	t.Helper()
	dir := os.Getenv("LAB_IMAGES")
	if dir == "" {
		t.Skip("no images: run tools/lab test on Debian")
	}
	layout, err := oci.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return layout
}

func imageNames(t *testing.T, layout *oci.Layout) map[string]oci.Descriptor {
	t.Helper()
	names := map[string]oci.Descriptor{}
	for _, d := range layout.Index.Manifests {
		names[d.Annotations[oci.RefName]] = d
	}
	return names
}

// manifest returns the first of an image's manifests, and its configuration.
func manifest(t *testing.T, layout *oci.Layout, d oci.Descriptor) (m oci.ManifestDoc, c oci.ConfigDoc) {
	t.Helper()
	if oci.IsIndex(d.MediaType) {
		var index oci.IndexDoc
		if err := layout.Document(d.Digest, &index); err != nil {
			t.Fatal(err)
		}
		d = index.Manifests[0]
	}
	if err := layout.Document(d.Digest, &m); err != nil {
		t.Fatal(err)
	}
	if err := layout.Document(m.Config.Digest, &c); err != nil {
		t.Fatal(err)
	}
	return m, c
}

func TestImagesAreWhole(t *testing.T) {
	layout := openImages(t)
	names := imageNames(t, layout)
	for _, name := range []string{
		library + "busybox:latest", library + "nginx:latest", library + "hello-world:latest", "registry.k8s.io/pause:3.10.2",
		e2e + "agnhost:2.63.0", e2e + "busybox:1.37.0-1", e2e + "nonewprivs:1.4", e2e + "nginx:1.15-4", e2e + "nginx:1.27-0", e2e + "nonroot:1.5",
	} {
		if _, ok := names[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	for name, d := range names {
		m, c := manifest(t, layout, d)
		if len(m.Layers) != len(c.RootFS.DiffIDs) || len(m.Layers) == 0 {
			t.Errorf("%s has %d layers and %d digests of them", name, len(m.Layers), len(c.RootFS.DiffIDs))
		}
		for _, blob := range append(m.Layers, m.Config) {
			data, err := layout.Read(blob.Digest)
			if err != nil || int64(len(data)) != blob.Size || oci.Digest(data) != blob.Digest {
				t.Errorf("%s: blob %s is damaged: %v", name, blob.Digest, err)
			}
		}
	}
	_, c := manifest(t, layout, names[e2e+"nonroot:1.5"])
	if c.Config.User != "1234" {
		t.Errorf("nonroot runs as %q", c.Config.User)
	}
	_, c = manifest(t, layout, names[e2e+"agnhost:2.63.0"])
	if data, _ := json.Marshal(c.Config); !strings.Contains(string(data), `"Entrypoint":["/agnhost"],"Cmd":["pause"]`) {
		t.Errorf("agnhost: %s", data)
	}
}

// unpack puts the layers of an image together in a directory that goes away with the test.
func unpack(t *testing.T, name string) string {
	t.Helper()
	layout := openImages(t)
	if os.Getuid() != 0 {
		t.Skip("only root may do this")
	}
	d, ok := imageNames(t, layout)[name]
	if !ok {
		t.Fatalf("no image %s", name)
	}
	m, _ := manifest(t, layout, d)
	root := t.TempDir()
	for _, l := range m.Layers {
		blob := layout.Blob(l.Digest)
		list, err := output("tar", "--quoting-style=literal", "-tf", blob)
		if err != nil {
			t.Fatal(err)
		}
		whiteOut(t, root, strings.Split(strings.TrimSpace(string(list)), "\n"))
		if err := run("tar", "--xattrs", "--xattrs-include=*", "--same-owner", "--exclude=.wh.*", "-xpf", blob, "-C", root); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// whiteOut removes what a layer with these files removes from the layers below it.
func whiteOut(t *testing.T, root string, names []string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(root, name)
		hidden, is := strings.CutPrefix(filepath.Base(path), ".wh.")
		if is && hidden == ".wh..opq" {
			entries, err := os.ReadDir(filepath.Dir(path))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			for _, e := range entries {
				path := filepath.Join(filepath.Dir(path), e.Name())
				if err := os.RemoveAll(path); err != nil {
					t.Fatal(err)
				}
			}
		} else if is {
			if err := os.RemoveAll(filepath.Join(filepath.Dir(path), hidden)); err != nil {
				t.Fatal(err)
			}
		} else if info, err := os.Lstat(path); err == nil && info.IsDir() != strings.HasSuffix(name, "/") {
			// A file takes a directory's place, or the other way round.
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// in runs a command in an unpacked image.
func in(t *testing.T, root string, command ...string) string {
	t.Helper()
	out, err := exec.Command("chroot", append([]string{root}, command...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", command, err, out)
	}
	return string(out)
}

func TestAgnhostRuns(t *testing.T) {
	root := unpack(t, e2e+"agnhost:2.63.0")
	if out := in(t, root, "/agnhost", "--help"); !strings.Contains(out, "fake-registry-server") {
		t.Errorf("agnhost --help: %s", out)
	}
	if out := in(t, root, "/agnhost-2", "--version"); !strings.Contains(out, agnhostVersion) {
		t.Errorf("agnhost-2 --version: %s", out)
	}
	for _, c := range []string{"curl --version", "nc -h", "echo x | grep x", "ip -V | grep iproute2", "id -u user-defined-in-image | grep 1000", "bash -c 'echo ok'"} {
		in(t, root, "sh", "-c", c)
	}
}

func TestSmallImagesRun(t *testing.T) {
	if out := in(t, unpack(t, library+"busybox:latest"), "sh", "-c", "ls -l /bin/ls; whoami"); !strings.HasSuffix(out, "root\n") {
		t.Errorf("busybox: %s", out)
	}
	if out := in(t, unpack(t, "registry.k8s.io/pause:3.10.2"), "/pause", "-v"); out != "pause.c v"+pauseVersion+"\n" {
		t.Errorf("pause: %s", out)
	}
	if out := in(t, unpack(t, library+"nginx:latest"), "nginx", "-v"); !strings.Contains(out, "nginx/") {
		t.Errorf("nginx: %s", out)
	}
	if out := in(t, unpack(t, e2e+"nonewprivs:1.4"), "su", "-s", "/bin/sh", "nobody", "-c", "nnp"); out != "Effective uid: 0\n" {
		t.Errorf("nonewprivs: %s", out)
	}
}

// What Kubernetes' tests want of their busybox: variables with names that are no identifiers, and ash's own words.
func TestShellOfTestBusybox(t *testing.T) {
	root := unpack(t, e2e+"busybox:1.37.0-1")
	if out := in(t, root, "/bin/env", "-i", "PATH=/bin", "data-1=x", "sh", "-c", "env"); !strings.Contains(out, "data-1=x\n") {
		t.Errorf("env: %s", out)
	}
	if out := in(t, root, "/bin/sh", "-c", "echo test > /bin; :"); out != "/bin/sh: can't create /bin: Is a directory\n" {
		t.Errorf("a file that cannot be created: %s", out)
	}
	if out := in(t, root, "/bin/sh", "-c", "a=${0#/bin/}; [[ $a == sh ]] && echo $((2**40)) | sed s/1/x/"); out != "x099511627776\n" {
		t.Errorf("a script: %s", out)
	}
}

// The image that checks itself is right when it is put together as this test does it.
func TestLayersCheckThemselves(t *testing.T) {
	root := unpack(t, "docker.io/lab/layers:latest")
	proc := filepath.Join(root, "proc")
	if err := run("mount", "-t", "proc", "proc", proc); err != nil {
		t.Skipf("no /proc: %v", err)
	}
	t.Cleanup(func() {
		if err := run("umount", proc); err != nil {
			t.Error(err)
		}
	})
	if out := in(t, root, "/check"); out != "layers: all is well\n" {
		t.Error(out)
	}
}
