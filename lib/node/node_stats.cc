#include "node/node_stats.h"

namespace vck::node {
namespace {

constexpr double kGiga = 1e9;

}  // namespace

void NodeMeter::Look(const vsphere::Capacity* capacity) {
  int64_t rate = -1;
  if (capacity != nullptr && capacity->pool_used_cpu_mhz >= 0 && capacity->MhzPerCore() > 0) {
    rate = static_cast<int64_t>(kGiga * static_cast<double>(capacity->pool_used_cpu_mhz) /
                                static_cast<double>(capacity->MhzPerCore()));
    if (started_ == absl::InfinitePast()) started_ = clock_.WallNow();
  }
  cpu_.Set(clock_.Now(), rate);
}

kubeletapi::NodeStats NodeMeter::Now(const vsphere::Capacity* capacity) {
  Look(capacity);
  kubeletapi::NodeStats out{.name = name_,
                            .machine_id = machine_id_,
                            .boot_id = boot_id_,
                            .time = clock_.WallNow(),
                            .started = started_,
                            .cpu_nanos = cpu_.Nanos(clock_.Now()),
                            .cpu_nano_cores = cpu_.nano_cores()};
  if (capacity == nullptr) return out;
  if (capacity->MhzPerCore() > 0) out.cpu_cores = capacity->UsableCpuMhz() / capacity->MhzPerCore();
  if (capacity->UsableMemoryMb() > 0) out.memory_capacity_bytes = capacity->UsableMemoryMb() << 20;
  out.memory_used_bytes = capacity->pool_used_memory_bytes;
  for (const auto& [moid, datastore] : capacity->datastores) {
    if (!datastore.accessible || datastore.capacity_bytes <= 0) continue;
    out.fs_name = datastore.name;
    out.fs_capacity_bytes = datastore.capacity_bytes;
    out.fs_available_bytes = datastore.free_bytes;
  }
  return out;
}

}  // namespace vck::node
