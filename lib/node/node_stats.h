// NodeMeter: what the node uses, as far as vCenter tells of the VCH's pool and datastore.
#pragma once

#include <string>

#include "async/clock.h"
#include "kubeletapi/cpu_meter.h"
#include "kubeletapi/stats.h"
#include "vsphere/update_set.h"

namespace vck::node {

class NodeMeter {
 public:
  NodeMeter(Clock& clock, std::string node_name, std::string machine_id, std::string boot_id)
      : clock_(clock), name_(std::move(node_name)), machine_id_(std::move(machine_id)), boot_id_(std::move(boot_id)) {}

  // To be called when vCenter's figures change, or cannot be had any more (null). vCenter tells MHz, not time: time is
  // counted from here on.
  void Look(const vsphere::Capacity* capacity);
  // Without vCenter's figures (null) only the CPU time until then is known.
  kubeletapi::NodeStats Now(const vsphere::Capacity* capacity);

 private:
  Clock& clock_;
  std::string name_, machine_id_, boot_id_;
  kubeletapi::CpuMeter cpu_;
  absl::Time started_ = absl::InfinitePast();
};

}  // namespace vck::node
