// Prometheus' text format: families of metrics, and the lines of them. Pure; lines are appended one pod at a time, so
// that nobody has to hold all of them.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/time/time.h"
#include "kubeletapi/stats.h"

namespace vck::kubeletapi {

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

// "# HELP" and "# TYPE".
void AppendHeader(std::string_view name, std::string_view type, std::string_view help, std::string* out);
inline void AppendHeader(const MetricFamily& family, std::string* out) {
  AppendHeader(family.name, family.type, family.help, out);
}

using Label = std::pair<std::string_view, std::string_view>;
// InfinitePast: without a time.
void AppendLine(std::string_view name, std::span<const Label> labels, std::string_view value, absl::Time time,
                std::string* out);
inline void AppendLine(std::string_view name, std::initializer_list<Label> labels, std::string_view value,
                       absl::Time time, std::string* out) {
  AppendLine(name, std::span(labels.begin(), labels.size()), value, time, out);
}
constexpr absl::Time NoTime() { return absl::InfinitePast(); }

// The value of a family's figure: nanoseconds become seconds, anything else stays.
std::string Number(const MetricFamily& family, int64_t value);
// A figure of 10⁻⁹ in units, exactly: 1500000000 is "1.5".
std::string FromNanos(int64_t nanos);
// `text` as a label's value or within a JSON string, without the quotes.
std::string EscapeLabel(std::string_view text);

}  // namespace vck::kubeletapi
