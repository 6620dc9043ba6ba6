// Does a pod tolerate and select a node? (component-helpers/scheduling/corev1)
#pragma once

#include <string_view>

#include "kubeapi/node_view.h"
#include "kubeapi/pod_view.h"

namespace vck::kubeapi {

// spec.nodeSelector, and requiredDuringSchedulingIgnoredDuringExecution of spec.affinity.nodeAffinity.
bool SelectsNode(const PodView& pod, const NodeView& node);
// The first taint with effect NoExecute (and NoSchedule too, if asked) that no toleration matches; null if there is
// none.
const json::Value* FirstUntolerated(const PodView& pod, const json::Array& taints, bool also_no_schedule);
bool Tolerates(const json::Value& toleration, const json::Value& taint);

}  // namespace vck::kubeapi
