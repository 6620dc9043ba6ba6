package registry

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"vch-kubelet/tools/labd/internal/oci"
)

// testRegistry serves two repositories: library/app with an image of one large layer, and pause, an index.
type testRegistry struct {
	t                       *testing.T
	url                     string
	server                  *Server
	client                  *http.Client
	layer                   []byte
	layerDigest, config     string
	manifest, indexManifest string
}

func newTestRegistry(t *testing.T) *testRegistry {
	t.Helper()
	layout, err := oci.Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	must := func(d oci.Descriptor, err error) oci.Descriptor {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	r := &testRegistry{t: t, layer: []byte(strings.Repeat("0123456789abcdef", 32<<10))}
	layer := must(layout.Add(oci.LayerGzip, r.layer))
	config := must(layout.AddDocument(oci.Config, oci.ConfigDoc{}))
	manifest := must(layout.AddDocument(oci.Manifest, oci.ManifestDoc{SchemaVersion: 2, MediaType: oci.Manifest, Config: config, Layers: []oci.Descriptor{layer}}))
	index := must(layout.AddDocument(oci.Index, oci.IndexDoc{SchemaVersion: 2, MediaType: oci.Index, Manifests: []oci.Descriptor{manifest}}))
	layout.Tag(manifest, oci.Name{Registry: "docker.io", Repository: "library/app", Tag: "1.0"})
	layout.Tag(index, oci.Name{Registry: "registry.k8s.io", Repository: "pause", Tag: "3"})
	if err := layout.Close(); err != nil {
		t.Fatal(err)
	}
	r.layerDigest, r.config, r.manifest, r.indexManifest = layer.Digest, config.Digest, manifest.Digest, index.Digest
	if r.server, err = New("storage.invalid", layout.Dir); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewTLSServer(r.server)
	t.Cleanup(s.Close)
	r.url, r.client = s.URL, s.Client()
	r.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return r
}

func (r *testRegistry) do(method, path string, header map[string]string) (*http.Response, []byte) {
	r.t.Helper()
	req, err := http.NewRequest(method, r.url+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	res, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res, body
}

func (r *testRegistry) get(path string) (*http.Response, []byte) { return r.do("GET", path, nil) }

// wantError checks an answer's status and the code of its error.
func (r *testRegistry) wantError(path string, header map[string]string, status int, code string) {
	r.t.Helper()
	res, body := r.do("GET", path, header)
	var document struct {
		Errors []struct{ Code, Message string }
	}
	if err := json.Unmarshal(body, &document); err != nil || len(document.Errors) != 1 {
		r.t.Fatalf("%s: %d %q", path, res.StatusCode, body)
	}
	if res.StatusCode != status || document.Errors[0].Code != code || document.Errors[0].Message == "" {
		r.t.Errorf("%s: %d %s, want %d %s", path, res.StatusCode, body, status, code)
	}
}

func TestManifests(t *testing.T) {
	r := newTestRegistry(t)
	if res, _ := r.get("/v2/"); res.StatusCode != 401 || res.Header.Get("Docker-Distribution-Api-Version") != "registry/2.0" {
		t.Errorf("/v2/: %v", res.Header)
	}
	for path, want := range map[string][2]string{
		"/v2/library/app/manifests/1.0":               {r.manifest, oci.Manifest},
		"/v2/library/app/manifests/1.0?ns=docker.io":  {r.manifest, oci.Manifest},
		"/v2/library/app/manifests/" + r.manifest:     {r.manifest, oci.Manifest},
		"/v2/pause/manifests/3":                       {r.indexManifest, oci.Index},
		"/v2/pause/manifests/3?ns=registry.k8s.io":    {r.indexManifest, oci.Index},
		"/v2/pause/manifests/" + r.manifest:           {r.manifest, oci.Manifest},
		"/v2/corrupt/app/manifests/1.0?ns=anybody.io": {r.manifest, oci.Manifest},
	} {
		res, body := r.get(path)
		if res.StatusCode != 200 || oci.Digest(body) != want[0] || res.Header.Get("Docker-Content-Digest") != want[0] || res.Header.Get("Content-Type") != want[1] {
			t.Errorf("%s: %d %v %s", path, res.StatusCode, res.Header, body)
		}
		head, nothing := r.do("HEAD", path, nil)
		if head.StatusCode != 200 || len(nothing) != 0 || head.ContentLength != int64(len(body)) || head.Header.Get("Docker-Content-Digest") != want[0] {
			t.Errorf("HEAD %s: %d %v", path, head.StatusCode, head.Header)
		}
	}
	_, body := r.get("/v2/library/app/tags/list")
	if string(body) != `{"name":"library/app","tags":["1.0"]}` {
		t.Errorf("tags: %s", body)
	}
	_, body = r.get("/v2/_catalog")
	if string(body) != `{"repositories":["library/app","pause"]}` {
		t.Errorf("catalog: %s", body)
	}
}

func TestUnknownNames(t *testing.T) {
	r := newTestRegistry(t)
	other := oci.Digest([]byte("other"))
	r.wantError("/v2/library/none/manifests/latest", nil, 404, "NAME_UNKNOWN")
	r.wantError("/v2/app/manifests/1.0", nil, 404, "NAME_UNKNOWN")
	r.wantError("/v2/pause/manifests/3?ns=docker.io", nil, 404, "NAME_UNKNOWN")
	r.wantError("/v2/library/none/tags/list", nil, 404, "NAME_UNKNOWN")
	r.wantError("/v2/library/app/manifests/2.0", nil, 404, "MANIFEST_UNKNOWN")
	r.wantError("/v2/library/app/manifests/"+other, nil, 404, "MANIFEST_UNKNOWN")
	r.wantError("/v2/library/app/manifests/"+r.indexManifest, nil, 404, "MANIFEST_UNKNOWN")
	r.wantError("/v2/library/app/manifests/sha256:abc", nil, 400, "DIGEST_INVALID")
	r.wantError("/v2/library/app/blobs/"+other, nil, 404, "BLOB_UNKNOWN")
	r.wantError("/v2/library/app/blobs/sha512:abc", nil, 400, "DIGEST_INVALID")
	r.wantError("/v2/Library/app/manifests/1.0", nil, 400, "NAME_INVALID")
	r.wantError("/v2/..%2f..%2fetc/blobs/"+other, nil, 400, "NAME_INVALID")
	for _, path := range []string{"/", "/v1/", "/v2/library/app", "/v2/library/app/manifests/", "/v2/app/uploads/1"} {
		if res, _ := r.get(path); res.StatusCode != 404 {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
	if res, body := r.do("PUT", "/v2/library/app/manifests/1.0", nil); res.StatusCode != 405 || !strings.Contains(string(body), "UNSUPPORTED") {
		t.Errorf("PUT: %d %s", res.StatusCode, body)
	}
}

func TestAccept(t *testing.T) {
	r := newTestRegistry(t)
	for accept, ok := range map[string]bool{
		"": true, "*/*": true, oci.Index: true, oci.Manifest + ", " + oci.Index + ";q=0.5": true, oci.Manifest: false, "text/html, " + oci.DockerList: false,
	} {
		header := map[string]string{"Accept": accept}
		if accept == "" {
			header = nil
		}
		if ok {
			if res, _ := r.do("GET", "/v2/pause/manifests/3", header); res.StatusCode != 200 {
				t.Errorf("%q: %d", accept, res.StatusCode)
			}
		} else {
			r.wantError("/v2/pause/manifests/3", header, 404, "MANIFEST_UNKNOWN")
		}
	}
}

func TestBlobs(t *testing.T) {
	r := newTestRegistry(t)
	path := "/v2/library/app/blobs/" + r.layerDigest
	res, body := r.get(path)
	if res.StatusCode != 200 || string(body) != string(r.layer) || res.Header.Get("Docker-Content-Digest") != r.layerDigest || res.Header.Get("Accept-Ranges") != "bytes" {
		t.Errorf("%d %v, %d bytes", res.StatusCode, res.Header, len(body))
	}
	if res, _ := r.do("HEAD", path, nil); res.StatusCode != 200 || res.ContentLength != int64(len(r.layer)) {
		t.Errorf("HEAD: %d %v", res.StatusCode, res.Header)
	}
	res, body = r.do("GET", path, map[string]string{"Range": "bytes=1000-1999"})
	if res.StatusCode != 206 || string(body) != string(r.layer[1000:2000]) || res.Header.Get("Content-Range") != fmt.Sprintf("bytes 1000-1999/%d", len(r.layer)) {
		t.Errorf("range: %d %v", res.StatusCode, res.Header)
	}
	if res, body = r.do("GET", path, map[string]string{"Range": "bytes=1000-"}); res.StatusCode != 206 || string(body) != string(r.layer[1000:]) {
		t.Errorf("open range: %d, %d bytes", res.StatusCode, len(body))
	}
	if res, _ = r.do("GET", path, map[string]string{"Range": "bytes=9999999-"}); res.StatusCode != 416 {
		t.Errorf("range behind the end: %d", res.StatusCode)
	}
	if res, _ := r.get("/v2/library/app/blobs/" + r.config); res.StatusCode != 200 {
		t.Errorf("config: %d", res.StatusCode)
	}
}

func TestBasicAuth(t *testing.T) {
	r := newTestRegistry(t)
	path := "/v2/basic/app/manifests/1.0"
	r.wantError(path, nil, 401, "UNAUTHORIZED")
	if res, _ := r.get(path); res.Header.Get("WWW-Authenticate") != `Basic realm="lab"` {
		t.Errorf("challenge %v", res.Header)
	}
	for password, status := range map[string]int{Password: 200, "wrong": 401} {
		req, _ := http.NewRequest("GET", r.url+path, nil)
		req.SetBasicAuth(User, password)
		res, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != status {
			t.Errorf("%s: %d", password, res.StatusCode)
		}
	}
}

// token asks for one, as what the challenge of path says.
func (r *testRegistry) token(path, user, password string) (string, int) {
	r.t.Helper()
	res, _ := r.get(path)
	fields := map[string]string{}
	scheme, rest, _ := strings.Cut(res.Header.Get("WWW-Authenticate"), " ")
	for _, field := range strings.Split(rest, ",") {
		name, value, _ := strings.Cut(field, "=")
		fields[name] = strings.Trim(value, `"`)
	}
	if res.StatusCode != 401 || scheme != "Bearer" || fields["service"] != service || !strings.HasPrefix(fields["realm"], r.url) {
		r.t.Fatalf("%s: %d, challenge %q", path, res.StatusCode, res.Header.Get("WWW-Authenticate"))
	}
	req, _ := http.NewRequest("GET", fields["realm"]+"?"+url.Values{"service": {fields["service"]}, "scope": {fields["scope"]}}.Encode(), nil)
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	res, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		r.t.Fatal(err)
	}
	if res.StatusCode == 200 && (answer.Token == "" || answer.AccessToken != answer.Token || answer.ExpiresIn != 300) {
		r.t.Errorf("token %+v", answer)
	}
	return answer.Token, res.StatusCode
}

func bearer(token string) map[string]string {
	return map[string]string{"Authorization": "Bearer " + token}
}

func TestTokens(t *testing.T) {
	r := newTestRegistry(t)
	const private, public = "/v2/private/app/manifests/1.0", "/v2/token/app/manifests/1.0"
	ping, _ := r.token("/v2/", "", "")
	if res, _ := r.do("GET", "/v2/", bearer(ping)); res.StatusCode != 200 {
		t.Errorf("/v2/: %d", res.StatusCode)
	}
	anonymous, _ := r.token(public, "", "")
	if res, _ := r.do("GET", public, bearer(anonymous)); res.StatusCode != 200 {
		t.Errorf("anonymous token: %d", res.StatusCode)
	}
	nothing, status := r.token(private, "", "")
	if status != 200 {
		t.Errorf("token of nobody: %d", status)
	}
	r.wantError(private, bearer(nothing), 401, "UNAUTHORIZED")
	if res, _ := r.do("GET", private, bearer(nothing)); !strings.HasSuffix(res.Header.Get("WWW-Authenticate"), `,error="insufficient_scope"`) {
		t.Errorf("challenge %v", res.Header)
	}
	if _, status := r.token(private, User, "wrong"); status != 401 {
		t.Errorf("wrong password: %d", status)
	}
	good, _ := r.token(private, User, Password)
	for _, path := range []string{private, "/v2/private/app/blobs/" + r.layerDigest} {
		if res, _ := r.do("GET", path, bearer(good)); res.StatusCode != 200 {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
	r.wantError("/v2/private/pause/manifests/3", bearer(good), 401, "UNAUTHORIZED") // another repository
	r.wantError(private, bearer(good+"x"), 401, "UNAUTHORIZED")
	r.wantError(private, bearer("x"), 401, "UNAUTHORIZED")
	r.server.tokens.now = func() time.Time { return time.Now().Add(10 * time.Minute) }
	r.wantError(private, bearer(good), 401, "UNAUTHORIZED")
	if res, _ := r.do("GET", private, bearer(good)); !strings.HasSuffix(res.Header.Get("WWW-Authenticate"), `,error="invalid_token"`) {
		t.Errorf("challenge %v", res.Header)
	}
}

// Clients that have found out at /v2/ that tokens are wanted try nothing else.
func TestTokenInsteadOfPassword(t *testing.T) {
	r := newTestRegistry(t)
	const path = "/v2/basic/app/manifests/1.0"
	ask := func(user string) string {
		req, _ := http.NewRequest("GET", r.url+"/token?scope=repository:basic/app:pull", nil)
		if user != "" {
			req.SetBasicAuth(user, Password)
		}
		res, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var answer struct{ Token string }
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		return answer.Token
	}
	if res, _ := r.do("GET", path, bearer(ask(User))); res.StatusCode != 200 {
		t.Errorf("%d", res.StatusCode)
	}
	r.wantError(path, bearer(ask("")), 401, "UNAUTHORIZED")
}

func TestOAuth(t *testing.T) {
	r := newTestRegistry(t)
	form := url.Values{"grant_type": {"password"}, "username": {User}, "password": {Password}, "service": {service}, "client_id": {"test"},
		"scope": {"repository:private/app:pull repository:private/pause:pull,push"}}
	res, err := r.client.PostForm(r.url+"/token", form)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	err = json.NewDecoder(res.Body).Decode(&answer)
	res.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v2/private/app/manifests/1.0", "/v2/private/pause/manifests/3"} {
		if res, _ := r.do("GET", path, bearer(answer.AccessToken)); res.StatusCode != 200 {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
	for name, value := range map[string]string{"password": "wrong", "grant_type": "refresh_token"} {
		bad := url.Values{}
		for k, v := range form {
			bad[k] = v
		}
		bad.Set(name, value)
		res, err := r.client.PostForm(r.url+"/token", bad)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 401 && res.StatusCode != 400 {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
}

func TestRedirect(t *testing.T) {
	r := newTestRegistry(t)
	storage := httptest.NewTLSServer(r.server.Storage())
	defer storage.Close()
	r.server.storage = strings.TrimPrefix(storage.URL, "https://")
	if res, _ := r.get("/v2/redirect/app/blobs/" + r.config); res.StatusCode != 200 {
		t.Errorf("config: %d", res.StatusCode)
	}
	res, _ := r.get("/v2/redirect/app/blobs/" + r.layerDigest)
	location := res.Header.Get("Location")
	if res.StatusCode != 307 || !strings.HasPrefix(location, storage.URL) {
		t.Fatalf("%d %q", res.StatusCode, location)
	}
	for authorization, status := range map[string]int{"": 206, "Bearer x": 400} {
		req, _ := http.NewRequest("GET", location, nil)
		req.Header.Set("Range", "bytes=0-9")
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		res, err := storage.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != status {
			t.Errorf("%q: %d", authorization, res.StatusCode)
		}
	}
}

// What somebody has laid beside the lab's own images.
func TestSecondLayout(t *testing.T) {
	r := newTestRegistry(t)
	layoutOf := func(repository string) (dir, layer string) {
		layout, err := oci.Create(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		d, _ := layout.Add(oci.Layer, []byte("own"))
		config, _ := layout.AddDocument(oci.Config, oci.ConfigDoc{})
		manifest, err := layout.AddDocument(oci.Manifest, oci.ManifestDoc{SchemaVersion: 2, MediaType: oci.Manifest, Config: config, Layers: []oci.Descriptor{d}})
		if err != nil {
			t.Fatal(err)
		}
		layout.Tag(manifest, oci.Name{Registry: "docker.io", Repository: repository, Tag: "1"})
		if err := layout.Close(); err != nil {
			t.Fatal(err)
		}
		return layout.Dir, d.Digest
	}
	dir, layer := layoutOf("own/thing")
	if err := r.server.add(dir); err != nil {
		t.Fatal(err)
	}
	storage := httptest.NewServer(r.server.Storage())
	defer storage.Close()
	for url, want := range map[string]string{
		r.url + "/v2/own/thing/blobs/" + layer:           "own",
		r.url + "/v2/library/app/blobs/" + r.layerDigest: string(r.layer),
		storage.URL + storagePath + layer:                "own",
		storage.URL + storagePath + r.layerDigest:        string(r.layer),
	} {
		res, err := r.client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(body) != want {
			t.Errorf("%s: %v, %d bytes", url, err, len(body))
		}
	}
	if again, _ := layoutOf("library/app"); r.server.add(again) == nil {
		t.Error("two layouts have the same repository")
	}
}

func TestCorrupt(t *testing.T) {
	r := newTestRegistry(t)
	_, body := r.get("/v2/corrupt/app/blobs/" + r.layerDigest)
	wrong := 0
	for i := range body {
		if body[i] != r.layer[i] {
			wrong++
		}
	}
	if len(body) != len(r.layer) || wrong != 1 {
		t.Errorf("%d of %d bytes are wrong", wrong, len(body))
	}
	if _, body := r.get("/v2/corrupt/app/blobs/" + r.config); oci.Digest(body) != r.config {
		t.Error("the config is wrong, too")
	}
}

// A client that goes on where it was gets all of a layer whose answers are cut, by HTTP/1.1 and HTTP/2.
func TestCut(t *testing.T) {
	for _, protocols := range [][]string{{"h2"}, {"http/1.1"}} {
		r := newTestRegistry(t)
		s := httptest.NewUnstartedServer(r.server)
		s.EnableHTTP2 = protocols[0] == "h2"
		s.TLS = &tls.Config{NextProtos: protocols}
		s.StartTLS()
		var got []byte
		tries := 0
		for len(got) < len(r.layer) && tries < 50 {
			tries++
			req, _ := http.NewRequest("GET", s.URL+"/v2/cut/app/blobs/"+r.layerDigest, nil)
			req.Header.Set("Range", fmt.Sprintf("bytes=%d-", len(got)))
			res, err := s.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			part, err := io.ReadAll(res.Body)
			res.Body.Close()
			got = append(got, part...)
			if tries == 1 && (err == nil || len(part) != len(r.layer)/2) {
				t.Errorf("%s: the first answer has %d bytes and ends with %v", res.Proto, len(part), err)
			}
		}
		if string(got) != string(r.layer) || tries < 3 {
			t.Errorf("%v: %d bytes after %d tries", protocols, len(got), tries)
		}
		s.Close()
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]behaviour{
		"busybox": {}, "private": {}, "library/private": {}, "private/busybox": {auth: "private"},
		"private/redirect/e2e-test-images/agnhost": {auth: "private", redirect: true}, "cut/corrupt/a": {cut: true, corrupt: true},
	} {
		if rest, got := parseName(name); got != want || rest == "" {
			t.Errorf("%s: %q %+v", name, rest, got)
		}
	}
}
