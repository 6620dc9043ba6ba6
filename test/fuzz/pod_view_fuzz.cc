#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "kubeapi/node_match.h"
#include "kubeapi/pod_view.h"
#include "kubeapi/resources.h"

// Any JSON can be read as a pod.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto document = vck::json::Document::Parse(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!document.ok()) return 0;
  vck::kubeapi::PodView pod(document->root());
  size_t sum = pod.name().size() + pod.hostname().size() + pod.containers().size();
  pod.ForEachContainer([&](const vck::kubeapi::ContainerView& c) {
    sum += c.name().size() + (pod.ContainerStatus(c.kind(), c.name()) != nullptr ? 1 : 0);
  });
  sum += pod.deletion_timestamp() ? 1 : 0;
  bool unstated = false;
  for (std::string_view name : vck::kubeapi::ResourceNames(pod)) {
    if (vck::kubeapi::PodRequests(pod, name) < vck::kubeapi::Quantity() && sum == 0) std::abort();
    vck::kubeapi::HeldByPod(pod, name);
    vck::kubeapi::PodLimits(pod, name);
    vck::kubeapi::PodCeiling(pod, name, &unstated);
  }
  if (vck::kubeapi::QosClass(pod).empty()) std::abort();
  vck::kubeapi::SelectsNode(pod, vck::kubeapi::NodeView(document->root()));
  if (pod.AnyRunning() && !pod.HasRun()) std::abort();
  return 0;
}
