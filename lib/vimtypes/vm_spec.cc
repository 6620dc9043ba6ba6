#include "vimtypes/vm_spec.h"

#include "absl/strings/str_cat.h"

namespace vck::vimtypes {
namespace {

// Temporary keys of devices in a create spec are negative; the server gives real ones.
constexpr int32_t kScsiKey = -1;
constexpr int32_t kSataKey = -2;
constexpr int32_t kCdromKey = -3;
constexpr int32_t kNicKey = -4;
constexpr int32_t kFirstDiskKey = -10;
constexpr int kControllerUnit = 7;
constexpr size_t kMaxDisks = 15;

OptionValue Option(std::string key, std::string value) { return {.key = std::move(key), .value = std::move(value)}; }

VirtualDeviceConfigSpec Add(std::shared_ptr<VirtualDevice> device) {
  return {.operation = "add", .device = std::move(device)};
}

// `unit` is the disk's on the controller; `index` tells it from others of the same spec.
StatusOr<VirtualDeviceConfigSpec> Disk(const DiskSpec& disk, int32_t controller_key, int32_t unit, size_t index) {
  int kinds = static_cast<int>(disk.new_bytes > 0) + static_cast<int>(!disk.file.empty()) +
              static_cast<int>(!disk.parent.empty());
  if (kinds != 1) {
    return absl::InvalidArgumentError(absl::StrCat("disk ", index, ": expected one of a size, a file or a parent"));
  }
  auto device = std::make_shared<VirtualDisk>();
  auto backing = std::make_shared<VirtualDiskFlatVer2BackingInfo>();
  backing->diskMode = disk.mode;
  if (!disk.datastore.empty()) backing->datastore = disk.datastore;
  int64_t bytes = 0;
  if (disk.new_bytes > 0) {
    bytes = disk.new_bytes;
    backing->thinProvisioned = true;
  } else if (!disk.parent.empty()) {
    bytes = disk.parent_bytes;
    auto parent = std::make_shared<VirtualDiskFlatVer2BackingInfo>();
    parent->fileName = disk.parent;
    parent->diskMode = disk.mode;
    if (!disk.datastore.empty()) parent->datastore = disk.datastore;
    backing->parent = std::move(parent);
    backing->thinProvisioned = true;
  } else {
    backing->fileName = disk.file;
  }
  device->key = kFirstDiskKey - static_cast<int32_t>(index);
  device->backing = std::move(backing);
  device->controllerKey = controller_key;
  device->unitNumber = unit;
  device->capacityInKB = (bytes + 1023) / 1024;
  if (bytes > 0) device->capacityInBytes = bytes;
  VirtualDeviceConfigSpec change = Add(std::move(device));
  if (disk.file.empty()) change.fileOperation = "create";
  return change;
}

std::shared_ptr<VirtualDeviceBackingInfo> Backing(const NetworkBacking& network) {
  struct Visitor {
    std::shared_ptr<VirtualDeviceBackingInfo> operator()(const StandardNetwork& n) const {
      auto backing = std::make_shared<VirtualEthernetCardNetworkBackingInfo>();
      backing->deviceName = n.name;
      if (!n.network.empty()) backing->network = n.network;
      return backing;
    }
    std::shared_ptr<VirtualDeviceBackingInfo> operator()(const DistributedPort& n) const {
      auto backing = std::make_shared<VirtualEthernetCardDistributedVirtualPortBackingInfo>();
      backing->port.switchUuid = n.switch_uuid;
      backing->port.portgroupKey = n.portgroup_key;
      return backing;
    }
    std::shared_ptr<VirtualDeviceBackingInfo> operator()(const OpaqueNetwork& n) const {
      auto backing = std::make_shared<VirtualEthernetCardOpaqueNetworkBackingInfo>();
      backing->opaqueNetworkId = n.id;
      backing->opaqueNetworkType = n.type;
      return backing;
    }
  };
  return std::visit(Visitor{}, network);
}

VirtualDeviceConnectInfo Connected() { return {.startConnected = true, .allowGuestControl = true, .connected = true}; }

}  // namespace

StatusOr<VirtualMachineConfigSpec> BuildConfigSpec(const VmSpec& vm) {
  if (vm.disks.size() > kMaxDisks) {
    return absl::InvalidArgumentError(
        absl::StrCat("VM ", vm.name, ": ", vm.disks.size(), " disks, one controller takes ", kMaxDisks));
  }
  VirtualMachineConfigSpec spec;
  spec.name = vm.name;
  if (!vm.hardware_version.empty()) spec.version = vm.hardware_version;
  spec.guestId = vm.guest_id;
  if (!vm.annotation.empty()) spec.annotation = vm.annotation;
  spec.files = VirtualMachineFileInfo{.vmPathName = absl::StrCat("[", vm.datastore, "]")};
  spec.flags = VirtualMachineFlagInfo{.diskUuidEnabled = true};
  spec.numCPUs = vm.cpus;
  spec.memoryMB = (vm.memory_mb + 3) / 4 * 4;
  if (vm.cpu_reservation_mhz || vm.cpu_limit_mhz) {
    spec.cpuAllocation = ResourceAllocationInfo{.reservation = vm.cpu_reservation_mhz, .limit = vm.cpu_limit_mhz};
  }
  if (vm.memory_reservation_mb) {
    spec.memoryAllocation = ResourceAllocationInfo{.reservation = vm.memory_reservation_mb};
  }
  spec.firmware = "bios";
  if (!vm.managed_by_extension.empty()) {
    spec.managedBy = ManagedByInfo{.extensionKey = vm.managed_by_extension, .type = vm.managed_by_type};
  }

  if (!vm.disks.empty()) {
    auto scsi = std::make_shared<ParaVirtualSCSIController>();
    scsi->key = kScsiKey;
    scsi->busNumber = 0;
    scsi->sharedBus = "noSharing";
    spec.deviceChange.push_back(Add(std::move(scsi)));
    for (size_t i = 0; i < vm.disks.size(); ++i) {
      auto disk = Disk(vm.disks[i], kScsiKey, static_cast<int32_t>(i < kControllerUnit ? i : i + 1), i);
      if (!disk.ok()) return Annotate(disk.status(), absl::StrCat("VM ", vm.name));
      spec.deviceChange.push_back(*std::move(disk));
    }
  }
  if (!vm.iso.empty()) {
    auto sata = std::make_shared<VirtualAHCIController>();
    sata->key = kSataKey;
    sata->busNumber = 0;
    spec.deviceChange.push_back(Add(std::move(sata)));
    auto cdrom = std::make_shared<VirtualCdrom>();
    auto backing = std::make_shared<VirtualCdromIsoBackingInfo>();
    backing->fileName = vm.iso;
    cdrom->key = kCdromKey;
    cdrom->backing = std::move(backing);
    cdrom->connectable = Connected();
    cdrom->controllerKey = kSataKey;
    cdrom->unitNumber = 0;
    spec.deviceChange.push_back(Add(std::move(cdrom)));
    // A disk's own boot sector never runs: only the CD-ROM is listed.
    spec.bootOptions =
        VirtualMachineBootOptions{.bootOrder = {std::make_shared<VirtualMachineBootOptionsBootableCdromDevice>()}};
  }
  if (vm.network.has_value()) {
    auto nic = std::make_shared<VirtualVmxnet3>();
    nic->key = kNicKey;
    nic->backing = Backing(*vm.network);
    nic->connectable = Connected();
    nic->addressType = "generated";
    spec.deviceChange.push_back(Add(std::move(nic)));
  }

  spec.extraConfig = {
      Option("disk.EnableUUID", "TRUE"),
      Option("answer.msg.disk.duplicateUUID", "Yes"),
      Option("log.keepOld", "1"),
  };
  for (const auto& [key, value] : vm.extra_config) spec.extraConfig.push_back(Option(key, value));
  return spec;
}

StatusOr<VirtualMachineConfigSpec> BuildAddDisks(int32_t controller_key, const std::vector<AddedDisk>& disks) {
  VirtualMachineConfigSpec spec;
  for (size_t i = 0; i < disks.size(); ++i) {
    ASSIGN_OR_RETURN(VirtualDeviceConfigSpec disk, Disk(disks[i].disk, controller_key, disks[i].unit, i));
    spec.deviceChange.push_back(std::move(disk));
  }
  return spec;
}

}  // namespace vck::vimtypes
