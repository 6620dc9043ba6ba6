package vcenter

import (
	"reflect"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// disks knows which registered VMs use which disk files, as their own disk or as a parent of it. vCenter deletes a parent
// disk when the last registered VM that uses it is destroyed. It is a registry handler.
type disks struct {
	registry *simulator.Registry

	mu    sync.Mutex
	users map[string]int                                      // of a datastore path
	files map[types.ManagedObjectReference]map[string]diskUse // of a VM
	gone  map[types.ManagedObjectReference]map[string]diskUse // of VMs that are being destroyed
}

type diskUse struct{ parent bool }

func newDisks(registry *simulator.Registry) *disks {
	return &disks{registry: registry, users: map[string]int{},
		files: map[types.ManagedObjectReference]map[string]diskUse{},
		gone:  map[types.ManagedObjectReference]map[string]diskUse{}}
}

// Reference names the handler.
func (d *disks) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "LabDisks", Value: "lab-disks"}
}

// PutObject is part of being a registry handler; a VM's disks come with a later change.
func (d *disks) PutObject(*simulator.Context, mo.Reference) {}

// UpdateObject looks at a VM's disks when its devices change.
func (d *disks) UpdateObject(_ *simulator.Context, obj mo.Reference, changes []types.PropertyChange) {
	ref := obj.Reference()
	if ref.Type != "VirtualMachine" {
		return
	}
	for _, change := range changes {
		if change.Name == "config.hardware.device" {
			if vm, ok := d.registry.Get(ref).(*simulator.VirtualMachine); ok && vm.Config != nil {
				d.set(ref, filesOf(vm.Config.Hardware.Device))
			}
			return
		}
	}
}

// RemoveObject is called when a VM is unregistered, which is also the first step of destroying it.
func (d *disks) RemoveObject(_ *simulator.Context, ref types.ManagedObjectReference) {
	if ref.Type != "VirtualMachine" {
		return
	}
	d.mu.Lock()
	files := d.files[ref]
	d.mu.Unlock()
	d.set(ref, nil)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, use := range files {
		if use.parent {
			d.gone[ref] = files
			return
		}
	}
}

func (d *disks) set(vm types.ManagedObjectReference, files map[string]diskUse) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for file := range d.files[vm] {
		if d.users[file]--; d.users[file] <= 0 {
			delete(d.users, file)
		}
	}
	delete(d.files, vm)
	if len(files) == 0 {
		return
	}
	d.files[vm] = files
	for file := range files {
		d.users[file]++
	}
}

// orphans returns the parent disks of a VM that was destroyed which no registered VM uses any more.
func (d *disks) orphans(vm types.ManagedObjectReference) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var orphans []string
	for file, use := range d.gone[vm] {
		if use.parent && d.users[file] == 0 {
			orphans = append(orphans, file)
		}
	}
	delete(d.gone, vm)
	return orphans
}

// inUse tells whether a registered VM uses a disk.
func (d *disks) inUse(file string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.users[file] != 0
}

// filesOf returns the files of all disks and of their parents.
func filesOf(devices []types.BaseVirtualDevice) map[string]diskUse {
	files := map[string]diskUse{}
	for _, device := range devices {
		disk, ok := device.(*types.VirtualDisk)
		if !ok {
			continue
		}
		parent := false
		for backing := reflect.ValueOf(disk.Backing); backing.IsValid() && backing.Kind() == reflect.Pointer && !backing.IsNil(); parent = true {
			if b, ok := backing.Interface().(types.BaseVirtualDeviceFileBackingInfo); ok {
				if name := b.GetVirtualDeviceFileBackingInfo().FileName; name != "" {
					files[name] = diskUse{parent: parent}
				}
			}
			// Every backing that can have a parent has it in a field of its own type.
			backing = backing.Elem().FieldByName("Parent")
		}
	}
	return files
}
