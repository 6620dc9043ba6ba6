// What a pod asks for, computed as the scheduler and the kubelet do (component-helpers/resource).
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "kubeapi/pod_view.h"

namespace vck::kubeapi {

// max over the phases of the pod's life (each init container with the sidecars started before it; the main containers
// with all sidecars), or the pod-level value; plus overhead.
Quantity PodRequests(const PodView& pod, std::string_view resource);
// What it takes of its node while it may be resized in place (UseStatusResources): of each container that may be the
// largest of what it requests, has and was promised; only of the last two if the resize is Infeasible.
Quantity HeldByPod(const PodView& pod, std::string_view resource);
// Containers without a limit count nothing: see AllLimited. Overhead is added when there is any limit.
Quantity PodLimits(const PodView& pod, std::string_view resource);
// Every container, or the pod as a whole, has that limit.
bool AllLimited(const PodView& pod, std::string_view resource);
// The same formula over each container's limit, or else request, or else nothing. `unstated` is set if some container
// has neither (and the pod as a whole has no limit).
Quantity PodCeiling(const PodView& pod, std::string_view resource, bool* unstated);
// Names of all resources that the pod requests or limits, each once.
std::vector<std::string_view> ResourceNames(const PodView& pod);

// "Guaranteed", "Burstable" or "BestEffort", by cpu and memory.
std::string_view QosClass(const PodView& pod);

}  // namespace vck::kubeapi
