// Package registry serves OCI image layouts as a registry that can be pulled from
// (https://github.com/opencontainers/distribution-spec), and behaves badly where it is asked to.
package registry

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"vch-kubelet/tools/labd/internal/oci"
)

// Server is the registry as a handler. The repositories of all registries that it stands for share one space of names:
// docker.io/library/busybox is library/busybox.
type Server struct {
	layouts []*oci.Layout
	repos   map[string]*repository
	tokens  *tokens
	storage string // host:port where layers are that redirect/… sends clients to, by HTTPS
}

// repository is what one name has.
type repository struct {
	registry  string // whose it is: docker.io
	layout    *oci.Layout
	tags      map[string]string
	manifests map[string]oci.Descriptor
	blobs     map[string]oci.Descriptor
}

// New reads the layouts in dirs.
func New(storage string, dirs ...string) (*Server, error) {
	s := &Server{repos: map[string]*repository{}, tokens: newTokens(), storage: storage}
	for _, dir := range dirs {
		if err := s.add(dir); err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
	}
	return s, nil
}

func (s *Server) add(dir string) error {
	layout, err := oci.Open(dir)
	if err != nil {
		return err
	}
	s.layouts = append(s.layouts, layout)
	for _, d := range layout.Index.Manifests {
		name, ok := oci.ParseName(d.Annotations[oci.RefName])
		if !ok || !namePattern.MatchString(name.Repository) {
			return fmt.Errorf("%q is no name of an image", d.Annotations[oci.RefName])
		}
		repo := s.repos[name.Repository]
		if repo == nil {
			repo = &repository{name.Registry, layout, map[string]string{}, map[string]oci.Descriptor{}, map[string]oci.Descriptor{}}
			s.repos[name.Repository] = repo
		}
		if repo.registry != name.Registry {
			return fmt.Errorf("%s and %s both have %s", repo.registry, name.Registry, name.Repository)
		}
		if repo.layout != layout {
			return fmt.Errorf("%s is in %s as well", name.Repository, repo.layout.Dir)
		}
		repo.tags[name.Tag] = d.Digest
		if err := repo.addManifest(d); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// addManifest adds a manifest and all that it refers to.
func (r *repository) addManifest(d oci.Descriptor) error {
	r.manifests[d.Digest] = d
	if oci.IsIndex(d.MediaType) {
		var list oci.IndexDoc
		if err := r.layout.Document(d.Digest, &list); err != nil {
			return err
		}
		for _, m := range list.Manifests {
			if err := r.addManifest(m); err != nil {
				return err
			}
		}
		return nil
	}
	var manifest oci.ManifestDoc
	if err := r.layout.Document(d.Digest, &manifest); err != nil {
		return err
	}
	for _, blob := range append(manifest.Layers, manifest.Config) {
		if _, err := os.Stat(r.layout.Blob(blob.Digest)); err != nil {
			return err
		}
		r.blobs[blob.Digest] = blob
	}
	return nil
}

// find returns the repository of a name; images of docker.io/library need not say "library/" behind a behaviour.
func (s *Server) find(name string, b behaviour) *repository {
	if repo := s.repos[name]; repo != nil {
		return repo
	}
	if b != (behaviour{}) {
		return s.repos["library/"+name]
	}
	return nil
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		s.serveToken(w, r)
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/v2/")
	if !ok && r.URL.Path != "/v2" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "the operation is unsupported: images are built, not pushed", nil)
		return
	}
	switch path {
	case "":
		if s.authorized(w, r, "", "token") {
			answer(w, http.StatusOK, map[string]any{})
		}
		return
	case "_catalog":
		answer(w, http.StatusOK, map[string]any{"repositories": slices.Sorted(maps.Keys(s.repos))})
		return
	}
	at, ok := parseRoute(path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	if !namePattern.MatchString(at.name) {
		refuse(w, http.StatusBadRequest, "NAME_INVALID", "invalid repository name", map[string]string{"name": at.name})
		return
	}
	name, how := parseName(at.name)
	if !s.authorized(w, r, at.name, how.auth) {
		return
	}
	repo := s.find(name, how)
	// A mirror's client says whom it stands for, as containerd does.
	if of := r.URL.Query().Get("ns"); repo != nil && of != "" && how == (behaviour{}) && of != repo.registry {
		repo = nil
	}
	if repo == nil {
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry", map[string]string{"name": at.name})
		return
	}
	switch at.kind {
	case "manifests":
		s.serveManifest(w, r, repo, at.reference)
	case "blobs":
		s.serveBlob(w, r, repo, at.reference, how)
	default:
		answer(w, http.StatusOK, map[string]any{"name": at.name, "tags": slices.Sorted(maps.Keys(repo.tags))})
	}
}

func (s *Server) serveManifest(w http.ResponseWriter, r *http.Request, repo *repository, reference string) {
	digest := reference
	if strings.Contains(reference, ":") {
		if !oci.ValidDigest(reference) {
			refuse(w, http.StatusBadRequest, "DIGEST_INVALID", "provided digest is not a SHA-256 digest", map[string]string{"digest": reference})
			return
		}
	} else {
		digest = repo.tags[reference]
	}
	d, ok := repo.manifests[digest]
	if !ok {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown", map[string]string{"reference": reference})
		return
	}
	if !accepts(r, d.MediaType) {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", d.MediaType+" found, but accept header does not support it", map[string]string{"reference": reference})
		return
	}
	data, err := repo.layout.Read(digest)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "UNKNOWN", err.Error(), nil)
		return
	}
	h := w.Header()
	h.Set("Content-Type", d.MediaType)
	h.Set("Content-Length", strconv.Itoa(len(data)))
	h.Set("Docker-Content-Digest", digest)
	h.Set("Etag", `"`+digest+`"`)
	if r.Method == http.MethodGet {
		_, _ = w.Write(data) // a client that is gone does not matter
	}
}

