#include "kubeletapi/network_meter.h"

#include <algorithm>
#include <array>

#include "absl/container/flat_hash_set.h"

namespace vck::kubeletapi {
namespace {

constexpr std::array kFigures = {&InterfaceStats::rx_bytes,   &InterfaceStats::rx_packets, &InterfaceStats::rx_errors,
                                 &InterfaceStats::rx_dropped, &InterfaceStats::tx_bytes,   &InterfaceStats::tx_packets,
                                 &InterfaceStats::tx_errors,  &InterfaceStats::tx_dropped};

}  // namespace

void NetworkMeter::Add(const PodStats& pod) {
  if (pod.interfaces.empty()) return;
  const InterfaceStats& now = pod.interfaces.front();
  auto [last, first] = last_.try_emplace(pod.uid);
  total_.name = now.name;
  for (auto figure : kFigures) {
    const int64_t count = now.*figure;
    if (count < 0) continue;
    int64_t before = last->second.*figure;
    // Of a pod that is older than we are it is not known when it moved what.
    if (first && pod.started < since_) before = count;
    // A guest that has booted again begins at 0.
    if (before < 0 || count < before) before = 0;
    total_.*figure = std::max<int64_t>(total_.*figure, 0) + count - before;
    last->second.*figure = count;
  }
}

void NetworkMeter::Keep(const std::vector<kube::ObjectPtr>& pods) {
  absl::flat_hash_set<std::string_view> uids;
  for (const kube::ObjectPtr& pod : pods) uids.insert(pod->uid());
  absl::erase_if(last_, [&](const auto& item) { return !uids.contains(item.first); });
}

}  // namespace vck::kubeletapi
