// /metrics/probes, as the kubelet's. Pure.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "kubeletapi/stats.h"

namespace vck::kubeletapi {

struct ProbeFamily {
  std::string_view name, type, help;
  void (*append)(const ProbeFamily& family, const PodProbes& pod, std::string* out);
};
// By name.
std::span<const ProbeFamily> ProbeFamilies();
void AppendHeader(const ProbeFamily& family, std::string* out);

}  // namespace vck::kubeletapi