// accepts tells whether the client says that it can read a media type. As at other registries there is no conversion.
func accepts(r *http.Request, mediaType string) bool {
	asked := strings.Join(r.Header.Values("Accept"), ",")
	if asked == "" {
		return true
	}
	for _, item := range strings.Split(asked, ",") {
		t, _, err := mime.ParseMediaType(item)
		if err == nil && (t == mediaType || t == "*/*" || t == "application/*") {
			return true
		}
	}
	return false
}

func (s *Server) serveBlob(w http.ResponseWriter, r *http.Request, repo *repository, digest string, how behaviour) {
	if !oci.ValidDigest(digest) {
		refuse(w, http.StatusBadRequest, "DIGEST_INVALID", "provided digest is not a SHA-256 digest", map[string]string{"digest": digest})
		return
	}
	d, ok := repo.blobs[digest]
	if !ok {
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry", map[string]string{"digest": digest})
		return
	}
	layer := d.MediaType != oci.Config && d.MediaType != oci.DockerConfig
	if how.redirect && layer && r.TLS != nil {
		http.Redirect(w, r, "https://"+s.storage+storagePath+digest, http.StatusTemporaryRedirect)
		return
	}
	f, err := os.Open(repo.layout.Blob(digest))
	if err != nil {
		refuse(w, http.StatusInternalServerError, "UNKNOWN", err.Error(), nil)
		return
	}
	defer f.Close()
	var content io.ReadSeeker = f
	if how.corrupt && layer {
		content = &corruptReader{file: f, at: d.Size / 2}
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", digest)
	w.Header().Set("Etag", `"`+digest+`"`)
	if how.cut && layer && r.Method == http.MethodGet {
		w = &cutWriter{ResponseWriter: w}
	}
	http.ServeContent(w, r, "", time.Time{}, content)
}

const storagePath = "/storage/"

// Storage serves layers to clients that were redirected. Like the storage of big registries it refuses requests that
// carry the credentials for the registry along.
func (s *Server) Storage() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		digest, ok := strings.CutPrefix(r.URL.Path, storagePath)
		if !ok || !oci.ValidDigest(digest) {
			http.NotFound(w, r)
			return
		}
		if r.Header.Get("Authorization") != "" {
			http.Error(w, "only one authentication mechanism is allowed: the address itself, not the Authorization header", http.StatusBadRequest)
			return
		}
		for _, layout := range s.layouts {
			if file := layout.Blob(digest); exists(file) {
				http.ServeFile(w, r, file)
				return
			}
		}
		http.NotFound(w, r)
	})
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// refuse answers with an error as the specification has it.
func refuse(w http.ResponseWriter, status int, code, message string, detail any) {
	answer(w, status, map[string]any{"errors": []any{map[string]any{"code": code, "message": message, "detail": detail}}})
}

func answer(w http.ResponseWriter, status int, document any) {
	data, err := json.Marshal(document)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	_, _ = w.Write(data)
}
