package simulator

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// labCollect is how long updates gather before they are sent.
const labCollect = 10 * time.Millisecond

// labCollector is the state that a property collector has in the lab. The simulator's own WaitForUpdatesEx collects a whole
// filter again for each update of any object, knows no versions, and holds a filter's lock while it waits for a view's. This
// one looks at what changed, once for each answer.
type labCollector struct {
	turn    sync.Mutex       // one call at a time
	version int              // of the answer that was given last
	last    *types.UpdateSet // that answer, for a client that did not get it
	lastFor string           // the version that it answered

	// Guarded by PropertyCollector.mu:
	calls    int              // so far; only the newest may wait
	wake     chan struct{}    // holds a token when there are updates
	closed   bool             // destroyed, or its session is over
	expired  bool             // its session is over
	listener *labListener     // what the registry knows of this collector
	registry *Registry        // where the listener is
	pending  *types.UpdateSet // the rest of an answer that was too long
}

// labListener gives a collector a name of its own in the registry: every session's default collector has the same reference.
type labListener struct {
	*PropertyCollector
	self types.ManagedObjectReference
}

func (l *labListener) Reference() types.ManagedObjectReference { return l.self }

// labSignal wakes the call that waits. pc.mu is held.
func (pc *PropertyCollector) labSignal() {
	select {
	case pc.lab.wake <- struct{}{}:
	default: // a token is there, or nobody has waited yet
	}
}

// labListen starts to listen to the inventory, and forgets what was heard before.
func (pc *PropertyCollector) labListen(ctx *Context) {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	pc.updates, pc.lab.pending, pc.lab.last = nil, nil, nil
	if pc.lab.listener != nil || pc.lab.closed {
		return
	}
	pc.lab.wake = make(chan struct{}, 1)
	pc.lab.registry = ctx.Map
	pc.lab.listener = &labListener{pc, types.ManagedObjectReference{Type: "LabListener", Value: uuid.NewString()}}
	ctx.Map.AddHandler(pc.lab.listener)
}

// labClose ends the collector, on its own or with its session, and the call that waits on it.
func (pc *PropertyCollector) labClose(expired bool) {
	pc.mu.Lock()
	pc.lab.expired = expired
	listener, registry := pc.lab.listener, pc.lab.registry
	pc.lab.listener, pc.lab.closed, pc.updates = nil, true, nil
	if pc.cancel != nil {
		pc.cancel()
	}
	pc.mu.Unlock()
	if listener != nil {
		registry.RemoveHandler(listener)
	}
}

func (pc *PropertyCollector) labAddFilter(ref types.ManagedObjectReference) {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	pc.Filter = append(pc.Filter, ref)
	pc.labSignal()
}

func (pc *PropertyCollector) labRemoveFilter(ref types.ManagedObjectReference) {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	RemoveReference(&pc.Filter, ref)
}

// labFilters returns the collector's filters.
func (pc *PropertyCollector) labFilters(ctx *Context) []*PropertyFilter {
	pc.mu.Lock()
	refs := append([]types.ManagedObjectReference(nil), pc.Filter...)
	pc.mu.Unlock()
	var filters []*PropertyFilter
	for _, ref := range refs {
		if f, ok := ctx.Session.Get(ref).(*PropertyFilter); ok {
			filters = append(filters, f)
		}
	}
	return filters
}

// WaitForUpdatesEx follows the API's rules: one call at a time on a collector, an unknown version is a fault, an empty version
// starts anew, and the last version but one gets the last answer again.
func (pc *PropertyCollector) WaitForUpdatesEx(ctx *Context, r *types.WaitForUpdatesEx) soap.HasFault {
	body := new(methods.WaitForUpdatesExBody)
	fail := func(fault types.BaseMethodFault) soap.HasFault {
		body.Res, body.Fault_ = nil, Fault("", fault)
		return body
	}
	atMost, patience, once := labWaitOptions(r.Options)
	wait, cancel := labWaitContext(ctx, patience)
	defer cancel()

	pc.mu.Lock()
	if pc.cancel != nil {
		pc.cancel() // the earlier call ends with RequestCanceled
	}
	pc.cancel = cancel
	pc.lab.calls++
	call := pc.lab.calls
	pc.mu.Unlock()
	pc.lab.turn.Lock()
	defer pc.lab.turn.Unlock()

	anew := r.Version == ""
	switch {
	case pc.labExpired():
		return fail(labNotAuthenticated(pc.Self))
	case anew:
		pc.labListen(ctx)
		for _, f := range pc.labFilters(ctx) {
			f.labRestart()
		}
	case pc.lab.version > 0 && r.Version == strconv.Itoa(pc.lab.version):
	case pc.lab.last != nil && r.Version == pc.lab.lastFor:
		body.Res = &types.WaitForUpdatesExResponse{Returnval: pc.lab.last}
		return body
	default:
		return fail(new(types.InvalidCollectorVersion))
	}

	for {
		set, fault := pc.labUpdates(ctx)
		if fault != nil {
			return fail(fault)
		}
		if set != nil || anew {
			body.Res = &types.WaitForUpdatesExResponse{Returnval: pc.labAnswer(set, r.Version, atMost)}
			return body
		}
		if once {
			body.Res = new(types.WaitForUpdatesExResponse)
			return body
		}
		select {
		case <-pc.lab.wake:
			time.Sleep(labCollect)
		case <-wait.Done():
			switch {
			case pc.labExpired():
				return fail(labNotAuthenticated(pc.Self))
			case wait.Err() == context.DeadlineExceeded:
				body.Res = new(types.WaitForUpdatesExResponse)
				return body
			default:
				return fail(new(types.RequestCanceled))
			}
		}
		if pc.labSuperseded(call) {
			return fail(new(types.RequestCanceled))
		}
	}
}

