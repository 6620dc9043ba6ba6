package simulator

import (
	"os"
	"path"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vmdk"

	"vch-kubelet/tools/labd/simhook"
)

// labDiskCreated makes a real disk of what vdmCreateVirtualDisk has made: a descriptor and an empty file.
func labDiskCreated(file, extent string, desc *vmdk.Descriptor) types.BaseMethodFault {
	if desc.EncryptionKeys != nil {
		return nil // they are in the descriptor only
	}
	if err := simhook.Active.DiskCreated(file, extent, "", desc.Capacity()); err != nil {
		return labCannotCreate(file, err)
	}
	return nil
}

// labLinkDisk makes a new disk the child of another one.
func labLinkDisk(ctx *Context, dc *Datacenter, name, parent string, capacity int64) types.BaseMethodFault {
	var files [2]string
	for i, n := range []string{name, parent} {
		var fault types.BaseMethodFault
		if files[i], fault = ctx.Map.FileManager().resolve(ctx, &dc.Self, n); fault != nil {
			return fault
		}
	}
	if err := simhook.Active.DiskCreated(files[0], VirtualDiskBackingFileName(files[0]), files[1], capacity); err != nil {
		return labCannotCreate(name, err)
	}
	return nil
}

func labCannotCreate(name string, err error) types.BaseMethodFault {
	fault := new(types.CannotCreateFile)
	fault.File = name
	fault.FaultMessage = []types.LocalizableMessage{{Key: "lab.disk", Message: err.Error()}}
	return fault
}

// labDisksMissing is the fault of powering on a VM one of whose disks, or of their parents, is not there.
func (vm *VirtualMachine) labDisksMissing(ctx *Context) types.BaseMethodFault {
	for _, disk := range vm.Layout.Disk {
		for _, name := range disk.DiskFile {
			p, fault := parseDatastorePath(name)
			if fault != nil {
				return fault
			}
			for _, file := range vdmNames(vm.findDatastore(ctx, p.Datastore).resolve(ctx, p.Path)) {
				if _, err := os.Stat(file); err != nil {
					return &types.FileNotFound{FileFault: types.FileFault{File: name}}
				}
			}
		}
	}
	return nil
}

// labDeleteDirectory deletes the directory of a VM that was destroyed, but not the disks that other VMs use.
func (vm *VirtualMachine) labDeleteDirectory(ctx *Context, dc types.ManagedObjectReference) {
	m := ctx.Map.FileManager()
	remove := func(name string) {
		_ = m.deleteDatastoreFile(ctx, &types.DeleteDatastoreFile_Task{This: m.Reference(), Name: name, Datacenter: &dc})
	}
	dir := vm.Config.Files.LogDirectory
	local, fault := m.resolve(ctx, &dc, dir)
	if fault != nil {
		return
	}
	entries, err := os.ReadDir(local)
	if err != nil {
		return
	}
	var p object.DatastorePath
	p.FromString(dir)
	spared := map[string]bool{}
	for _, e := range entries {
		full := object.DatastorePath{Datastore: p.Datastore, Path: path.Join(p.Path, e.Name())}
		if simhook.Active.DiskInUse(full.String()) {
			for _, name := range vdmNames(e.Name()) {
				spared[name] = true
			}
		}
	}
	if len(spared) == 0 {
		remove(dir)
		return
	}
	for _, e := range entries {
		if !spared[e.Name()] {
			remove((&object.DatastorePath{Datastore: p.Datastore, Path: path.Join(p.Path, e.Name())}).String())
		}
	}
}

// labDeleteOrphans deletes the parent disks that went out of use with this VM.
func (vm *VirtualMachine) labDeleteOrphans(ctx *Context, dc types.ManagedObjectReference) {
	for _, name := range simhook.Active.Orphans(vm.Self) {
		res := ctx.Map.VirtualDiskManager().DeleteVirtualDiskTask(ctx, &types.DeleteVirtualDisk_Task{Name: name, Datacenter: &dc})
		if body, ok := res.(*methods.DeleteVirtualDisk_TaskBody); ok && body.Res != nil {
			ctx.Map.Get(body.Res.Returnval).(*Task).Wait()
		}
		if file, fault := ctx.Map.FileManager().resolve(ctx, &dc, name); fault == nil {
			_ = os.Remove(path.Dir(file)) // if nothing else is in it
		}
	}
}
