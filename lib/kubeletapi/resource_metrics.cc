#include "kubeletapi/resource_metrics.h"

#include <array>

#include "absl/strings/str_cat.h"

namespace vck::kubeletapi {
namespace {

void ResourceContainers(const MetricFamily& family, const PodStats& pod, std::string* out) {
  for (const ContainerStats& container : pod.containers) {
    const int64_t value = container.usage.*family.figure;
    if (value < 0) continue;
    AppendLine(family.name, {{"container", container.name}, {"namespace", pod.ns}, {"pod", pod.name}},
               Number(family, value), pod.time, out);
  }
}
void ResourceStarts(const MetricFamily& family, const PodStats& pod, std::string* out) {
  for (const ContainerStats& container : pod.containers) {
    if (container.started == absl::InfinitePast()) continue;
    AppendLine(family.name, {{"container", container.name}, {"namespace", pod.ns}, {"pod", pod.name}},
               FromNanos(absl::ToUnixNanos(container.started)), NoTime(), out);
  }
}
void ResourcePod(const MetricFamily& family, const PodStats& pod, std::string* out) {
  const int64_t value = pod.pod.*family.figure;
  if (value < 0) return;
  AppendLine(family.name, {{"namespace", pod.ns}, {"pod", pod.name}}, Number(family, value), pod.time, out);
}
void ResourceNodeCpu(const MetricFamily& family, const NodeStats& node, std::string* out) {
  if (node.cpu_nanos >= 0) AppendLine(family.name, {}, FromNanos(node.cpu_nanos), node.time, out);
}
void ResourceNodeMemory(const MetricFamily& family, const NodeStats& node, std::string* out) {
  if (node.memory_used_bytes >= 0) {
    AppendLine(family.name, {}, absl::StrCat(node.memory_used_bytes), node.time, out);
  }
}

constexpr MetricFamily OfUsage(std::string_view name, std::string_view type, std::string_view help,
                               int64_t Usage::* figure,
                               void (*pod)(const MetricFamily&, const PodStats&, std::string*)) {
  return {.name = name, .type = type, .help = help, .pod = pod, .figure = figure};
}

constexpr std::array kResource = {
    OfUsage("container_cpu_usage_seconds_total", "counter", "CPU time that the container has used, in core-seconds",
            &Usage::cpu_nanos, ResourceContainers),
    OfUsage("container_memory_working_set_bytes", "gauge", "Working set of the container in bytes",
            &Usage::working_set_bytes, ResourceContainers),
    MetricFamily{.name = "container_start_time_seconds",
                 .type = "gauge",
                 .help = "When the container was started, in seconds since the Unix epoch",
                 .pod = ResourceStarts},
    OfUsage("container_swap_usage_bytes", "gauge", "Swap that the container uses, in bytes", &Usage::swap_bytes,
            ResourceContainers),
    MetricFamily{.name = "node_cpu_usage_seconds_total",
                 .type = "counter",
                 .help = "CPU time that the node has used, in core-seconds",
                 .node = ResourceNodeCpu},
    MetricFamily{.name = "node_memory_working_set_bytes",
                 .type = "gauge",
                 .help = "Working set of the node in bytes",
                 .node = ResourceNodeMemory},
    OfUsage("pod_cpu_usage_seconds_total", "counter", "CPU time that the pod has used, in core-seconds",
            &Usage::cpu_nanos, ResourcePod),
    OfUsage("pod_memory_working_set_bytes", "gauge", "Working set of the pod in bytes", &Usage::working_set_bytes,
            ResourcePod),
    OfUsage("pod_swap_usage_bytes", "gauge", "Swap that the pod uses, in bytes", &Usage::swap_bytes, ResourcePod),
};

}  // namespace

std::span<const MetricFamily> ResourceFamilies() { return kResource; }

}  // namespace vck::kubeletapi
