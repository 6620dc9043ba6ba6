// The parts of a pod's status that the kubelet owns, and the patch that brings them to the API.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "kubeapi/conditions.h"
#include "kubeapi/pod_view.h"
#include "podvm/container_status.h"

namespace vck::podvm {

struct PodStatus {
  kubeapi::PodPhase phase = kubeapi::PodPhase::kPending;
  std::string reason, message;
  std::string pod_ip, host_ip, start_time;  // "": left as they are
  std::string_view qos_class;
  int64_t observed_generation = 0;  // 0: none yet
  std::vector<kubeapi::Condition> conditions;
  std::vector<std::string_view> removed_conditions;    // to be removed if the API has them
  std::vector<ContainerStatus> init, main, ephemeral;  // in the pod's order
};

// kubelet's getPhase (pkg/kubelet/kubelet_pods.go). `terminal`: no container will be started any more.
kubeapi::PodPhase PhaseOf(const kubeapi::PodView& pod, const PodStatus& status, bool terminal);
bool AnyRunning(const PodStatus& status);

// kubelet's status/generate.go. Without times.
kubeapi::Condition InitializedCondition(const PodStatus& status);
kubeapi::Condition ContainersReadyCondition(const PodStatus& status);
kubeapi::Condition ReadyCondition(const kubeapi::PodView& pod, const kubeapi::Condition& containers_ready);

// Strategic-merge patch with metadata.uid, or "" if the API has it all. Sets the conditions' transition times.
std::string PatchOf(const kubeapi::PodView& pod, PodStatus& status, absl::Time now);

}  // namespace vck::podvm
