package vcenter

import (
	"net/http"
	"strings"
	"sync"

	"vch-kubelet/tools/labd/simhook"
)

// middleware counts requests that are not SOAP, and asks for a session where the simulator does not.
func (v *Server) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/sdk") && r.URL.Path != "/about" {
			v.stats.request(r)
			if !v.tokens.valid(r) || strings.HasPrefix(r.URL.Path, "/folder") && !v.mayUseFiles(r) {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// mayUseFiles tells whether a request for a datastore's files carries a SOAP session, a ticket or a password.
func (v *Server) mayUseFiles(r *http.Request) bool {
	if user, password, ok := r.BasicAuth(); ok {
		return user == v.config.User && password == v.config.Password
	}
	if ticket, err := r.Cookie("vmware_cgi_ticket"); err == nil {
		return ticket.Value != ""
	}
	cookie, err := r.Cookie("vmware_soap_session")
	return err == nil && (simhook.HasSession == nil || simhook.HasSession(v.service.Context, strings.Trim(cookie.Value, `"`)))
}

// expireSessions ends all SOAP and REST sessions.
func (v *Server) expireSessions() {
	if simhook.ExpireSessions != nil {
		simhook.ExpireSessions(v.service.Context)
	}
	v.tokens.expire()
}

// tokens remembers the REST sessions that it has seen, because the simulator never ends one.
type tokens struct {
	mu      sync.Mutex
	seen    map[string]bool
	expired map[string]bool
}

func (t *tokens) valid(r *http.Request) bool {
	token := r.Header.Get("vmware-api-session-id")
	if token == "" {
		if cookie, err := r.Cookie("vmware-api-session-id"); err == nil {
			token = cookie.Value
		}
	}
	if token == "" {
		return true // a login, or for the simulator to refuse
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen == nil {
		t.seen, t.expired = map[string]bool{}, map[string]bool{}
	}
	t.seen[token] = true
	return !t.expired[token]
}

func (t *tokens) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for token := range t.seen {
		t.expired[token] = true
	}
	clear(t.seen)
}
