// BuildCreateSpec: the VM of a pod, with all its devices, for one CreateVM task.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "kubeapi/pod_view.h"
#include "vimtypes/types.gen.h"

namespace vck::podvm {

// The VCH's pod network.
struct StandardNetwork {
  vimtypes::MoRef network;
  std::string name;
};
struct DistributedNetwork {
  std::string switch_uuid, portgroup_key;
};
struct OpaqueNetwork {
  std::string id, type;
};
using NetworkBacking = std::variant<StandardNetwork, DistributedNetwork, OpaqueNetwork>;

// A disk of an image: a child of the anchor's disk.
struct ImageDisk {
  std::string parent_path;  // "[ds] vch/images/….vmdk"
  int64_t capacity_bytes = 0;
};

struct VmSettings {
  std::string guest_id;          // from QueryConfigOption
  std::string hardware_version;  // "vmx-19"; "" leaves it to the server
  NetworkBacking network;
  std::string datastore;  // name
  std::string iso_path;   // "[ds] vch/bootstrap.iso"; "": no CD-ROM backing (simulated guests)
  int64_t cpu_mhz_per_core = 2000;
  int64_t default_memory_bytes = int64_t{256} << 20;  // of a pod that states none
  int64_t default_cpu_milli = 1000;
  int64_t guest_overhead_bytes = int64_t{64} << 20;
  int64_t guest_overhead_cpu_milli = 0;
  int32_t max_cpus = 128;
  int64_t default_ephemeral_bytes = int64_t{1} << 30;             // 0: no scratch disk for a pod that states none
  std::vector<std::pair<std::string, std::string>> extra_config;  // added to, and overridden by, what must be
};

// CPU, memory and scratch disk as the VM gets them.
struct VmSize {
  int32_t cpus = 1;
  int64_t memory_mb = 0;              // multiple of 4, at least 128
  int64_t memory_reservation_mb = 0;  // requests, plus the guest's overhead if there are any; at most memory_mb
  int64_t cpu_reservation_mhz = 0;    // requests, plus the same; at most all that its cores have
  int64_t cpu_limit_mhz = -1;         // limits, plus the overhead; -1 unlimited
  // For writable layers, logs and emptyDirs on disk: limits (else requests) of ephemeral-storage, or the sizeLimits of
  // the emptyDirs if they are more, and what the file system takes itself. 0: none.
  int64_t scratch_bytes = 0;
};
VmSize SizeOf(const kubeapi::PodView& pod, const VmSettings& settings);

struct VmIdentity {
  std::string name;         // vch: pod VM name
  std::string pod_key;      // value of vch.pod
  std::string boot_config;  // value of guestinfo.vch.config
  std::string annotation;   // what a person sees in vCenter
};

inline constexpr size_t kMaxImages = 13;  // one controller's disks, without the scratch disk and one to spare

// `images` are at most kMaxImages.
vimtypes::VirtualMachineConfigSpec BuildCreateSpec(const kubeapi::PodView& pod, const VmIdentity& identity,
                                                   const VmSettings& settings,
                                                   const std::vector<ImageDisk>& images = {});

}  // namespace vck::podvm
