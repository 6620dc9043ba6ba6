#include "podvm/status.h"

#include <algorithm>

#include "guestapi/spec.h"
#include "kubeapi/resources.h"
#include "kubeapi/timestamp.h"
#include "podvm/pod_status.h"
#include "podvm/resolve_parts.h"
#include "podvm/run_id.h"

namespace vck::podvm {
namespace {

using kubeapi::Condition;
using kubeapi::ContainerView;
using kubeapi::PodPhase;
using kubeapi::PodView;
using vimtypes::PowerState;

constexpr std::string_view kResizePending = "PodResizePending";
constexpr std::string_view kResizeInProgress = "PodResizeInProgress";

class Computer {
 public:
  Computer(const StatusInputs& in, const StatusOptions& options) : in_(in), options_(options), pod_(*in.pod) {}
  StatusResult Run();

 private:
  void ReadFacts();
  void Containers();
  void Resources(const ContainerView& c, const guestapi::ContainerState& says, ContainerStatus* status);
  void Resize();
  void Phase();
  void Conditions();
  Condition ReadyToStart();
  Condition Ready(const Condition& containers_ready);
  bool TooLateForSpec();
  void RecomputeAt(absl::Time when) {
    result_.recompute_at = std::min(result_.recompute_at.value_or(absl::InfiniteFuture()), when);
  }
  StatusResult Reject();
  StatusResult Result();

