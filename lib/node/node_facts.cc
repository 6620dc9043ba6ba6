#include "node/node_facts.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace vck::node {
namespace {

using HealthState = vsphere::Health::State;

void SetHealth(const vsphere::Health& health, const std::string& placement_error, NodeFacts* facts) {
  const bool answers = health.state == HealthState::kOk;
  facts->vcenter_refuses = !health.refusal.ok();
  facts->vcenter_ok = answers && !facts->vcenter_refuses;
  facts->vcenter_connecting = health.state == HealthState::kConnecting;
  if (!placement_error.empty()) {
    facts->vcenter_ok = false;
    facts->vcenter_message = placement_error;
  } else if (answers && facts->vcenter_refuses) {
    facts->vcenter_message =
        absl::StrCat("invalid login; the session that there is goes on until it ends: ", health.refusal.message());
  } else if (!facts->vcenter_ok) {
    facts->vcenter_message =
        absl::StrCat(vsphere::HealthStateName(health.state), health.error.ok() ? "" : ": ", health.error.message());
  }
}

double Ratio(int64_t part, int64_t whole) { return static_cast<double>(part) / static_cast<double>(whole); }

void SetCapacity(const vsphere::Capacity& c, NodeFacts* facts) {
  const int64_t mhz = std::max<int64_t>(1, c.MhzPerCore());
  facts->capacity.cpu_millis = c.UsableCpuMhz() * 1000 / mhz;
  facts->capacity.memory_bytes = c.UsableMemoryMb() << 20;
  if (c.pool_used_memory_bytes >= 0 && facts->capacity.memory_bytes > 0) {
    facts->memory_free_ratio = 1.0 - Ratio(c.pool_used_memory_bytes, facts->capacity.memory_bytes);
  }
  for (const auto& [moid, datastore] : c.datastores) {
    facts->capacity.ephemeral_bytes = datastore.capacity_bytes;
    facts->datastore_accessible = datastore.accessible;
    facts->datastore_free_ratio =
        datastore.capacity_bytes > 0 ? Ratio(datastore.free_bytes, datastore.capacity_bytes) : 1.0;
  }
}

}  // namespace

NodeFacts MakeNodeFacts(const NodeSources& sources) {
  NodeFacts facts;
  SetHealth(sources.health, sources.placement_error, &facts);
  facts.has_pod_range = sources.addresses.has_value();
  facts.vsphere_version = sources.vsphere_version;
  facts.inventory_synced = sources.inventory_synced;
  if (sources.capacity != nullptr) SetCapacity(*sources.capacity, &facts);
  facts.capacity.pods = std::min(sources.max_pods, sources.addresses.value_or(sources.max_pods));
  // What the guests' kernels and tethers take is not there for containers.
  facts.allocatable = facts.capacity;
  const Resources& overhead = sources.overhead;
  facts.allocatable.memory_bytes =
      std::max<int64_t>(0, facts.capacity.memory_bytes - sources.pods * overhead.memory_bytes);
  facts.allocatable.cpu_millis = std::max<int64_t>(0, facts.capacity.cpu_millis - sources.pods * overhead.cpu_millis);
  return facts;
}

}  // namespace vck::node
