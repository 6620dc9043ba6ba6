package vcenter

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof" // curl --unix-socket DIR/vcenter.sock http://vcenter/debug/pprof/profile

	"github.com/vmware/govmomi/simulator"
)

// serveControl takes the lab's commands over a unix socket that only its owner can reach.
func (v *Server) serveControl(listener net.Listener) error {
	mux := http.NewServeMux()
	handle := func(name string, f func(*http.Request) (any, error)) {
		mux.HandleFunc("/"+name, func(w http.ResponseWriter, r *http.Request) {
			answer, err := f(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(answer)
		})
	}
	handle("outage", func(*http.Request) (any, error) {
		v.door.shut()
		v.expireSessions()
		return "vcenter is out of reach", nil
	})
	handle("open", func(*http.Request) (any, error) { return "vcenter is back", v.door.open() })
	handle("is-open", func(*http.Request) (any, error) { return v.door.isOpen(), nil })
	handle("stats", func(*http.Request) (any, error) { return v.stats.snapshot(), nil })
	handle("stats-reset", func(*http.Request) (any, error) { v.stats.reset(); return "counters are zero", nil })
	handle("expire-sessions", func(*http.Request) (any, error) { v.expireSessions(); return "all sessions have expired", nil })
	handle("fault-add", func(r *http.Request) (any, error) {
		var rule FaultRule
		if err := json.NewDecoder(r.Body).Decode(&rule); err != nil {
			return nil, err
		}
		return v.addFault(rule)
	})
	handle("fault-list", func(*http.Request) (any, error) { return v.listFaults(), nil })
	handle("fault-clear", func(*http.Request) (any, error) { v.clearFaults(); return "no fault rules are left", nil })
	handle("http", func(r *http.Request) (any, error) {
		var status int
		if err := json.NewDecoder(r.Body).Decode(&status); err != nil || status < 400 || status > 599 {
			return nil, fmt.Errorf("give an HTTP status from 400 to 599")
		}
		simulator.StatusSDK = status
		return fmt.Sprintf("the next call is answered %d", status), nil
	})
	handle("strict", func(r *http.Request) (any, error) {
		var change map[string]bool
		if err := json.NewDecoder(r.Body).Decode(&change); err != nil {
			return nil, err
		}
		return v.setStrict(change)
	})
	handle("delay", func(r *http.Request) (any, error) {
		var text string
		if err := json.NewDecoder(r.Body).Decode(&text); err != nil {
			return nil, err
		}
		return v.setDelays(text)
	})
	mux.Handle("/debug/pprof/", http.DefaultServeMux)
	return http.Serve(listener, mux)
}
