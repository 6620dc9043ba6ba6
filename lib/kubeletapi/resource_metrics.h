// /metrics/resource, as the kubelet's. Pure.
#pragma once

#include <span>

#include "kubeletapi/metric_text.h"

namespace vck::kubeletapi {

// By name, without resource_scrape_error.
std::span<const MetricFamily> ResourceFamilies();

}  // namespace vck::kubeletapi
