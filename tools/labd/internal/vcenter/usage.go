package vcenter

import (
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	usageEvery = 2 * time.Second
	// What a VM that is on uses here, whatever its guest does: a tenth of its CPUs, a quarter of its memory.
	cpuShare, memoryShare = 10, 4
)

// keepUsage tells for each pool what its VMs use, as a vCenter does every so often.
func (v *Server) keepUsage() {
	ctx := simulator.NewContext()
	for range time.Tick(usageEvery) {
		v.lookAtUsage(ctx)
	}
}

func (v *Server) lookAtUsage(ctx *simulator.Context) {
	type usage struct{ mhz, bytes int64 }
	registry := v.model.Map()
	used := map[types.ManagedObjectReference]usage{}
	for _, e := range registry.All("VirtualMachine") {
		vm, ok := e.(*simulator.VirtualMachine)
		if !ok {
			continue
		}
		registry.WithLock(ctx, vm, func() {
			if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn || vm.ResourcePool == nil {
				return
			}
			sum := used[*vm.ResourcePool]
			sum.mhz += int64(vm.Config.Hardware.NumCPU) * mhzPerCore / cpuShare
			sum.bytes += int64(vm.Config.Hardware.MemoryMB) << 20 / memoryShare
			used[*vm.ResourcePool] = sum
		})
	}
	for _, e := range registry.All("ResourcePool") {
		pool, ok := e.(*simulator.ResourcePool)
		if !ok {
			continue
		}
		registry.WithLock(ctx, pool, func() {
			now := used[pool.Self]
			if pool.Runtime.Cpu.OverallUsage == now.mhz && pool.Runtime.Memory.OverallUsage == now.bytes {
				return
			}
			registry.Update(ctx, pool, []types.PropertyChange{
				{Name: "runtime.cpu.overallUsage", Val: now.mhz},
				{Name: "runtime.memory.overallUsage", Val: now.bytes},
			})
		})
	}
}
