// ComputeStatus: the only place that decides a pod's phase and conditions.
//
// It remembers nothing. What must survive a restart of the kubelet (restart counts, last states, first start times) is
// read back from the pod's own status in the API, and runs are told apart by containerID:
//     vch://<boot>-<n>-<id>
// boot: the first 12 letters and digits of the id of the boot in which the guest began to count (its own, or that of an
// earlier boot whose journal it has found); n: the guest's restart count of that run; id: the guest's. restartCount in
// the API = base + n, where base is
//     restartCount - n'      if the API's run (n') is of the same boot,
//     restartCount + 1       if it is of another boot: that run is lost and this one replaces it,
//     restartCount           if the API has no containerID: nothing has run, or the loss was counted already.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "kubeapi/pod_view.h"
#include "podvm/admission.h"
#include "podvm/facts.h"

namespace vck::podvm {

struct StatusOptions {
  // Without a channel for longer than this, a Ready pod is not Ready (GuestUnreachable).
  absl::Duration unreachable_after = absl::Seconds(40);
};

struct StatusInputs {
  const kubeapi::PodView* pod = nullptr;  // with its current API status
  VmFacts vm;
  GuestFacts guest;
  std::string_view pod_ip;   // of the VM, once it is given; "" unknown
  std::string_view host_ip;  // the node's
  // Why there is no VM, or no containers, yet: admission, missing ConfigMap, image pull…
  Verdict verdict;
  // Of single containers, by name: their images can't be had. Null: none. It counts before the verdict, and before what
  // the guest says, which only knows that they have no image.
  const std::map<std::string, ContainerWait>* waits = nullptr;
  absl::Time now;
};

struct StatusResult {
  kubeapi::PodPhase phase = kubeapi::PodPhase::kUnknown;
  bool ready = false;
  // Strategic-merge patch for the status subresource, with metadata.uid; "" if the API has it all already.
  std::string patch;
  // To compute again even if no fact changes (when the channel has been down for long enough).
  std::optional<absl::Time> recompute_at;
  // What was seen to change, for events: e.g. containers that were lost ("web").
  bool lost_containers = false;
};

StatusResult ComputeStatus(const StatusInputs& in, const StatusOptions& options = {});

// status.startTime; none before the first status.
std::optional<absl::Time> StartTime(const kubeapi::PodView& pod);

// The API has the pod's last status: terminal phase, not Ready, no container running.
bool FinalStatusWritten(const kubeapi::PodView& pod);
// The API object may be removed (grace 0, UID precondition): being deleted, final status written, the inventory synced,
// no VM of its own left, and no create in flight.
bool ReadyToDelete(const kubeapi::PodView& pod, const VmFacts& vm);

}  // namespace vck::podvm
