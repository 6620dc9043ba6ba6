package simulator

import (
	"github.com/vmware/govmomi/vim25/mo"

	"vch-kubelet/tools/labd/simhook"
)

func init() {
	simhook.HasSession = func(context any, id string) bool {
		_, ok := context.(*Context).sessionManager().getSession(id)
		return ok
	}
	simhook.ExpireSessions = func(context any) {
		m := context.(*Context).sessionManager()
		sessionMutex.Lock()
		ids := make([]string, 0, len(m.sessions))
		for id := range m.sessions {
			ids = append(ids, id)
		}
		sessionMutex.Unlock()
		for _, id := range ids {
			m.delSession(id)
		}
	}
}

// labForget ends what a session leaves in the registry: collectors, filters and views. sessionMutex is held.
func (m *SessionManager) labForget(id string) {
	session, ok := m.sessions[id]
	if !ok {
		return
	}
	for other, s := range m.sessions {
		if other != id && s.Registry == session.Registry {
			return // a clone lives on
		}
	}
	session.Registry.m.Lock()
	objects := make([]mo.Reference, 0, len(session.Registry.objects))
	for _, o := range session.Registry.objects {
		objects = append(objects, o)
	}
	session.Registry.m.Unlock()
	for _, o := range objects {
		if pc, ok := o.(*PropertyCollector); ok {
			pc.labClose(true)
		} else if h, ok := o.(RegisterObject); ok {
			session.Map.RemoveHandler(h)
		}
	}
}