// labAnswer gives an answer its version, and keeps what does not fit for the next call.
func (pc *PropertyCollector) labAnswer(set *types.UpdateSet, version string, atMost int) *types.UpdateSet {
	if set == nil {
		set = new(types.UpdateSet)
	}
	set.Truncated = nil
	rest := pageUpdateSet(set, atMost)
	pc.mu.Lock()
	pc.lab.pending = rest
	pc.mu.Unlock()
	pc.lab.version++
	set.Version = strconv.Itoa(pc.lab.version)
	pc.lab.last, pc.lab.lastFor = set, version
	return set
}

// labUpdates returns what has changed since the last answer, or nil.
func (pc *PropertyCollector) labUpdates(ctx *Context) (*types.UpdateSet, types.BaseMethodFault) {
	pc.mu.Lock()
	pending := pc.lab.pending
	pc.lab.pending = nil
	var updates []types.ObjectUpdate
	if pending == nil {
		updates, pc.updates = pc.updates, nil
	}
	pc.mu.Unlock()
	if pending != nil {
		return pending, nil
	}
	set := new(types.UpdateSet)
	for _, f := range pc.labFilters(ctx) {
		objects, fault := f.labUpdate(ctx, updates)
		if fault != nil {
			return nil, fault
		}
		if len(objects) != 0 {
			set.FilterSet = append(set.FilterSet, types.PropertyFilterUpdate{Filter: f.Self, ObjectSet: objects})
		}
	}
	if len(set.FilterSet) == 0 {
		return nil, nil
	}
	return set, nil
}

func (pc *PropertyCollector) labExpired() bool {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	return pc.lab.expired
}

func (pc *PropertyCollector) labSuperseded(call int) bool {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	return pc.lab.calls != call
}

func labWaitOptions(o *types.WaitOptions) (atMost int, patience time.Duration, once bool) {
	atMost = defaultMaxObjectUpdates
	if o == nil {
		return
	}
	if o.MaxObjectUpdates > 0 && o.MaxObjectUpdates < defaultMaxObjectUpdates {
		atMost = int(o.MaxObjectUpdates)
	}
	if s := o.MaxWaitSeconds; s != nil {
		patience, once = time.Duration(*s)*time.Second, *s == 0
	}
	return
}

// labWaitContext ends with the client's connection, and after patience if there is any.
func labWaitContext(ctx *Context, patience time.Duration) (context.Context, context.CancelFunc) {
	parent := ctx.Context
	if ctx.req != nil {
		parent = ctx.req.Context()
	}
	if patience > 0 {
		return context.WithTimeout(parent, patience)
	}
	return context.WithCancel(parent)
}

func labNotAuthenticated(ref types.ManagedObjectReference) types.BaseMethodFault {
	return &types.NotAuthenticated{NoPermission: types.NoPermission{Object: &ref, PrivilegeId: "System.View"}}
}

// labAffects tells whether a change of one property changes another: the same, a part of it, or what it is a part of.
func labAffects(changed, watched string) bool {
	if len(changed) > len(watched) {
		changed, watched = watched, changed
	}
	if !strings.HasPrefix(watched, changed) {
		return false
	}
	if len(watched) == len(changed) {
		return true
	}
	if watched[len(changed)] == '[' {
		return false // each element of an array is announced by its key
	}
	return watched[len(changed)] == '.'
}

var _ RegisterObject = (*labListener)(nil)
var _ mo.Reference = (*labListener)(nil)
