package registry

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// User and Password are who may pull from repositories that want a password.
const (
	User     = "lab"
	Password = "pull-secret"
)

// service is how the registry calls itself towards its token server, which it is itself.
const service = "lab-registry"

// tokens makes and checks bearer tokens, as https://distribution.github.io/distribution/spec/auth/token/ has them.
type tokens struct {
	key      []byte
	lifetime time.Duration
	now      func() time.Time
}

// claims are what a token says.
type claims struct {
	Repositories []string `json:"repositories"` // that may be pulled from
	Expires      int64    `json:"expires"`      // Unix seconds
}

func newTokens() *tokens {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails on Linux
	return &tokens{key: key, lifetime: 5 * time.Minute, now: time.Now}
}

func (t *tokens) sign(payload string) string {
	mac := hmac.New(sha256.New, t.key)
	mac.Write([]byte(payload))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (t *tokens) issue(repositories []string) string {
	data, _ := json.Marshal(claims{repositories, t.now().Add(t.lifetime).Unix()}) // strings and a number
	payload := base64.RawURLEncoding.EncodeToString(data)
	return payload + "." + t.sign(payload)
}

// check tells whether a token is good for a repository, or at all if repository is empty; if not, why, in the words of RFC 6750.
func (t *tokens) check(token, repository string) string {
	payload, mac, _ := strings.Cut(token, ".")
	if !hmac.Equal([]byte(mac), []byte(t.sign(payload))) {
		return "invalid_token"
	}
	var c claims
	data, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || json.Unmarshal(data, &c) != nil || c.Expires <= t.now().Unix() {
		return "invalid_token"
	}
	if repository != "" && !slices.Contains(c.Repositories, repository) {
		return "insufficient_scope"
	}
	return ""
}

// knows tells whether user and password are right.
func knows(user, password string) bool {
	return subtle.ConstantTimeCompare([]byte(user), []byte(User))&subtle.ConstantTimeCompare([]byte(password), []byte(Password)) == 1
}

// authorized answers 401 with a challenge, and returns false, unless the request may use the repository, or the registry as such
// if name is empty. Tokens are good everywhere: some clients look once, at /v2/, what a registry wants.
func (s *Server) authorized(w http.ResponseWriter, r *http.Request, name, kind string) bool {
	if kind == "" {
		return true
	}
	challenge := fmt.Sprintf(`Bearer realm="%s://%s/token",service="%s"`, scheme(r), r.Host, service)
	if name != "" {
		challenge += `,scope="repository:` + name + `:pull"`
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		why := s.tokens.check(token, name)
		if why == "" {
			return true
		}
		challenge += `,error="` + why + `"`
	}
	if kind == "basic" {
		if user, password, ok := r.BasicAuth(); ok && knows(user, password) {
			return true
		}
		challenge = `Basic realm="lab"`
	}
	w.Header().Set("WWW-Authenticate", challenge)
	refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required", map[string]string{"name": name})
	return false
}

func scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

// serveToken gives a token to anybody, but one that is good for repositories with a password only to who knows it. GET with
// Basic authentication is Docker's way, POST that of OAuth 2.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	var user, password string
	var given bool
	var asked []string
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		user, password, given = r.BasicAuth()
		given = given || r.Header.Get("Authorization") != ""
		asked = r.URL.Query()["scope"]
	case http.MethodPost:
		if err := r.ParseForm(); err != nil {
			refuse(w, http.StatusBadRequest, "UNSUPPORTED", err.Error(), nil)
			return
		}
		if grant := r.PostForm.Get("grant_type"); grant != "password" {
			refuse(w, http.StatusBadRequest, "UNSUPPORTED", "grant_type "+grant+" is not supported", nil)
			return
		}
		user, password, given = r.PostForm.Get("username"), r.PostForm.Get("password"), true
		asked = r.PostForm["scope"]
	default:
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "the operation is unsupported", nil)
		return
	}
	if given && !knows(user, password) {
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "incorrect username or password", nil)
		return
	}
	granted := []string{}
	for _, scope := range strings.Fields(strings.Join(asked, " ")) {
		// repository:NAME:ACTIONS
		kind, rest, _ := strings.Cut(scope, ":")
		colon := strings.LastIndex(rest, ":")
		if kind != "repository" || colon < 0 || !slices.Contains(strings.Split(rest[colon+1:], ","), "pull") {
			continue
		}
		if _, b := parseName(rest[:colon]); given || b.auth != "private" && b.auth != "basic" {
			granted = append(granted, rest[:colon])
		}
	}
	token := s.tokens.issue(granted)
	answer(w, http.StatusOK, map[string]any{
		"token": token, "access_token": token, "expires_in": int(s.tokens.lifetime.Seconds()), "issued_at": s.tokens.now().UTC().Format(time.RFC3339),
	})
}
