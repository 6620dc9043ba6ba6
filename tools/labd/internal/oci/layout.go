package oci

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Layout is a directory of images.
type Layout struct {
	Dir   string
	Index IndexDoc
}

// Create makes an empty layout in dir. Nothing of it is to be used before Close.
func Create(dir string) (*Layout, error) {
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		return nil, err
	}
	return &Layout{Dir: dir, Index: IndexDoc{SchemaVersion: 2, MediaType: Index}}, nil
}

// Open reads the index of the layout in dir.
func Open(dir string) (*Layout, error) {
	l := &Layout{Dir: dir}
	data, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		return nil, err
	}
	return l, json.Unmarshal(data, &l.Index)
}

// Blob is the file of a blob.
func (l *Layout) Blob(digest string) string {
	return filepath.Join(l.Dir, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))
}

// Read returns a blob.
func (l *Layout) Read(digest string) ([]byte, error) {
	if !ValidDigest(digest) {
		return nil, fmt.Errorf("%q is no digest", digest)
	}
	return os.ReadFile(l.Blob(digest))
}

// Document reads a blob that is JSON.
func (l *Layout) Document(digest string, into any) error {
	data, err := l.Read(digest)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	return err
}

// Add writes a blob.
func (l *Layout) Add(mediaType string, data []byte) (Descriptor, error) {
	w, err := l.NewBlob()
	if err != nil {
		return Descriptor{}, err
	}
	if _, err := w.Write(data); err != nil {
		w.abandon()
		return Descriptor{}, err
	}
	return w.Done(mediaType)
}

// AddDocument writes a blob that is JSON.
func (l *Layout) AddDocument(mediaType string, document any) (Descriptor, error) {
	data, err := json.Marshal(document)
	if err != nil {
		return Descriptor{}, err
	}
	return l.Add(mediaType, data)
}

// Tag names the image that a descriptor of its manifest points to.
func (l *Layout) Tag(d Descriptor, name Name) {
	d.Annotations = map[string]string{RefName: name.String()}
	l.Index.Manifests = append(l.Index.Manifests, d)
}

// Close finishes a new layout.
func (l *Layout) Close() error {
	index, err := json.MarshalIndent(l.Index, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(l.Dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(l.Dir, "index.json"), append(index, '\n'), 0o644)
}

// BlobWriter writes one blob, whose name is known when it is complete.
type BlobWriter struct {
	layout *Layout
	file   *os.File
	sum    hash.Hash
	size   int64
}

// NewBlob begins a blob.
func (l *Layout) NewBlob() (*BlobWriter, error) {
	f, err := os.CreateTemp(filepath.Join(l.Dir, "blobs"), "new-")
	if err != nil {
		return nil, err
	}
	return &BlobWriter{layout: l, file: f, sum: sha256.New()}, nil
}

func (w *BlobWriter) Write(p []byte) (int, error) {
	n, err := io.MultiWriter(w.file, w.sum).Write(p)
	w.size += int64(n)
	return n, err
}

func (w *BlobWriter) abandon() {
	w.file.Close()
	os.Remove(w.file.Name())
}

// Done completes the blob.
func (w *BlobWriter) Done(mediaType string) (Descriptor, error) {
	d := Descriptor{MediaType: mediaType, Digest: "sha256:" + hex.EncodeToString(w.sum.Sum(nil)), Size: w.size}
	if err := w.file.Chmod(0o644); err != nil {
		w.abandon()
		return d, err
	}
	if err := w.file.Close(); err != nil {
		w.abandon()
		return d, err
	}
	return d, os.Rename(w.file.Name(), w.layout.Blob(d.Digest))
}