  const StatusInputs& in_;
  const StatusOptions& options_;
  const PodView& pod_;
  const vimtypes::VmRecord* vm_ = nullptr;
  const guestapi::GuestState* guest_ = nullptr;  // only while it speaks of this pod and of the current boot
  bool settled_ = false;                         // the API's phase is terminal
  bool ended_ = false;                           // nothing will be started any more
  bool resizing_ = false;                        // some container has other resources than the spec's
  Situation situation_;
  PodStatus status_;
  StatusResult result_;
};

void Computer::ReadFacts() {
  const VmSighting* chosen = ChooseVm(in_.vm);
  vm_ = chosen == nullptr ? nullptr : chosen->vm;
  settled_ = kubeapi::IsTerminal(pod_.phase());
  const std::string_view announced = vm_ == nullptr ? std::string_view() : std::string_view(vm_->guest_key);
  situation_.boot = CurrentBoot(announced, in_.guest);
  if (in_.guest.known()) {
    const guestapi::GuestState& state = *in_.guest.state;
    const bool this_pod = state.pod_uid.empty() || state.pod_uid == pod_.uid();
    if (this_pod && BootPrefix(state.history()) == situation_.boot) guest_ = &state;
  }
  // Absence and power state count only as seen in a whole inventory; a VM that can't be reached is not off.
  const bool incomplete = std::any_of(in_.vm.vms.begin(), in_.vm.vms.end(),
                                      [](const VmSighting& s) { return s.named && s.vm->incomplete; });
  if (in_.vm.synced && !in_.vm.create_in_flight) {
    situation_.vm_dead = vm_ == nullptr ? !incomplete : vm_->reachable() && vm_->power == PowerState::kOff;
  }
  const bool finished = guest_ != nullptr && guest_->finished;
  ended_ = finished || (pod_.deleting() && situation_.vm_dead);
  situation_.rebooted = Rebooted(pod_, announced, in_.guest);
  situation_.now = in_.now;
  situation_.clock_offset = in_.guest.clock_offset;

  const bool never = pod_.restart_policy() == kubeapi::RestartPolicy::kNever;
  const bool guest_ran = guest_ != nullptr && std::any_of(guest_->containers.begin(), guest_->containers.end(),
                                                          [](const auto& c) { return !c.id.empty(); });
  situation_.restarts = !never && !pod_.deleting() && !ended_ && !settled_;
  const bool lost_for_good = never && (pod_.HasRun() || guest_ran) && (situation_.vm_dead || situation_.rebooted);
  situation_.ended = !settled_ && (pod_.deleting() ? ended_ : !finished && lost_for_good);
  situation_.keep_waiting =
      settled_ || (guest_ == nullptr && vm_ != nullptr && !situation_.vm_dead && in_.verdict.admitted());
}

void Computer::Containers() {
  const bool has_init = !pod_.init_containers().empty();
  const std::string_view creating = has_init ? "PodInitializing" : "ContainerCreating";
  situation_.waiting_reason = situation_.init_waiting_reason = creating;
  if (in_.verdict.kind == Verdict::Kind::kWait && !in_.verdict.reason.empty()) {
    (has_init ? situation_.init_waiting_reason : situation_.waiting_reason) = in_.verdict.reason;
    (has_init ? situation_.init_waiting_message : situation_.waiting_message) = in_.verdict.message;
  }
  status_.init.reserve(pod_.init_containers().size());
  status_.main.reserve(pod_.containers().size());
  status_.ephemeral.reserve(pod_.ephemeral_containers().size());
  pod_.ForEachContainer([this](const ContainerView& c) {
    const guestapi::ContainerState* says = nullptr;
    if (guest_ != nullptr) {
      for (const auto& g : guest_->containers) {
        if (g.name == c.name()) says = &g;
      }
    }
    auto& list = c.is_init() ? status_.init : c.kind() == ContainerView::Kind::kMain ? status_.main : status_.ephemeral;
    Situation situation = situation_;
    if (in_.waits != nullptr) {
      if (auto wait = in_.waits->find(std::string(c.name())); wait != in_.waits->end()) {
        situation.own_reason = true;
        situation.waiting_reason = situation.init_waiting_reason = wait->second.reason;
        situation.waiting_message = situation.init_waiting_message = wait->second.message;
      }
    }
    list.push_back(Merge(c, pod_.ContainerStatus(c.kind(), c.name()), says, situation, &result_.lost_containers));
    if (says != nullptr && list.back().state == ContainerStatus::State::kRunning) Resources(c, *says, &list.back());
  });
}

// The spec's, once the container's cgroup has them; until then what the API has been told.
void Computer::Resources(const ContainerView& c, const guestapi::ContainerState& says, ContainerStatus* status) {
  if (!says.resources) return;
  if (*says.resources != internal::ResolveResources(pod_, c)) {
    resizing_ = true;
    return;
  }
  status->resources = json::Get(c.json(), "resources");
  status->allocated = json::Get(status->resources, "requests");
}

// As the kubelet's status manager: both are there while they are true, and gone otherwise. The VM is the node, and as
// its size stays, what does not fit is never Deferred.
void Computer::Resize() {
  const bool terminal = kubeapi::IsTerminal(status_.phase);
  // Of a spec that it has not applied, the guest says nothing.
  const bool known = guest_ != nullptr && in_.guest.connected && guest_->generation == pod_.generation();
  if (!terminal && !known) return;
  const bool infeasible = !terminal && !guest_->resize_infeasible.empty();
  const bool in_progress = !terminal && resizing_ && !infeasible;
  if (infeasible) {
    status_.conditions.push_back({.type = std::string(kResizePending),
                                  .status = "True",
                                  .reason = "Infeasible",
                                  .message = guest_->resize_infeasible});
  } else {
    status_.removed_conditions.push_back(kResizePending);
  }
  if (in_progress) {
    const std::string& error = guest_->resize_error;
    status_.conditions.push_back({.type = std::string(kResizeInProgress),
                                  .status = "True",
                                  .reason = error.empty() ? "" : "Error",
                                  .message = error});
  } else {
    status_.removed_conditions.push_back(kResizeInProgress);
  }
}

// A guest that has a spec ends a pod that is over its deadline. Until then (its image cannot be pulled, a ConfigMap is
// missing, its guest does not boot) that is done here.
bool Computer::TooLateForSpec() {
  const auto limit = pod_.active_deadline_seconds();
  const auto start = StartTime(pod_);
  if (!limit || !start || pod_.deleting() || pod_.HasRun()) return false;
  if (guest_ != nullptr && !guest_->pod_uid.empty()) return false;
  // Of a VM that may come, or that nobody can tell about, more will be known.
  if (!in_.vm.synced || in_.vm.create_in_flight || (vm_ == nullptr ? !situation_.vm_dead : !vm_->reachable())) {
    return false;
  }
  absl::Time deadline = *start + absl::Seconds(std::clamp<int64_t>(*limit, 0, guestapi::kMaxSpecSeconds));
  // A guest that this kubelet has not heard yet may have run, and ended, all of it.
  if (guest_ == nullptr && vm_ != nullptr && vm_->power == PowerState::kOn && !situation_.boot.empty()) {
    deadline = std::max(deadline, in_.now - in_.guest.disconnected_for + options_.unreachable_after);
  }
  if (in_.now >= deadline) return true;
  RecomputeAt(deadline);
  return false;
}

void Computer::Phase() {
  const PodPhase have = pod_.phase();
  status_.reason = json::String(pod_.status(), "reason");
  status_.message = json::String(pod_.status(), "message");
  if (settled_) {
    status_.phase = have;
    return;
  }
  const bool too_late = TooLateForSpec();
  const bool deadline = too_late || (guest_ != nullptr && guest_->deadline_exceeded && guest_->finished);
  status_.phase = PhaseOf(pod_, status_, ended_);
  const bool evicted = guest_ != nullptr && !guest_->evicted.empty() && guest_->finished;
  if (deadline || evicted || (ended_ && !kubeapi::IsTerminal(status_.phase))) status_.phase = PodPhase::kFailed;
  const bool over = ended_ || situation_.ended || too_late;
  if (kubeapi::IsTerminal(status_.phase) && (AnyRunning(status_) || !over)) {
    // Something runs, or the guest may start it again (a failed liveness probe, another image): the end is not told
    // before it is there.
    status_.phase = have == PodPhase::kPending || have == PodPhase::kUnknown ? PodPhase::kPending : PodPhase::kRunning;
  } else if (evicted) {
    status_.reason = "Evicted";
    status_.message = guest_->evicted;
  } else if (deadline) {
    status_.reason = "DeadlineExceeded";
    status_.message = "Pod was active on the node longer than the specified deadline";
  }
}

Condition Computer::ReadyToStart() {
  Condition condition{.type = "PodReadyToStartContainers", .status = "False"};
  if (situation_.vm_dead || kubeapi::IsTerminal(status_.phase)) return condition;
  if (guest_ != nullptr && in_.guest.connected) {
    condition.status = status_.pod_ip.empty() && pod_.pod_ip().empty() ? "False" : "True";
  } else if (kubeapi::IsTrue(pod_.status(), condition.type)) {
    condition.status = "True";  // until something says otherwise
  }
  return condition;
}

Condition Computer::Ready(const Condition& containers_ready) {
  Condition ready =
      kubeapi::ParseCondition(pod_.Condition("Ready") == nullptr ? json::Value() : *pod_.Condition("Ready"));
  const std::string was = ready.status;
  ready = ReadyCondition(pod_, containers_ready);
  if (ready.status != "True") return ready;
  auto not_ready = [&ready](std::string_view reason, std::string_view message) {
    ready.status = "False";
    ready.reason = reason;
    ready.message = message;
    return ready;
  };
  if (in_.vm.synced && vm_ != nullptr && !vm_->reachable()) {
    return not_ready("VmUnreachable", absl::StrCat("vCenter can't tell the state of the pod's VM: ",
                                                   vimtypes::ConnectionStateName(vm_->connection)));
  }
  if (in_.vm.synced && vm_ != nullptr && vm_->power == PowerState::kSuspended) {
    return not_ready("VmSuspended", "The pod's VM is suspended");
  }
  if (in_.guest.connected && guest_ != nullptr) return ready;
  if (in_.guest.disconnected_for >= options_.unreachable_after) {
    return not_ready("GuestUnreachable", "The tether of the pod's VM has not answered for some time");
  }
  // Neither lost nor won by a short silence.
  if (was != "True") {
    const json::Value* have = pod_.Condition("Ready");
    const std::string_view reason = json::String(have, "reason");
    return not_ready(reason.empty() ? "GuestUnreachable" : reason, json::String(have, "message"));
  }
  RecomputeAt(in_.now + (options_.unreachable_after - in_.guest.disconnected_for));
  return ready;
}

void Computer::Conditions() {
  const Condition containers_ready = ContainersReadyCondition(status_);
  const Condition ready = Ready(containers_ready);
  result_.ready = ready.status == "True";
  status_.conditions = {ReadyToStart(), InitializedCondition(status_), ready, containers_ready};
  Resize();
}

// kubelet's rejectPod: phase, reason and message, and nothing about containers.
StatusResult Computer::Reject() {
  status_.phase = PodPhase::kFailed;
  status_.reason = in_.verdict.reason;
  status_.message = absl::StrCat("Pod was rejected: ", in_.verdict.message);
  status_.observed_generation = json::Int(pod_.status(), "observedGeneration");
  return Result();
}

StatusResult Computer::Result() {
  status_.host_ip = in_.host_ip;
  status_.start_time = kubeapi::FormatTime(in_.now);
  if (pod_.qos_class().empty()) status_.qos_class = kubeapi::QosClass(pod_);
  result_.phase = status_.phase;
  result_.patch = PatchOf(pod_, status_, in_.now);
  return std::move(result_);
}

StatusResult Computer::Run() {
  ReadFacts();
  if (settled_ && guest_ == nullptr && !pod_.HasRun()) {
    // Rejected, or failed before anything ran: nothing is to be added.
    result_.phase = pod_.phase();
    if (!kubeapi::IsTrue(pod_.status(), "Ready")) return std::move(result_);
  }
  if (!settled_ && in_.verdict.kind == Verdict::Kind::kReject && vm_ == nullptr && guest_ == nullptr &&
      !pod_.HasRun()) {
    return Reject();
  }
  Containers();
  // The VM's key names an address from the beginning; it is the pod's once a guest has been there.
  const bool has_address = guest_ != nullptr || !pod_.pod_ip().empty();
  if ((!situation_.vm_dead || vm_ != nullptr) && has_address && !settled_) status_.pod_ip = in_.pod_ip;
  Phase();
  const int64_t observed = json::Int(pod_.status(), "observedGeneration");
  status_.observed_generation = std::max(observed, guest_ == nullptr ? int64_t{0} : guest_->generation);
  Conditions();
  return Result();
}

}  // namespace

StatusResult ComputeStatus(const StatusInputs& in, const StatusOptions& options) { return Computer(in, options).Run(); }

std::optional<absl::Time> StartTime(const PodView& pod) {
  return kubeapi::ParseTime(json::String(pod.status(), "startTime"));
}

bool FinalStatusWritten(const PodView& pod) {
  return kubeapi::IsTerminal(pod.phase()) && !pod.AnyRunning() && !kubeapi::IsTrue(pod.status(), "Ready");
}

bool ReadyToDelete(const PodView& pod, const VmFacts& vm) {
  return pod.deleting() && FinalStatusWritten(pod) && vm.synced && !vm.create_in_flight && ChooseVm(vm) == nullptr &&
         std::none_of(vm.vms.begin(), vm.vms.end(), [](const VmSighting& s) { return s.named && s.vm->incomplete; });
}

}  // namespace vck::podvm
