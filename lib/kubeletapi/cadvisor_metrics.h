// /metrics/cadvisor, as the kubelet's, and what virtual machines take on top. Pure.
#pragma once

#include <span>

#include "kubeletapi/metric_text.h"

namespace vck::kubeletapi {

// By name.
std::span<const MetricFamily> CadvisorFamilies();

}  // namespace vck::kubeletapi
