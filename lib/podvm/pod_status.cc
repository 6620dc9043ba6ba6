#include "podvm/pod_status.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace vck::podvm {
namespace {

using kubeapi::Condition;
using kubeapi::ContainerView;
using kubeapi::PodPhase;
using kubeapi::PodView;
using kubeapi::RestartPolicy;
using Kind = kubeapi::ContainerView::Kind;
using State = ContainerStatus::State;

// k8s.io/kubernetes pkg/api/v1/pod ContainerShouldRestart.
bool Restarts(const PodView& pod, const ContainerView& c, int64_t exit_code) {
  const std::string_view own = json::String(c.json(), "restartPolicy");
  if (!own.empty()) {
    for (const json::Value& rule : json::Items(c.json(), "restartPolicyRules")) {
      if (json::String(rule, "action") != "Restart") continue;
      const json::Value* on = json::Get(rule, "exitCodes");
      bool named = false;
      for (const json::Value& code : json::Items(on, "values")) {
        named |= code.is_int64() && code.get_int64() == exit_code;
      }
      if (named != (json::String(on, "operator") == "NotIn")) return true;
    }
    if (own == "Always") return true;
    if (own == "OnFailure") return exit_code != 0;
    if (own == "Never") return false;
  }
  switch (pod.restart_policy()) {
    case RestartPolicy::kOnFailure:
      return exit_code != 0;
    case RestartPolicy::kNever:
      return false;
    case RestartPolicy::kAlways:
      break;
  }
  return true;
}

struct Counts {
  int pending_init = 0, pending_sidecars = 0, failed_init = 0;  // failed for good
  int running = 0, waiting = 0, stopped = 0, succeeded = 0;
  int restarting = 0;        // stopped, and not for good
  bool initialized = false;  // some main container has been started
};

void CountInit(const PodView& pod, const ContainerView& view, const ContainerStatus& c, Counts* n) {
  if (c.kind == Kind::kSidecar) {
    if (c.state == State::kRunning) {
      if (!c.started) ++n->pending_sidecars;
      ++n->running;
    } else if (c.state == State::kWaiting && !c.last) {
      ++n->pending_sidecars;
      ++n->waiting;
    }
    return;
  }
  const Terminated* ended = c.state == State::kTerminated          ? &c.terminated
                            : c.state == State::kWaiting && c.last ? &*c.last
                                                                   : nullptr;
  if (ended == nullptr) {
    ++n->pending_init;
  } else if (ended->exit_code != 0 && !Restarts(pod, view, ended->exit_code)) {
    ++n->failed_init;
  }
}

void CountMain(const PodView& pod, const ContainerView& view, const ContainerStatus& c, Counts* n) {
  switch (c.state) {
    case State::kRunning:
      ++n->running;
      break;
    case State::kTerminated:
      ++n->stopped;
      if (c.terminated.exit_code == 0) ++n->succeeded;
      if (Restarts(pod, view, c.terminated.exit_code)) ++n->restarting;
      break;
    case State::kWaiting:
      ++(c.last ? n->stopped : n->waiting);
      if (c.last && Restarts(pod, view, c.last->exit_code)) ++n->restarting;
      break;
  }
  n->initialized |= c.started || c.state != State::kWaiting || c.last.has_value();
}

// "containers with unready status: [a b]"
std::string Listing(std::string_view what, const std::vector<std::string_view>& names) {
  return absl::StrCat("containers with ", what, " status: [", absl::StrJoin(names, " "), "]");
}

Condition Made(std::string_view type, bool status, std::string_view reason = {}, std::string message = {}) {
  return {.type = std::string(type),
          .status = status ? "True" : "False",
          .reason = std::string(reason),
          .message = std::move(message)};
}

}  // namespace

bool AnyRunning(const PodStatus& status) {
  for (const auto* list : {&status.init, &status.main, &status.ephemeral}) {
    for (const ContainerStatus& c : *list) {
      if (c.state == State::kRunning) return true;
    }
  }
  return false;
}

PodPhase PhaseOf(const PodView& pod, const PodStatus& status, bool terminal) {
  Counts n;
  // The status has the pod's order.
  size_t init = 0, main = 0;
  pod.ForEachContainer([&](const ContainerView& view) {
    if (view.is_init() && init < status.init.size()) CountInit(pod, view, status.init[init++], &n);
    if (view.kind() == Kind::kMain && main < status.main.size()) CountMain(pod, view, status.main[main++], &n);
  });
  if (n.failed_init > 0) return PodPhase::kFailed;
  if (n.pending_init > 0 || (n.pending_sidecars > 0 && !n.initialized) || n.waiting > 0) return PodPhase::kPending;
  if (n.running > 0) return PodPhase::kRunning;
  if (n.stopped == 0) return PodPhase::kPending;
  const PodPhase ended = n.stopped == n.succeeded ? PodPhase::kSucceeded : PodPhase::kFailed;
  return terminal || n.restarting == 0 ? ended : PodPhase::kRunning;
}

Condition InitializedCondition(const PodStatus& status) {
  std::vector<std::string_view> incomplete;
  for (const ContainerStatus& c : status.init) {
    if (c.kind == Kind::kSidecar ? !c.started : !c.ready) incomplete.emplace_back(c.name);
  }
  if (status.phase == PodPhase::kSucceeded) return Made("Initialized", true, "PodCompleted");
  const bool has_started = std::any_of(status.main.begin(), status.main.end(), [](const ContainerStatus& c) {
    return c.started || c.state != State::kWaiting || c.last.has_value();
  });
  // What failed or was lost after the main containers had been started does not undo the initialization.
  if (incomplete.empty() || (has_started && !kubeapi::IsTerminal(status.phase))) return Made("Initialized", true);
  return Made("Initialized", false, "ContainersNotInitialized", Listing("incomplete", incomplete));
}

Condition ContainersReadyCondition(const PodStatus& status) {
  constexpr std::string_view kType = "ContainersReady";
  if (status.phase == PodPhase::kSucceeded) return Made(kType, false, "PodCompleted");
  if (status.phase == PodPhase::kFailed) return Made(kType, false, "PodFailed");
  if (status.main.empty()) return Made(kType, false, "UnknownContainerStatuses");
  std::vector<std::string_view> unready;
  for (const ContainerStatus& c : status.init) {
    if (c.kind == Kind::kSidecar && !c.ready) unready.emplace_back(c.name);
  }
  for (const ContainerStatus& c : status.main) {
    if (!c.ready) unready.emplace_back(c.name);
  }
  if (unready.empty()) return Made(kType, true);
  return Made(kType, false, "ContainersNotReady", Listing("unready", unready));
}

Condition ReadyCondition(const PodView& pod, const Condition& containers_ready) {
  if (containers_ready.status != "True") return Made("Ready", false, containers_ready.reason, containers_ready.message);
  std::vector<std::string> problems;
  for (const json::Value& gate : pod.readiness_gates()) {
    const std::string_view type = json::String(gate, "conditionType");
    const json::Value* condition = pod.Condition(type);
    if (condition == nullptr) {
      problems.push_back(absl::StrCat("corresponding condition of pod readiness gate \"", type, "\" does not exist."));
    } else if (json::String(condition, "status") != "True") {
      problems.push_back(absl::StrCat("the status of pod readiness gate \"", type, "\" is not \"True\", but ",
                                      json::String(condition, "status")));
    }
  }
  if (problems.empty()) return Made("Ready", true);
  return Made("Ready", false, "ReadinessGatesNotReady", absl::StrJoin(problems, ", "));
}

}  // namespace vck::podvm
