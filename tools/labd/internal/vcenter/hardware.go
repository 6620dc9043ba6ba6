package vcenter

import (
	"fmt"
	"path/filepath"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"vch-kubelet/tools/labd/internal/guestline"
)

// hardwareOf reads what a guest needs to know from a VM's configuration; the VM is locked.
func (g *guests) hardwareOf(vm *simulator.VirtualMachine) *guestline.Hardware {
	devices := object.VirtualDeviceList(vm.Config.Hardware.Device)
	h := &guestline.Hardware{UUID: vm.Config.Uuid, CPUs: int(vm.Config.Hardware.NumCPU), MemoryMB: int(vm.Config.Hardware.MemoryMB)}
	for _, device := range devices {
		base := device.GetVirtualDevice()
		unit := 0
		if base.UnitNumber != nil {
			unit = int(*base.UnitNumber)
		}
		switch d := device.(type) {
		case *types.VirtualCdrom:
			iso, ok := d.Backing.(*types.VirtualCdromIsoBackingInfo)
			if ok && (d.Connectable == nil || d.Connectable.StartConnected) {
				name, _ := controllerOf(devices, base)
				h.Cdroms = append(h.Cdroms, guestline.Cdrom{File: g.datastoreFile(iso.FileName), Controller: name})
			}
		case *types.VirtualDisk:
			disk := guestline.Disk{Unit: unit, Mode: string(types.VirtualDiskModePersistent)}
			disk.Controller, disk.Bus = controllerOf(devices, base)
			if backing, ok := d.Backing.(types.BaseVirtualDeviceFileBackingInfo); ok {
				disk.File = g.datastoreFile(backing.GetVirtualDeviceFileBackingInfo().FileName)
			}
			if backing, ok := d.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok {
				disk.UUID = backing.Uuid
				if backing.DiskMode != "" {
					disk.Mode = backing.DiskMode
				}
			}
			h.Disks = append(h.Disks, disk)
		case types.BaseVirtualEthernetCard:
			card := d.GetVirtualEthernetCard()
			if card.Connectable == nil || card.Connectable.StartConnected {
				h.Nics = append(h.Nics, guestline.Nic{Model: modelOf(d), MAC: card.MacAddress, Network: g.networkOf(card)})
			}
		}
	}
	return h
}

// datastoreFile is where "[LocalDS_0] path" is in this machine's file system.
func (g *guests) datastoreFile(name string) string {
	var p object.DatastorePath
	if !p.FromString(name) || p.Datastore != datastoreName {
		return name // nothing that exists
	}
	return filepath.Join(g.datastoreDir, p.Path)
}

// controllerOf names what a device is attached to, and the controller's bus number.
func controllerOf(devices object.VirtualDeviceList, device *types.VirtualDevice) (name string, bus int) {
	controller := devices.FindByKey(device.ControllerKey)
	if c, ok := controller.(types.BaseVirtualController); ok {
		bus = int(c.GetVirtualController().BusNumber)
	}
	switch controller.(type) {
	case *types.ParaVirtualSCSIController:
		return "pvscsi", bus
	case *types.VirtualAHCIController:
		return "ahci", bus
	case *types.VirtualIDEController:
		return "ide", bus
	}
	return fmt.Sprintf("%T", controller), bus
}

func modelOf(card types.BaseVirtualEthernetCard) string {
	switch card.(type) {
	case *types.VirtualE1000:
		return "e1000"
	case *types.VirtualE1000e:
		return "e1000e"
	case *types.VirtualVmxnet3:
		return "vmxnet3"
	}
	return fmt.Sprintf("%T", card)
}

// networkOf is the name of the network that a card is connected to.
func (g *guests) networkOf(card *types.VirtualEthernetCard) string {
	switch b := card.Backing.(type) {
	case *types.VirtualEthernetCardNetworkBackingInfo:
		return b.DeviceName
	case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
		key := types.ManagedObjectReference{Type: "DistributedVirtualPortgroup", Value: b.Port.PortgroupKey}
		if group, ok := g.registry.Get(key).(*simulator.DistributedVirtualPortgroup); ok {
			return group.Name
		}
	case *types.VirtualEthernetCardOpaqueNetworkBackingInfo:
		return b.OpaqueNetworkId
	}
	return ""
}
