#include "podvm/plan.h"

#include <algorithm>

#include "guestapi/identity.h"
#include "podvm/run_id.h"
#include "podvm/status.h"

namespace vck::podvm {
namespace {

using vimtypes::PowerState;
using vimtypes::VmRecord;

class Planner {
 public:
  Planner(const PlanInputs& in, const PlanOptions& options) : in_(in), options_(options) {}
  Plan Run();

 private:
  void ShouldRun();
  void Create();
  void PowerUp();
  void KeepRunning();
  void Finished();
  void TearDown();
  // `stay_on`: with its guest, whose logs are still to be saved.
  void StopGuest(bool stay_on = false);
  // True if the VM can't be worked on now.
  bool Blocked();
  bool NameTaken();
  void RemoveDuplicates();

  void Do(Action::Kind kind) {
    plan_.actions.push_back({.kind = kind, .vm = vm_ == nullptr ? vimtypes::MoRef{} : vm_->vm});
  }
  void Wait(std::string reason) { plan_.wait = std::move(reason); }
  void WaitUntil(std::string reason, absl::Time when) {
    plan_.wait = std::move(reason);
    plan_.requeue_at = when;
  }
  void Warn(std::string reason, std::string message) {
    plan_.warning_reason = std::move(reason);
    plan_.warning = std::move(message);
  }

  [[nodiscard]] bool Announced() const { return vm_ != nullptr && guestapi::DecodeAnnouncement(vm_->guest_key).ok(); }
  [[nodiscard]] bool GuestFinished() const { return in_.guest.known() && in_.guest.state->finished; }
  // Some container has run, by the API or by the last guest state.
  [[nodiscard]] bool HasRun() const {
    if (in_.pod != nullptr && in_.pod->HasRun()) return true;
    if (!in_.guest.known()) return false;
    const auto& containers = in_.guest.state->containers;
    return std::any_of(containers.begin(), containers.end(), [](const auto& c) { return !c.id.empty(); });
  }
  [[nodiscard]] bool RestartsNever() const { return in_.pod->restart_policy() == kubeapi::RestartPolicy::kNever; }
  [[nodiscard]] absl::Duration Grace() const;

