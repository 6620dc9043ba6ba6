package vcenter

import (
	"reflect"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	usageEvery = 2 * time.Second
	// What a VM that is on uses here, whatever its guest does: a tenth of its CPUs, a quarter of its memory.
	cpuShare, memoryShare = 10, 4
)

// keepUsage tells for each pool what its VMs use, as a vCenter does every so often; and what the simulator changes
// without a word: the limits of pools, and what a cluster is without hosts that are in maintenance.
func (v *Server) keepUsage() {
	ctx := simulator.NewContext()
	limits := map[types.ManagedObjectReference]types.ResourceConfigSpec{}
	for range time.Tick(usageEvery) {
		v.lookAtUsage(ctx)
		v.lookAtLimits(ctx, limits)
		v.lookAtHosts(ctx)
	}
}

func (v *Server) lookAtLimits(ctx *simulator.Context, told map[types.ManagedObjectReference]types.ResourceConfigSpec) {
	for _, e := range v.model.Map().All("ResourcePool") {
		pool, ok := e.(*simulator.ResourcePool)
		if !ok {
			continue
		}
		v.model.Map().WithLock(ctx, pool, func() {
			if before, known := told[pool.Self]; known && reflect.DeepEqual(before, pool.Config) {
				return
			}
			told[pool.Self] = pool.Config
			v.model.Map().Update(ctx, pool, []types.PropertyChange{{Name: "config", Val: pool.Config}})
		})
	}
}

func (v *Server) lookAtHosts(ctx *simulator.Context) {
	registry := v.model.Map()
	for _, e := range registry.All("ClusterComputeResource") {
		cluster := e.(*simulator.ClusterComputeResource)
		var effective int32
		for _, ref := range cluster.Host {
			host, ok := registry.Get(ref).(*simulator.HostSystem)
			if !ok {
				continue
			}
			registry.WithLock(ctx, host, func() {
				if !host.Runtime.InMaintenanceMode && host.Runtime.ConnectionState == types.HostSystemConnectionStateConnected {
					effective++
				}
			})
		}
		registry.WithLock(ctx, cluster, func() {
			summary := cluster.Summary.GetComputeResourceSummary()
			if summary.NumEffectiveHosts == effective {
				return
			}
			summary.NumEffectiveHosts = effective
			summary.EffectiveCpu = effective * coresPerHost * mhzPerCore
			summary.EffectiveMemory = int64(effective) * bytesPerHost >> 20
			registry.Update(ctx, cluster, []types.PropertyChange{{Name: "summary", Val: cluster.Summary}})
		})
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
