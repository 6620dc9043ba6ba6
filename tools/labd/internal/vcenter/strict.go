package vcenter

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"vch-kubelet/tools/labd/internal/vmdk"
	"vch-kubelet/tools/labd/simhook"
)

// strictDefaults are the switches of `tools/lab fault DIR strict`. What is not here is always strict.
var strictDefaults = map[string]bool{
	"task-in-progress": true, // a second operation on a VM whose task still runs fails
	"duplicate-name":   true, // CreateVM with a name that the folder has fails
	"parent-disks":     true, // a parent disk goes with the last VM that uses it
}

// install puts the lab's behaviour into the simulator.
func (v *Server) install() {
	registry := v.model.Map()
	v.operations = newOperations()
	v.disks = newDisks(registry)
	v.strict = map[string]bool{}
	for name, on := range strictDefaults {
		v.strict[name] = on
	}
	v.delays = v.config.TaskDelays
	registry.Handler = v.onCall
	registry.AddHandler(v.guests)
	registry.AddHandler(v.disks)
	// A task waits for its delay before it takes its object's lock, so that tasks of different VMs overlap.
	simulator.TaskDelay.MethodDelay = map[string]int{"LockHandoff": 0}
	simhook.Active = v
}

// onCall sees every SOAP call before the simulator does.
func (v *Server) onCall(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	v.stats.call(method.Name)
	if ctx.Session == nil && strings.HasPrefix(method.Name, "RetrieveProperties") {
		return nil, &types.NotAuthenticated{NoPermission: types.NoPermission{Object: &method.This, PrivilegeId: "System.View"}}
	}
	return nil, nil
}

func (v *Server) setStrict(change map[string]bool) (any, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, on := range change {
		if _, ok := strictDefaults[name]; !ok {
			return nil, fmt.Errorf("%q is no switch; there are task-in-progress, duplicate-name and parent-disks", name)
		}
		v.strict[name] = on
	}
	return v.strict, nil
}

func (v *Server) isStrict(name string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.strict[name]
}

func (v *Server) setDelays(text string) (any, error) {
	parsed, err := ParseDelays(text)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.delays = parsed
	return text, nil
}

// Delay is a simhook: it waits as long as the task lasts.
func (v *Server) Delay(name string) {
	v.mu.Lock()
	d := v.delays.of(name)
	v.mu.Unlock()
	time.Sleep(d)
}

// TaskStarts is a simhook.
func (v *Server) TaskStarts(task, entity simhook.Ref, name string, owner any) types.BaseMethodFault {
	v.stats.task(name)
	if entity.Type != "VirtualMachine" {
		return nil
	}
	other, free := v.operations.begin(task, entity, owner)
	if free || !v.isStrict("task-in-progress") {
		return nil
	}
	return &types.TaskInProgress{Task: other}
}

// TaskEnds is a simhook.
func (v *Server) TaskEnds(task, entity simhook.Ref) { v.operations.end(task, entity) }

// AllowDuplicateNames is a simhook.
func (v *Server) AllowDuplicateNames() bool { return !v.isStrict("duplicate-name") }

// ShutdownGuest is a simhook.
func (v *Server) ShutdownGuest(vm simhook.Ref) { v.guests.send(message{Op: "shutdown", VM: vm.Value}) }

// ResetGuest is a simhook.
func (v *Server) ResetGuest(vm simhook.Ref) { v.guests.send(message{Op: "reset", VM: vm.Value}) }

// Orphans is a simhook.
func (v *Server) Orphans(vm simhook.Ref) []string {
	if !v.isStrict("parent-disks") {
		return nil
	}
	return v.disks.orphans(vm)
}

// DiskInUse is a simhook.
func (v *Server) DiskInUse(name string) bool { return v.disks.inUse(name) }

// DiskCreated is a simhook.
func (v *Server) DiskCreated(file, extent, parent string, capacity int64) error {
	if parent != "" {
		return vmdk.CreateChild(file, extent, parent, capacity)
	}
	return vmdk.CreateFlat(file, extent, capacity)
}

// DiskUpload is a simhook.
func (v *Server) DiskUpload(extent string, body io.Reader) error {
	f, err := os.OpenFile(extent, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	// A repeated upload begins anew.
	if err := errors.Join(f.Truncate(0), f.Truncate(info.Size())); err != nil {
		return err
	}
	return vmdk.Unpack(body, f, info.Size())
}

// LeaseTimeout is a simhook.
func (v *Server) LeaseTimeout() time.Duration { return v.leaseTimeout }

// operations knows which VM has a task running.
type operations struct {
	mu      sync.Mutex
	running map[simhook.Ref]operation
}

type operation struct {
	task  simhook.Ref
	owner any
}

func newOperations() *operations { return &operations{running: map[simhook.Ref]operation{}} }

// begin takes the VM for a task. Tasks that one operation makes (a reset's power tasks) do not disturb each other.
func (o *operations) begin(task, vm simhook.Ref, owner any) (other simhook.Ref, free bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now, busy := o.running[vm]; busy {
		return now.task, now.owner == owner
	}
	o.running[vm] = operation{task, owner}
	return simhook.Ref{}, true
}

func (o *operations) end(task, vm simhook.Ref) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.running[vm].task == task {
		delete(o.running, vm)
	}
}
