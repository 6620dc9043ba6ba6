// /stats/summary as the kubelet writes it (k8s.io/kubelet/pkg/apis/stats/v1alpha1). Pure.
#pragma once

#include <string>

#include "kubeletapi/stats.h"

namespace vck::kubeletapi {

// Objects of JSON, appended one at a time, so that nobody has to hold all of it. `all`: not only CPU and memory.
void AppendNodeSummary(const NodeStats& node, bool all, std::string* out);
void AppendPodSummary(const PodStats& pod, bool all, std::string* out);

}  // namespace vck::kubeletapi
