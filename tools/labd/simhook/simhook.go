// Package simhook is where the overlaid simulator (tools/labd/overlay) and the lab meet. The simulator imports it, so it
// may not import the simulator; built without the overlay nothing calls these hooks.
package simhook

import (
	"io"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// Ref is short for a managed object's reference.
type Ref = types.ManagedObjectReference

// Hooks are called by the simulator. Owner is the simulator's context of a call: tasks with the same owner are parts of one operation.
type Hooks interface {
	// TaskStarts is called, with no lock held, before a task waits and runs. A fault becomes the task's.
	TaskStarts(task, entity Ref, name string, owner any) types.BaseMethodFault
	// Delay waits as long as a task of that name lasts; no lock is held.
	Delay(name string)
	// TaskEnds is called, with no lock held, when a task's work is done.
	TaskEnds(task, entity Ref)
	// AllowDuplicateNames makes vCenter as lenient as the simulator.
	AllowDuplicateNames() bool
	// ShutdownGuest and ResetGuest tell the guest of a VM that is on; the VM is locked.
	ShutdownGuest(vm Ref)
	ResetGuest(vm Ref)
	// Orphans is called when a VM has been destroyed; it returns the datastore paths of disks that vCenter deletes now.
	Orphans(vm Ref) []string
	// DiskInUse tells whether a registered VM uses the disk with that datastore path, or has a child of it.
	DiskInUse(name string) bool
	// DiskCreated makes a disk of capacity bytes. All are local files: its descriptor, its data, and its parent's descriptor or "".
	DiskCreated(file, extent, parent string, capacity int64) error
	// DiskUpload fills a disk that was created with what a client sends.
	DiskUpload(extent string, body io.Reader) error
	// LeaseTimeout is how long a client may be silent in an import.
	LeaseTimeout() time.Duration
}

// Active are the hooks in use; set them before the simulator serves.
var Active Hooks = none{}

// ExpireSessions ends all sessions and their collectors. The overlay sets it; context is a *simulator.Context.
var ExpireSessions func(context any)

// HasSession tells whether id is the key of a session. The overlay sets it; context is a *simulator.Context.
var HasSession func(context any, id string) bool

type none struct{}

func (none) TaskStarts(Ref, Ref, string, any) types.BaseMethodFault { return nil }
func (none) Delay(string)                                           {}
func (none) TaskEnds(Ref, Ref)                                      {}
func (none) AllowDuplicateNames() bool                              { return true }
func (none) ShutdownGuest(Ref)                                      {}
func (none) ResetGuest(Ref)                                         {}
func (none) Orphans(Ref) []string                                   { return nil }
func (none) DiskInUse(string) bool                                  { return false }
func (none) DiskCreated(string, string, string, int64) error        { return nil }
func (none) DiskUpload(string, io.Reader) error                     { return nil }
func (none) LeaseTimeout() time.Duration                            { return time.Hour }
