package simulator

import (
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"vch-kubelet/tools/labd/simhook"
)

// labCheck is what vCenter checks before it makes a VM. The folder is locked.
func (c *createVM) labCheck() types.BaseMethodFault {
	spec := &c.req.Config
	if existing := c.ctx.Map.FindByName(spec.Name, c.Folder.ChildEntity); existing != nil && !simhook.Active.AllowDuplicateNames() {
		return &types.DuplicateName{Name: spec.Name, Object: existing.Reference()}
	}
	if spec.GuestId != "" {
		if fault := validateGuestID(spec.GuestId); fault != nil {
			return fault
		}
	}
	dc := c.ctx.Map.getEntityDatacenter(c.Folder)
	if spec.Files != nil {
		if fault := labCheckPath(c.ctx, dc, spec.Files.VmPathName); fault != nil {
			return fault
		}
	}
	for _, change := range spec.DeviceChange {
		device := change.GetVirtualDeviceConfigSpec().Device
		if device == nil {
			return &types.InvalidDeviceSpec{}
		}
		if backing, ok := device.GetVirtualDevice().Backing.(types.BaseVirtualDeviceFileBackingInfo); ok {
			if fault := labCheckPath(c.ctx, dc, backing.GetVirtualDeviceFileBackingInfo().FileName); fault != nil {
				return fault
			}
		}
	}
	return nil
}

// labCheckPath refuses a path on a datastore that does not exist. An empty path is vCenter's to choose.
func labCheckPath(ctx *Context, dc *Datacenter, path string) types.BaseMethodFault {
	if path == "" || dc == nil {
		return nil
	}
	var p object.DatastorePath
	if !p.FromString(path) {
		return &types.InvalidDatastorePath{DatastorePath: path}
	}
	if ctx.Map.FindByName(p.Datastore, dc.Datastore) == nil {
		return &types.InvalidDatastore{Name: p.Datastore}
	}
	return nil
}

// labMustRun is the fault of an operation that needs a VM that is on, or nil.
func (vm *VirtualMachine) labMustRun() types.BaseMethodFault {
	if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
		return nil
	}
	return &types.InvalidPowerState{RequestedState: types.VirtualMachinePowerStatePoweredOn, ExistingState: vm.Runtime.PowerState}
}

// labNeedsTools is the fault of an operation that VMware Tools do in the guest, or nil.
func (vm *VirtualMachine) labNeedsTools() types.BaseMethodFault {
	if fault := vm.labMustRun(); fault != nil {
		return fault
	}
	if vm.Guest.ToolsRunningStatus != string(types.VirtualMachineToolsRunningStatusGuestToolsRunning) {
		return new(types.ToolsUnavailable)
	}
	return nil
}

// ShutdownGuest asks the guest; the VM goes off when the guest does.
func (vm *VirtualMachine) ShutdownGuest(*Context, *types.ShutdownGuest) soap.HasFault {
	body := new(methods.ShutdownGuestBody)
	if fault := vm.labNeedsTools(); fault != nil {
		body.Fault_ = Fault("", fault)
		return body
	}
	simhook.Active.ShutdownGuest(vm.Self)
	body.Res = new(types.ShutdownGuestResponse)
	return body
}

// RebootGuest asks the guest.
func (vm *VirtualMachine) RebootGuest(*Context, *types.RebootGuest) soap.HasFault {
	body := new(methods.RebootGuestBody)
	if fault := vm.labNeedsTools(); fault != nil {
		body.Fault_ = Fault("", fault)
		return body
	}
	simhook.Active.ResetGuest(vm.Self)
	body.Res = new(types.RebootGuestResponse)
	return body
}

// ResetVMTask presses the button: the VM stays on, the guest boots anew.
func (vm *VirtualMachine) ResetVMTask(ctx *Context, _ *types.ResetVM_Task) soap.HasFault {
	task := CreateTask(vm, "reset", func(*Task) (types.AnyType, types.BaseMethodFault) {
		if fault := vm.labMustRun(); fault != nil {
			return nil, fault
		}
		simhook.Active.ResetGuest(vm.Self)
		return nil, nil
	})
	return &methods.ResetVM_TaskBody{Res: &types.ResetVM_TaskResponse{Returnval: task.Run(ctx)}}
}

// MarkAsTemplate does what the simulator's does, and tells those who watch.
func (vm *VirtualMachine) MarkAsTemplate(ctx *Context, req *types.MarkAsTemplate) soap.HasFault {
	pool := vm.ResourcePool
	res := vm.labMarkAsTemplate(req)
	if res.Fault() == nil {
		vm.labMovePool(ctx, pool, nil)
		vm.labAnnounceTemplate(ctx)
	}
	return res
}

// MarkAsVirtualMachine undoes MarkAsTemplate.
func (vm *VirtualMachine) MarkAsVirtualMachine(ctx *Context, req *types.MarkAsVirtualMachine) soap.HasFault {
	res := vm.labMarkAsVirtualMachine(req)
	if res.Fault() == nil {
		vm.labMovePool(ctx, nil, vm.ResourcePool)
		vm.labAnnounceTemplate(ctx)
	}
	return res
}

// labMovePool keeps the VMs of resource pools true.
func (vm *VirtualMachine) labMovePool(ctx *Context, from, to *types.ManagedObjectReference) {
	change := func(ref *types.ManagedObjectReference, f func(mo.Reference, *[]types.ManagedObjectReference)) {
		if ref == nil {
			return
		}
		switch pool := ctx.Map.Get(*ref).(type) {
		case *ResourcePool:
			f(pool, &pool.Vm)
		case *VirtualApp:
			f(pool, &pool.Vm)
		}
	}
	change(from, func(pool mo.Reference, vms *[]types.ManagedObjectReference) {
		ctx.Map.RemoveReference(ctx, pool, vms, vm.Self)
	})
	change(to, func(pool mo.Reference, vms *[]types.ManagedObjectReference) {
		ctx.Map.AddReference(ctx, pool, vms, vm.Self)
	})
}

func (vm *VirtualMachine) labAnnounceTemplate(ctx *Context) {
	pool := types.PropertyChange{Name: "resourcePool"}
	if vm.ResourcePool != nil {
		pool.Val = *vm.ResourcePool
	}
	ctx.Update(vm, []types.PropertyChange{
		{Name: "config.template", Val: vm.Config.Template},
		{Name: "summary.config.template", Val: vm.Summary.Config.Template},
		pool,
	})
}