  const PlanInputs& in_;
  const PlanOptions& options_;
  const VmRecord* vm_ = nullptr;
  Plan plan_;
};

Plan Planner::Run() {
  const VmSighting* chosen = ChooseVm(in_.vm);
  if (chosen != nullptr) {
    vm_ = chosen->vm;
    plan_.vm = vm_->vm;
  }
  const bool gone = in_.pod == nullptr;
  if (gone && !in_.pods_synced) {
    Wait("PodsNotSynced");
  } else if (!in_.vm.synced) {
    // Guests answer even when vCenter doesn't.
    if (in_.guest.connected && (gone || in_.pod->deleting())) {
      plan_.actions.push_back({.kind = Action::Kind::kAskStop, .vm = plan_.vm, .grace = Grace()});
    }
    Wait("InventoryNotSynced");
  } else if (gone || in_.pod->deleting()) {
    TearDown();
  } else if (kubeapi::IsTerminal(in_.pod->phase())) {
    Finished();
  } else {
    ShouldRun();
  }
  return std::move(plan_);
}

absl::Duration Planner::Grace() const {
  if (in_.pod == nullptr) return options_.orphan_grace;
  const int64_t seconds = in_.pod->deletion_grace_seconds().value_or(in_.pod->termination_grace_seconds());
  return absl::Seconds(std::max<int64_t>(0, seconds));
}

bool Planner::Blocked() {
  if (!vm_->reachable()) {
    // Nobody knows how it is now: it is neither replaced nor removed, and keeps its address.
    Warn("VmUnreachable", absl::StrCat("vCenter can't tell the state of VM ", vm_->name, ": ",
                                       vimtypes::ConnectionStateName(vm_->connection)));
    Wait("VmUnreachable");
    return true;
  }
  if (in_.vm.task_in_flight || in_.vm.create_in_flight) {
    Wait("TaskInFlight");
    return true;
  }
  if (!vm_->question_id.empty()) {
    // Known ones: the disks are our own children ("Yes"), and the VM is where it belongs ("I moved it").
    std::string_view choice;
    if (vm_->question_text.find("msg.disk.duplicateUUID") != std::string::npos) choice = "0";
    if (vm_->question_text.find("msg.uuid.altered") != std::string::npos) choice = "1";
    if (choice.empty()) {
      Warn("VmQuestion", absl::StrCat("VM ", vm_->name, " waits for an answer in vCenter: ", vm_->question_text));
    } else {
      Do(Action::Kind::kAnswerQuestion);
      plan_.actions.back().question_id = vm_->question_id;
      plan_.actions.back().choice = choice;
    }
    Wait("VmQuestion");
    return true;
  }
  if (vm_->power == PowerState::kUnknown) {
    Wait("PowerUnknown");
    return true;
  }
  return false;
}

bool Planner::NameTaken() {
  for (const VmSighting& s : in_.vm.vms) {
    if (!s.named || s.ours) continue;
    if (s.vm->incomplete) {
      Wait("VmIncomplete");  // its key may still come
    } else {
      Warn("NameConflict",
           absl::StrCat("VM ", s.vm->name, " (", s.vm->vm.value, ") has this pod's name but is not this pod's"));
      Wait("NameConflict");
    }
    return true;
  }
  return false;
}

void Planner::RemoveDuplicates() {
  // Copies that somebody made. As long as one can't be reached, nobody knows which is the pod.
  const auto ours = [](const VmSighting& s) { return s.ours; };
  if (std::count_if(in_.vm.vms.begin(), in_.vm.vms.end(), ours) < 2 || in_.vm.task_in_flight) return;
  for (const VmSighting& s : in_.vm.vms) {
    if (s.ours && !s.vm->reachable()) return;
  }
  for (const VmSighting& s : in_.vm.vms) {
    if (!s.ours || s.vm == vm_) continue;
    if (s.vm->power != PowerState::kOff) plan_.actions.push_back({.kind = Action::Kind::kPowerOff, .vm = s.vm->vm});
    plan_.actions.push_back({.kind = Action::Kind::kDestroy, .vm = s.vm->vm});
  }
}

void Planner::ShouldRun() {
  if (vm_ == nullptr) {
    Create();
    return;
  }
  RemoveDuplicates();
  if (Blocked()) return;
  if (vm_->power == PowerState::kOn) {
    KeepRunning();
  } else {
    PowerUp();
  }
}

void Planner::Create() {
  plan_.link = Plan::Link::kDisconnect;
  if (in_.vm.create_in_flight || in_.vm.task_in_flight) return Wait("Creating");
  // The containers went with the VM, and are not to be started again.
  if (RestartsNever() && HasRun()) return Wait("VmRemoved");
  if (GuestFinished()) return Wait("FinalStatus");
  if (NameTaken()) return;
  if (!in_.may_create) return Wait(in_.may_not_reason.empty() ? "NotAdmitted" : in_.may_not_reason);
  if (in_.power_on_not_before && *in_.power_on_not_before > in_.now)
    return WaitUntil("BackOff", *in_.power_on_not_before);
  if (!in_.address_available) {
    Warn("FailedCreatePodSandBox", "no free IP address for the pod");
    return Wait("NoAddress");
  }
  Do(Action::Kind::kCreateVm);
}

void Planner::PowerUp() {
  plan_.link = Plan::Link::kDisconnect;
  // It ended by itself, and the API will say so.
  if (GuestFinished()) return Wait("FinalStatus");
  // A suspended VM goes on where it was.
  if (vm_->power == PowerState::kOff && RestartsNever() && HasRun()) return Wait("VmStopped");
  if (in_.power_on_not_before && *in_.power_on_not_before > in_.now)
    return WaitUntil("BackOff", *in_.power_on_not_before);
  Do(Action::Kind::kPowerOn);
}

void Planner::KeepRunning() {
  if (!Announced()) {
    plan_.link = Plan::Link::kDisconnect;
    const absl::Time late = in_.booting_since.value_or(in_.now) + options_.boot_slack;
    if (in_.now < late) return WaitUntil("GuestBooting", late);
    Warn("GuestNotAnnounced",
         absl::StrCat("VM ", vm_->name, " has been on for ", absl::FormatDuration(options_.boot_slack),
                      " and its guest has not announced itself: look at the VM's console in vCenter, and whether its "
                      "CD-ROM is connected and holds the bootstrap ISO (--bootstrap-iso)"));
    return Wait("GuestBooting");
  }
  if (RestartsNever() && Rebooted(*in_.pod, vm_->guest_key, in_.guest)) {
    // The containers ended with the boot before: the guest must not get its spec.
    plan_.link = Plan::Link::kDisconnect;
    return Wait("VmRestarted");
  }
  plan_.link = Plan::Link::kConnect;
  if (GuestFinished()) return Wait("FinalStatus");
  // First what the guest can have at once: a disk that can't be added holds up nothing but its own containers.
  if (in_.spec_revision == 0) {
    Wait("SpecNotReady");
  } else if (in_.spec_revision > in_.pushed_revision) {
    Do(Action::Kind::kPushSpec);
  }
  if (in_.images_to_add) Do(Action::Kind::kAddImages);
}

void Planner::Finished() {
  if (vm_ == nullptr) {
    plan_.link = Plan::Link::kDisconnect;
    return;
  }
  RemoveDuplicates();
  if (Blocked()) return;
  // Somebody else may have ended it (an eviction, the pod garbage collector): then its containers still run.
  const bool runs = in_.pod->AnyRunning() || (in_.guest.known() && in_.guest.connected && !GuestFinished());
  if (vm_->power == PowerState::kOn && runs) return StopGuest(/*stay_on=*/true);
  if (vm_->power == PowerState::kOff) {
    plan_.link = Plan::Link::kDisconnect;
    return;
  }
  // The API has the final status; once the logs are kept, the guest is not needed any more.
  const absl::Time since = in_.final_since.value_or(in_.now);
  const absl::Time deadline = since + (in_.logs_saved ? options_.halt_slack : options_.save_slack);
  const bool lost = !Announced() || Rebooted(*in_.pod, vm_->guest_key, in_.guest);  // nothing to save is there
  if (vm_->power != PowerState::kOn || in_.now >= deadline || lost) {
    plan_.link = Plan::Link::kDisconnect;
    return Do(Action::Kind::kPowerOff);
  }
  plan_.link = Plan::Link::kConnect;
  if (in_.logs_saved && in_.guest.streaming) {
    return WaitUntil("LogsAreRead", std::min(deadline, in_.now + options_.stream_look));
  }
  if (in_.guest.connected) Do(in_.logs_saved ? Action::Kind::kHaltGuest : Action::Kind::kSaveLogs);
  WaitUntil(in_.logs_saved ? "GuestHalting" : "SavingLogs", deadline);
}

void Planner::TearDown() {
  if (vm_ == nullptr) {
    plan_.link = Plan::Link::kDisconnect;
    if (in_.vm.create_in_flight || in_.vm.task_in_flight) return Wait("Creating");
    for (const VmSighting& s : in_.vm.vms) {
      if (s.named && s.vm->incomplete) return Wait("VmIncomplete");
    }
    plan_.gone = true;
    return;
  }
  if (Blocked()) {
    if (in_.guest.connected) plan_.actions.push_back({.kind = Action::Kind::kAskStop, .vm = vm_->vm, .grace = Grace()});
    return;
  }
  RemoveDuplicates();
  if (vm_->power == PowerState::kOn) return StopGuest();
  plan_.link = Plan::Link::kDisconnect;
  if (vm_->power != PowerState::kOff) return Do(Action::Kind::kPowerOff);  // suspended
  // What the guest said last must not be lost with its VM.
  if (in_.pod != nullptr && !FinalStatusWritten(*in_.pod)) return Wait("FinalStatus");
  Do(Action::Kind::kDestroy);
}

void Planner::StopGuest(bool stay_on) {
  const absl::Duration grace = Grace();
  const bool nothing_runs = !Announced() && !in_.guest.known() && !HasRun();
  if (nothing_runs || (grace == absl::ZeroDuration() && !GuestFinished())) {
    plan_.link = Plan::Link::kDisconnect;
    return Do(Action::Kind::kPowerOff);
  }
  plan_.link = Announced() ? Plan::Link::kConnect : Plan::Link::kKeep;
  absl::Time deadline = in_.stop_since.value_or(in_.now) + grace + options_.stop_slack;
  if (GuestFinished()) deadline = std::min(deadline, in_.finished_since.value_or(in_.now) + options_.halt_slack);
  if (in_.now >= deadline) return Do(Action::Kind::kPowerOff);
  // Also when it has finished by itself: only a guest that was asked to stop powers itself off.
  Do(Action::Kind::kAskStop);
  plan_.actions.back().grace = grace;
  plan_.actions.back().stay_on = stay_on;
  WaitUntil(GuestFinished() ? "GuestHalting" : "GuestStopping", deadline);
}

}  // namespace

std::string_view ActionName(Action::Kind kind) {
  switch (kind) {
    case Action::Kind::kCreateVm:
      return "CreateVm";
    case Action::Kind::kPowerOn:
      return "PowerOn";
    case Action::Kind::kAddImages:
      return "AddImages";
    case Action::Kind::kPushSpec:
      return "PushSpec";
    case Action::Kind::kAskStop:
      return "AskStop";
    case Action::Kind::kSaveLogs:
      return "SaveLogs";
    case Action::Kind::kHaltGuest:
      return "HaltGuest";
    case Action::Kind::kPowerOff:
      return "PowerOff";
    case Action::Kind::kDestroy:
      return "Destroy";
    case Action::Kind::kAnswerQuestion:
      return "AnswerQuestion";
  }
  return "";
}

Plan PlanVm(const PlanInputs& in, const PlanOptions& options) { return Planner(in, options).Run(); }

bool Sweepable(const vimtypes::VmRecord& vm) { return vm.reachable() && !vm.is_template && !vm.incomplete; }

}  // namespace vck::podvm
