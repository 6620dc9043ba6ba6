// What a Node tells, made of what vCenter, the pods and the address range are. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "node/node_object.h"
#include "vsphere/session.h"
#include "vsphere/update_set.h"

namespace vck::node {

struct NodeSources {
  const vsphere::Health& health;
  std::string placement_error;                  // what the options name is not in vCenter
  std::string vsphere_version;                  // "" before the first login
  bool inventory_synced = false;                // pods and VMs have been seen
  const vsphere::Capacity* capacity = nullptr;  // as last seen; null before
  int64_t pods = 0;                             // that are bound to the node
  int64_t max_pods = 0;
  std::optional<int64_t> addresses;  // of the pod range
  Resources overhead;                // of each pod's guest
};
NodeFacts MakeNodeFacts(const NodeSources& sources);

}  // namespace vck::node
