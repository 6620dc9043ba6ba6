// Figures as the kubelet and its cAdvisor write them: stats/v1alpha1 Summary, and Prometheus' text format. Pure; pieces
// are appended one pod at a time, so that nobody has to hold all of it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "kubeletapi/stats.h"

namespace vck::kubeletapi {

// ---- /stats/summary (k8s.io/kubelet/pkg/apis/stats/v1alpha1) ----
// Objects of JSON. `all`: not only CPU and memory.
void AppendNodeSummary(const NodeStats& node, bool all, std::string* out);
void AppendPodSummary(const PodStats& pod, bool all, std::string* out);

// ---- metrics ----
struct MetricFamily {
  std::string_view name, type, help;
  // Either may be null. They append lines.
  void (*node)(const MetricFamily& family, const NodeStats& node, std::string* out) = nullptr;
  void (*pod)(const MetricFamily& family, const PodStats& pod, std::string* out) = nullptr;
  // For families that differ in nothing but the figure.
  int64_t Usage::* figure = nullptr;
  int64_t InterfaceStats::* interface_figure = nullptr;
  int64_t DeviceStats::* device_figure = nullptr;
};
// By name. /metrics/resource, without resource_scrape_error.
std::span<const MetricFamily> ResourceFamilies();
// /metrics/cadvisor.
std::span<const MetricFamily> CadvisorFamilies();
// /metrics/probes, by name.
struct ProbeFamily {
  std::string_view name, type, help;
  void (*append)(const ProbeFamily& family, const PodProbes& pod, std::string* out);
};
std::span<const ProbeFamily> ProbeFamilies();
// "# HELP" and "# TYPE".
void AppendHeader(const MetricFamily& family, std::string* out);
void AppendHeader(const ProbeFamily& family, std::string* out);

// A figure of 10⁻⁹ in units, exactly: 1500000000 is "1.5".
std::string FromNanos(int64_t nanos);
// `text` as a label's value or within a JSON string, without the quotes.
std::string EscapeLabel(std::string_view text);

}  // namespace vck::kubeletapi
