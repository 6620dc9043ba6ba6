// NetworkMeter: what all guests have sent and received together. Pure.
#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "kube/object.h"
#include "kubeletapi/stats.h"

namespace vck::kubeletapi {

// The sum of what the counters of pods' own interfaces grow by, from `since` on: it never decreases, whichever pods
// come and go. What a pod moves after it was asked last is not in it.
class NetworkMeter {
 public:
  explicit NetworkMeter(absl::Time since) : since_(absl::FromUnixSeconds(absl::ToUnixSeconds(since))) {}

  // A pod's newest figures.
  void Add(const PodStats& pod);
  // Forgets all but these.
  void Keep(const std::vector<kube::ObjectPtr>& pods);
  // Without a name before any pod has told something.
  [[nodiscard]] const InterfaceStats& total() const { return total_; }
  [[nodiscard]] size_t size() const { return last_.size(); }

 private:
  absl::Time since_;  // pods' start times have seconds
  InterfaceStats total_;
  absl::flat_hash_map<std::string, InterfaceStats> last_;  // by UID
};

}  // namespace vck::kubeletapi
