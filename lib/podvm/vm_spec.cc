#include "podvm/vm_spec.h"

#include <algorithm>

#include "absl/log/absl_check.h"
#include "guestapi/identity.h"
#include "kubeapi/resources.h"
#include "vch/keys.h"
#include "vch/pod_key.h"
#include "vimtypes/vm_spec.h"

namespace vck::podvm {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kMinMemoryMb = 128;                // with less the guest's kernel has no room to unpack its files
constexpr int64_t kMaxMemoryMb = int64_t{24} << 20;  // 24 TiB, vSphere's largest VM

int64_t ToMiB(kubeapi::Quantity bytes) {
  const int64_t value = std::clamp<int64_t>(bytes.Value(), 0, kMaxMemoryMb * kMiB);
  return (value + kMiB - 1) / kMiB;
}

int64_t ToMhz(kubeapi::Quantity cpu, int64_t mhz_per_core) {
  const int64_t milli = std::clamp<int64_t>(cpu.MilliValue(), 0, int64_t{1'000'000'000});
  return (milli * mhz_per_core + 999) / 1000;
}

// ext4 takes 1.6 % for inodes, and up to 16 GiB at most 64 MiB for its journal, above it less than 1 % more.
constexpr int64_t kFileSystemBytes = 64 * kMiB, kFileSystemFraction = 32;
constexpr int64_t kMinScratchBytes = 256 * kMiB;         // the tether's journal and logs have room, too
constexpr int64_t kMaxScratchBytes = int64_t{62} << 40;  // vSphere's largest disk

int64_t ScratchBytes(const kubeapi::PodView& pod, const VmSettings& settings) {
  using kubeapi::Quantity;
  const Quantity room = Quantity::FromValue(settings.default_ephemeral_bytes);
  bool unstated = false;
  Quantity stated = kubeapi::PodCeiling(pod, "ephemeral-storage", &unstated);
  if (unstated) stated += room;
  Quantity volumes;
  for (const json::Value& volume : json::Items(pod.spec(), "volumes")) {
    const json::Value* empty_dir = json::Get(volume, "emptyDir");
    const json::Value* limit = empty_dir != nullptr ? json::Get(*empty_dir, "sizeLimit") : nullptr;
    if (limit == nullptr || json::String(*empty_dir, "medium") == "Memory") continue;
    if (auto size = Quantity::Parse(*limit); size.ok()) volumes += *size;
  }
  // Logs and writable layers come on top of what is promised to volumes.
  if (!volumes.IsZero()) stated = std::max(stated, volumes + room);
  const int64_t bytes = std::clamp<int64_t>(stated.Value(), 0, kMaxScratchBytes);
  if (bytes == 0) return 0;
  const int64_t disk = bytes + bytes / kFileSystemFraction + kFileSystemBytes;
  return std::clamp((disk + kMiB - 1) / kMiB * kMiB, kMinScratchBytes, kMaxScratchBytes);
}

vimtypes::NetworkBacking Backing(const NetworkBacking& network) {
  struct Visitor {
    vimtypes::NetworkBacking operator()(const StandardNetwork& n) const {
      return vimtypes::StandardNetwork{.name = n.name, .network = n.network};
    }
    vimtypes::NetworkBacking operator()(const DistributedNetwork& n) const {
      return vimtypes::DistributedPort{.switch_uuid = n.switch_uuid, .portgroup_key = n.portgroup_key};
    }
    vimtypes::NetworkBacking operator()(const OpaqueNetwork& n) const {
      return vimtypes::OpaqueNetwork{.id = n.id, .type = n.type};
    }
  };
  return std::visit(Visitor{}, network);
}

}  // namespace

VmSize SizeOf(const kubeapi::PodView& pod, const VmSettings& settings) {
  using kubeapi::Quantity;
  VmSize size;
  const Quantity overhead = Quantity::FromValue(settings.guest_overhead_bytes);
  bool unstated = false;
  Quantity memory = kubeapi::PodCeiling(pod, "memory", &unstated);
  if (unstated) memory += Quantity::FromValue(settings.default_memory_bytes);
  size.memory_mb = std::clamp((ToMiB(memory + overhead) + 3) / 4 * 4, kMinMemoryMb, kMaxMemoryMb);
  const Quantity requested = kubeapi::PodRequests(pod, "memory");
  if (!requested.IsZero()) size.memory_reservation_mb = std::min(ToMiB(requested + overhead), size.memory_mb);

  const Quantity cpu_overhead = Quantity::FromMilli(settings.guest_overhead_cpu_milli);
  Quantity cpu = kubeapi::PodCeiling(pod, "cpu", &unstated) + cpu_overhead;
  if (unstated) cpu += Quantity::FromMilli(settings.default_cpu_milli);
  const int64_t cores = cpu.MilliValue() / 1000 + (cpu.MilliValue() % 1000 > 0 ? 1 : 0);
  size.cpus = static_cast<int32_t>(std::clamp<int64_t>(cores, 1, std::max(1, settings.max_cpus)));
  const int64_t all_mhz = size.cpus * settings.cpu_mhz_per_core;
  const Quantity reserved = kubeapi::PodRequests(pod, "cpu");
  if (!reserved.IsZero()) {
    size.cpu_reservation_mhz = std::min(ToMhz(reserved + cpu_overhead, settings.cpu_mhz_per_core), all_mhz);
  }
  if (kubeapi::AllLimited(pod, "cpu")) {
    // A limit of nothing would stop the VM.
    const Quantity limit = kubeapi::PodLimits(pod, "cpu") + cpu_overhead;
    size.cpu_limit_mhz = std::max<int64_t>(ToMhz(limit, settings.cpu_mhz_per_core), 1);
    size.cpu_limit_mhz = std::max(size.cpu_limit_mhz, size.cpu_reservation_mhz);
  }
  size.scratch_bytes = ScratchBytes(pod, settings);
  return size;
}

vimtypes::VirtualMachineConfigSpec BuildCreateSpec(const kubeapi::PodView& pod, const VmIdentity& identity,
                                                   const VmSettings& settings, const std::vector<ImageDisk>& images) {
  ABSL_CHECK(images.size() <= kMaxImages);
  const VmSize size = SizeOf(pod, settings);
  vimtypes::VmSpec spec;
  spec.name = identity.name;
  spec.datastore = settings.datastore;
  if (!settings.guest_id.empty()) spec.guest_id = settings.guest_id;
  spec.hardware_version = settings.hardware_version;
  spec.cpus = size.cpus;
  spec.memory_mb = size.memory_mb;
  spec.cpu_reservation_mhz = size.cpu_reservation_mhz;
  spec.cpu_limit_mhz = size.cpu_limit_mhz;
  spec.memory_reservation_mb = size.memory_reservation_mb;
  spec.network = Backing(settings.network);
  spec.iso = settings.iso_path;
  spec.annotation = identity.annotation;
  for (const ImageDisk& image : images) {
    spec.disks.push_back({.parent = image.parent_path, .parent_bytes = image.capacity_bytes});
  }
  if (size.scratch_bytes > 0) spec.disks.push_back({.new_bytes = size.scratch_bytes});

  // What must be comes last, and nothing else may have its keys. Keys that the guest writes exist from the start: what
  // it would add while it runs is gone at power-off.
  std::vector<std::pair<std::string, std::string>> musts = {
      {std::string(vch::kPodKey), identity.pod_key},
      {std::string(vch::kRoleKey), std::string(vch::kRolePod)},
      {std::string(guestapi::kConfigKey), identity.boot_config},
      {std::string(guestapi::kGuestKey), std::string(guestapi::kNoGuest)},
      {"guest_rpc.rpci.auth.cmd.info-set", "TRUE"},
      {"guest_rpc.rpci.auth.cmd.info-get", "TRUE"},
  };
  if (auto key = vch::ParsePodKey(identity.pod_key); key.ok()) musts.emplace_back(vch::kVchKey, key->vch_id);
  for (const auto& [key, value] : settings.extra_config) {
    const std::string& name = key;
    const bool taken =
        std::any_of(musts.begin(), musts.end(), [&name](const auto& must) { return must.first == name; });
    if (!taken) spec.extra_config.emplace_back(key, value);
  }
  for (auto& must : musts) spec.extra_config.push_back(std::move(must));
  // It can only fail for disks, and those are counted above and each of one kind.
  auto config = vimtypes::BuildConfigSpec(spec);
  ABSL_CHECK(config.ok()) << config.status();
  return *std::move(config);
}

}  // namespace vck::podvm
