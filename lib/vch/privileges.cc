#include "vch/privileges.h"

#include <array>

namespace vck::vch {

std::span<const Privilege> RequiredPrivileges() {
  using enum Scope;
  static constexpr auto kPrivileges = std::to_array<Privilege>({
      {kRoot, "System.Read", "find the objects that the flags name"},
      {kRoot, "System.View", "find the objects that the flags name"},
      {kRoot, "Global.Licenses", "see whether hot features are licensed"},
      {kRoot, "InventoryService.Tagging.CreateCategory", "tag pod VMs by cluster and namespace"},
      {kRoot, "InventoryService.Tagging.CreateTag", "tag pod VMs by cluster and namespace"},
      {kRoot, "InventoryService.Tagging.AttachTag", "tag pod VMs by cluster and namespace"},
      {kFolder, "Folder.Create", "the VCH's folder"},
      {kFolder, "Folder.Delete", "remove the VCH"},
      {kFolder, "VirtualMachine.Inventory.Create", "create pod VMs"},
      {kFolder, "VirtualMachine.Inventory.CreateFromExisting", "image anchors"},
      {kFolder, "VirtualMachine.Inventory.Delete", "destroy pod VMs"},
      {kFolder, "VirtualMachine.Inventory.Register", "import image anchors"},
      {kFolder, "VirtualMachine.Config.AddNewDisk", "scratch disks"},
      {kFolder, "VirtualMachine.Config.AddExistingDisk", "image and volume disks"},
      {kFolder, "VirtualMachine.Config.RemoveDisk", "detach volumes"},
      {kFolder, "VirtualMachine.Config.AddRemoveDevice", "network card, CD-ROM, controllers"},
      {kFolder, "VirtualMachine.Config.EditDevice", "network card, CD-ROM, controllers"},
      {kFolder, "VirtualMachine.Config.CPUCount", "size by the pod's resources"},
      {kFolder, "VirtualMachine.Config.Memory", "size by the pod's resources"},
      {kFolder, "VirtualMachine.Config.Resource", "reservations by the pod's requests"},
      {kFolder, "VirtualMachine.Config.Settings", "boot order, flags"},
      {kFolder, "VirtualMachine.Config.AdvancedConfig", "extraConfig keys"},
      {kFolder, "VirtualMachine.Config.ManagedBy", "say whose the VMs are"},
      {kFolder, "VirtualMachine.Interact.PowerOn", "start pods"},
      {kFolder, "VirtualMachine.Interact.PowerOff", "stop pods"},
      {kFolder, "VirtualMachine.Interact.AnswerQuestion", "answer what would block a VM"},
      {kFolder, "VirtualMachine.Interact.SetCDMedia", "the bootstrap ISO"},
      {kFolder, "VirtualMachine.Provisioning.MarkAsTemplate", "image anchors"},
      {kPool, "Resource.CreatePool", "the VCH's pool"},
      {kPool, "Resource.DeletePool", "remove the VCH"},
      {kPool, "Resource.EditPool", "configure the VCH"},
      {kPool, "Resource.AssignVMToPool", "create pod VMs"},
      {kPool, "VApp.Import", "bring images to the datastore"},
      {kPool, "VApp.AssignResourcePool", "bring images to the datastore"},
      {kDatastore, "Datastore.AllocateSpace", "disks"},
      {kDatastore, "Datastore.Browse", "images, logs"},
      {kDatastore, "Datastore.FileManagement", "images, logs"},
      {kDatastore, "Datastore.DeleteFile", "images, logs"},
      {kNetwork, "Network.Assign", "the pod network"},
      {kCluster, "Host.Config.SystemManagement", "read what hosts support"},
  });
  return kPrivileges;
}

}  // namespace vck::vch
