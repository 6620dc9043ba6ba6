// The create spec of a VM as VCH makes them: what never varies is written here once.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/status.h"
#include "vimtypes/methods.gen.h"

namespace vck::vimtypes {

// A network that a card attaches to, in the three forms that vSphere knows.
struct StandardNetwork {
  std::string name;
  MoRef network;  // empty: found by name
};
struct DistributedPort {
  std::string switch_uuid;
  std::string portgroup_key;
};
struct OpaqueNetwork {  // NSX
  std::string id;
  std::string type;
};
using NetworkBacking = std::variant<StandardNetwork, DistributedPort, OpaqueNetwork>;

struct DiskSpec {
  // Exactly one of the three: a new disk of this size (thin, beside the VM), an existing file, or a child of one.
  int64_t new_bytes = 0;
  std::string file;                 // "[ds] dir/disk.vmdk", attached as it is
  std::string parent;               // "[ds] dir/disk.vmdk": a child disk over it, beside the VM
  MoRef datastore;                  // of the parent or of the new disk; may be empty
  int64_t parent_bytes = 0;         // the parent's capacity: a child has the same
  std::string mode = "persistent";  // or independent_persistent, independent_nonpersistent
};

struct VmSpec {
  std::string name;
  std::string datastore;  // by name: the VM's home
  std::string guest_id = "otherLinux64Guest";
  std::string hardware_version;  // "vmx-14"; empty: the server's default
  int32_t cpus = 1;
  int64_t memory_mb = 128;  // rounded up to a multiple of 4
  std::optional<int64_t> cpu_reservation_mhz, cpu_limit_mhz;
  std::optional<int64_t> memory_reservation_mb;
  std::vector<DiskSpec> disks;  // on one PVSCSI controller, in order; at most 15 (unit 7 is the controller's own)
  std::optional<NetworkBacking> network;  // one vmxnet3 card, MAC by vCenter
  std::string iso;  // "[ds] dir/bootstrap.iso": the CD-ROM, connected at power-on, first in boot order
  std::string annotation;
  std::string managed_by_extension, managed_by_type;  // both or none
  std::vector<std::pair<std::string, std::string>> extra_config;
};

// InvalidArgument for too many disks or a disk that is not exactly one of its kinds. Always in it: BIOS, boot from
// CD-ROM only, disk.EnableUUID, answer.msg.disk.duplicateUUID=Yes, log.keepOld=1, no memory
// limit.
StatusOr<VirtualMachineConfigSpec> BuildConfigSpec(const VmSpec& spec);

// Disks for a VM that exists, which may be on: the controller's key is the VM's own, units are those on it.
struct AddedDisk {
  int32_t unit = 0;
  DiskSpec disk;
};
// InvalidArgument for a disk that is not exactly one of its kinds.
StatusOr<VirtualMachineConfigSpec> BuildAddDisks(int32_t controller_key, const std::vector<AddedDisk>& disks);

}  // namespace vck::vimtypes
