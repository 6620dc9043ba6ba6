#include "tether/lifecycle.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace vck::tether {

using guestapi::ContainerSpec;
using guestapi::ContainerState;
using guestapi::GuestSpec;
using guestapi::RestartPolicy;
using guestapi::Termination;
using Kind = ContainerSpec::Kind;

namespace {

constexpr std::string_view kLost = "The container was lost: its guest was restarted while it was running";
constexpr std::string_view kConfigError = "CreateContainerConfigError";

}  // namespace

Lifecycle::Lifecycle(std::string boot_id, std::function<std::string()> new_id, Capacity capacity)
    : boot_id_(std::move(boot_id)), first_boot_(boot_id_), new_id_(std::move(new_id)), capacity_(capacity) {}

const std::optional<guestapi::Probe>& Lifecycle::Container::probe(ProbeKind kind) const {
  switch (kind) {
    case ProbeKind::kStartup:
      return spec.startup;
    case ProbeKind::kLiveness:
      return spec.liveness;
    case ProbeKind::kReadiness:
      break;
  }
  return spec.readiness;
}

ProbeWorker& Lifecycle::Container::worker(ProbeKind kind) {
  return kind == ProbeKind::kStartup ? startup : kind == ProbeKind::kLiveness ? liveness : readiness;
}

std::vector<Action> Lifecycle::Step(const Event& event, Stamp now) {
  std::visit([&](const auto& e) { On(e, now); }, event);
  Drive(now);
  if (std::exchange(changed_, false)) ++sequence_;
  if (std::exchange(lasting_, false)) ++journal_version_;
  return std::exchange(actions_, {});
}

void Lifecycle::Restore(Journal journal, Stamp now) {
  first_boot_ = journal.state.history();
  begun_ = now.mono - std::max(absl::ZeroDuration(), now.wall - journal.begun);
  stopping_ = journal.state.stopping;
  deadline_exceeded_ = journal.state.deadline_exceeded;
  evicted_ = journal.state.evicted;
  finished_ = journal.state.finished;
  ending_ = journal.ending || stopping_ || finished_;
  spec_ = std::make_shared<const GuestSpec>(std::move(journal.spec));
  restored_ = true;
  bool any_run = false;
  for (const ContainerSpec& wanted : spec_->containers) {
    Container& container = containers_.emplace_back();
    container.spec = wanted;
    auto& had = journal.state.containers;
    auto known = std::find_if(had.begin(), had.end(), [&](const ContainerState& c) { return c.name == wanted.name; });
    if (known == had.end() || known->id.empty()) continue;
    any_run = true;
    container.phase = Phase::kExited;
    container.restart_count = known->restart_count;
    container.last = std::move(known->last);
    container.run = {.id = known->id,
                     .reason = known->reason,
                     .message = known->message,
                     .exit_code = known->exit_code,
                     .signal = known->signal,
                     .started_at = known->started_at,
                     .finished_at = known->finished_at};
    if (known->phase == ContainerState::Phase::kTerminated) continue;
    container.run.exit_code = 137;
    container.run.reason = "ContainerStatusUnknown";
    container.run.message = kLost;
  }
  ++journal_version_;
  if (ending_ || !any_run) return;
  // A pod that is never restarted is over, and so is one whose containers have all done their work.
  const bool never = spec_->restart_policy == RestartPolicy::kNever;
  const bool done = std::all_of(containers_.begin(), containers_.end(),
                                [this](const Container& c) { return c.spec.kind != Kind::kMain || DoneForGood(c); });
  if (never || done) {
    ending_ = true;
    return;
  }
  for (Container& container : containers_) {
    container.rerun = container.spec.kind == Kind::kInit && container.phase == Phase::kExited;
  }
  Tell("", false, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", now);
}

void Lifecycle::On(const Apply& event, Stamp now) {
  const GuestSpec& next = *event.spec;
  if (spec_ != nullptr && (next.pod_uid != spec_->pod_uid || (!restored_ && next.revision <= spec_->revision))) return;
  if (next.start_time != absl::InfinitePast()) {
    begun_ = now.mono - std::max(absl::ZeroDuration(), now.wall - next.start_time);
  } else if (spec_ == nullptr) {
    begun_ = now.mono;
  }
  spec_ = event.spec;
  restored_ = false;
  std::string infeasible = WhyInfeasible(next);
  if (!infeasible.empty() && infeasible != resize_infeasible_) {
    Tell("", true, "ResizeInfeasible", absl::StrCat("Pod resize Infeasible: ", infeasible), now);
  }
  resize_infeasible_ = std::move(infeasible);
  std::vector<Container> before = std::exchange(containers_, {});
  for (const ContainerSpec& wanted : next.containers) {
    auto same =
        std::find_if(before.begin(), before.end(), [&](const Container& c) { return c.spec.name == wanted.name; });
    if (same == before.end()) {
      containers_.emplace_back().spec = wanted;
      continue;
    }
    Container& container = containers_.emplace_back(std::move(*same));
    before.erase(same);
    const guestapi::Resources had = container.spec.resources();
    container.spec = wanted;
    if (!resize_infeasible_.empty()) container.spec.set_resources(had);
    container.resize_at = now.mono;
    // What stood in the way of a start may be gone.
    container.error_until = now.mono;
    const bool restartable = wanted.kind == Kind::kMain || wanted.kind == Kind::kSidecar;
    // One that could not be started again is left alone.
    if (!restartable || container.run_image == wanted.image || !wanted.config_error.empty()) continue;
    container.backoff = absl::ZeroDuration();
    container.retry_at = Instant::Never();
    if (!container.alive() || ending_ || wanted.awaits_image) continue;
    container.again = true;
    Kill(&container, now.mono + absl::Seconds(spec_->grace_seconds),
         absl::StrCat("Container ", wanted.name, " definition changed, will be restarted"), now);
  }
  // A pod loses no containers; one that runs would not be forgotten.
  for (Container& left : before) {
    if (left.alive()) containers_.push_back(std::move(left));
  }
  Lasting();
}

void Lifecycle::On(const Stop& event, Stamp now) {
  if (!stopping_) Lasting();
  stopping_ = true;
  BeginEnd(now.mono + absl::Seconds(event.request.grace_seconds));
  if (event.request.grace_seconds <= 0) no_grace_ = true;
}

// The end may come nearer, never go farther away.
void Lifecycle::BeginEnd(Instant kill_at) {
  if (!ending_) Lasting();
  ending_ = true;
  kill_at_ = std::min(kill_at_, kill_at);
  for (Container& container : containers_) container.retry_at = Instant::Never();
}

Lifecycle::Container* Lifecycle::Find(const std::string& run_id) {
  for (Container& container : containers_) {
    if (container.alive() && container.alive_id() == run_id) return &container;
  }
  return nullptr;
}

Lifecycle::Container* Lifecycle::FindRunning(const std::string& run_id) {
  Container* container = Find(run_id);
  return container != nullptr && container->phase == Phase::kRunning ? container : nullptr;
}

std::string Lifecycle::PodName() const {
  return absl::StrCat(spec_->pod_name, "_", spec_->pod_namespace, "(", spec_->pod_uid, ")");
}

void Lifecycle::Tell(const std::string& container, bool warning, std::string_view reason, std::string message,
                     Stamp now) {
  const bool tell = events_.Add({.warning = warning,
                                 .container = container,
                                 .reason = std::string(reason),
                                 .message = std::move(message),
                                 .at = now.wall});
  if (tell) Changed();
}

// The process is there; the container counts as running once its postStart hook has succeeded.
void Lifecycle::MarkStarted(Container* container, Stamp now) {
  container->starting_at = now.wall;
  container->started_mono = now.mono;
  container->phase = Phase::kHook;
  Tell(container->spec.name, false, "Created", "Container created", now);
  Tell(container->spec.name, false, "Started", "Container started", now);
  Lasting();
}

void Lifecycle::MarkRunning(Container* container) {
  if (!container->run.id.empty()) {
    container->last = std::move(container->run);
    ++container->restart_count;
  }
  container->run = Termination{.id = std::exchange(container->starting_id, ""), .started_at = container->starting_at};
  container->error.clear();
  container->error_text.clear();
  container->phase = Phase::kRunning;
  container->rerun = false;
  for (ProbeKind kind : {ProbeKind::kStartup, ProbeKind::kLiveness, ProbeKind::kReadiness}) {
    const auto& probe = container->probe(kind);
    container->worker(kind) = probe ? ProbeWorker(kind, *probe, container->started_mono) : ProbeWorker();
  }
  container->was_started = container->was_started || container->started();
  Lasting();
}

void Lifecycle::MarkExited(Container* container, Stamp now) {
  container->phase = Phase::kExited;
  container->run.finished_at = now.wall;
  container->ended = now.mono;
  const ContainerSpec& spec = container->spec;
  if (spec.startup || spec.liveness || spec.readiness || spec.post_start || spec.pre_stop) {
    actions_.emplace_back(EndHandlers{container->run.id});
  }
  Lasting();
}

void Lifecycle::On(const Started& event, Stamp now) {
  Container* container = Find(event.run_id);
  if (container == nullptr || container->phase != Phase::kStarting) return;
  MarkStarted(container, now);
  if (!container->spec.post_start) return MarkRunning(container);
  actions_.emplace_back(RunHook{.run_id = container->starting_id,
                                .kind = HookKind::kPostStart,
                                .handler = *container->spec.post_start,
                                .timeout = absl::InfiniteDuration()});
}

void Lifecycle::On(const StartFailed& event, Stamp now) {
  Container* container = Find(event.run_id);
  if (container == nullptr || container->phase != Phase::kStarting) return;
  const std::string& name = container->spec.name;
  if (event.reason == kStartError) {
    container->starting_at = absl::InfinitePast();
    Tell(name, false, "Created", "Container created", now);
    MarkRunning(container);
    container->run.exit_code = 128;
    container->run.reason = kStartError;
    container->run.message = event.message;
    MarkExited(container, now);
  } else {
    container->phase = container->run.id.empty() ? Phase::kPending : Phase::kExited;
    container->starting_id.clear();
    container->error = event.reason;
    container->error_text = event.message;
    container->error_until = now.mono + kStartRetry;
    Lasting();
  }
  Tell(name, true, "Failed", absl::StrCat("Error: ", event.message), now);
}

void Lifecycle::On(const Exited& event, Stamp now) {
  Container* container = Find(event.run_id);
  if (container == nullptr) return;
  if (container->phase == Phase::kStarting) MarkStarted(container, now);
  if (container->phase == Phase::kHook) MarkRunning(container);
  container->run.exit_code = event.exit_code;
  container->run.signal = event.signal;
  container->run.message = event.message;
  container->run.reason = !event.reason.empty() ? event.reason : event.exit_code == 0 ? "Completed" : "Error";
  MarkExited(container, now);
}

void Lifecycle::On(const ProbeDone& event, Stamp now) {
  using Outcome = HandlerResult::Outcome;
  Container* container = FindRunning(event.run_id);
  if (container == nullptr) return;
  ProbeWorker& worker = container->worker(event.kind);
  const auto& probe = container->probe(event.kind);
  if (!worker.waiting() || !probe) return;
  const HandlerResult& result = event.result;
  const bool leaving = ending_ || container->end.begun;
  // Of what is being stopped, nobody wants to hear that it is not well.
  const bool tell = !leaving || event.kind == ProbeKind::kReadiness;
  const std::string_view name = ProbeName(event.kind);
  const auto warn = [&](std::string_view reason, std::string_view what) {
    if (tell) Tell(container->spec.name, true, reason, absl::StrCat(name, " probe ", what, result.output), now);
  };
  switch (result.outcome) {
    case Outcome::kSuccess:
      break;
    case Outcome::kWarning:
      warn("ProbeWarning", "warning: ");
      break;
    case Outcome::kFailure:
      warn("Unhealthy", "failed: ");
      break;
    case Outcome::kError:
      warn("Unhealthy", "errored and resulted in unknown state: ");
      return worker.Errored(now.mono);
  }
  if (!worker.Done(*probe, result.outcome != Outcome::kFailure, now.mono)) return;
  Changed();
  container->was_started = container->was_started || container->started();
  if (event.kind != ProbeKind::kReadiness && worker.failed() && !leaving) KillByProbe(container, event.kind, now);
}

void Lifecycle::On(const HookDone& event, Stamp now) {
  Container* container = Find(event.run_id);
  if (container == nullptr) return;
  using Outcome = HandlerResult::Outcome;
  const bool failed = event.result.outcome == Outcome::kFailure || event.result.outcome == Outcome::kError;
  if (event.kind == HookKind::kPreStop) {
    if (!std::exchange(container->end.hook, false)) return;
    if (failed) Tell(container->spec.name, true, "FailedPreStopHook", "PreStopHook failed", now);
    return;
  }
  if (container->phase != Phase::kHook) return;
  if (!failed) return MarkRunning(container);
  if (container->end.begun) return;
  // What the hook said may be confidential: the kubelet keeps it out of events, too.
  Tell(container->spec.name, true, "FailedPostStartHook", "PostStartHook failed", now);
  Kill(container, now.mono + absl::Seconds(spec_->grace_seconds), "FailedPostStartHook", now);
}

void Lifecycle::Drive(Stamp now) {
  deadline_ = Instant::Never();
  if (spec_ != nullptr && !ending_) {
    const Instant limit =
        spec_->active_deadline_seconds ? begun_ + absl::Seconds(*spec_->active_deadline_seconds) : Instant::Never();
    if (now.mono >= limit) {
      deadline_exceeded_ = true;
      Tell("", false, "DeadlineExceeded", "Pod was active on the node longer than the specified deadline", now);
      BeginEnd(now.mono + absl::Seconds(spec_->grace_seconds));
    } else {
      WakeAt(limit);
      if (DriveInit(now)) DriveMains(now);
    }
  }
  for (Container& container : containers_) {
    if (ending_) break;
    const bool is_new = container.spec.kind == Kind::kEphemeral && container.run.id.empty() && !container.alive();
    if (is_new) StartOrWait(&container, now);
    DriveResize(&container, now);
    if (container.alive() && container.end.begun) Proceed(&container, true, now);
  }
  if (ending_) DriveEnd(now);
  for (Container& container : containers_) DriveProbes(&container, now);
}

bool Lifecycle::DriveInit(Stamp now) {
  for (Container& container : containers_) {
    if (container.spec.kind == Kind::kSidecar) {
      if (!container.alive()) StartOrWait(&container, now);
      if (!container.was_started) return false;
    } else if (container.spec.kind == Kind::kInit) {
      if (container.phase == Phase::kExited && container.run.exit_code == 0 && !container.rerun) continue;
      if (container.alive()) return false;
      if (DoneForGood(container)) {
        // The pod has failed: what runs beside it is stopped.
        BeginEnd(now.mono + absl::Seconds(spec_->grace_seconds));
        return false;
      }
      StartOrWait(&container, now);
      return false;
    }
  }
  return true;
}

RestartPolicy Lifecycle::PolicyOf(const Container& container) const {
  if (container.spec.kind == Kind::kSidecar) return RestartPolicy::kAlways;
  if (container.spec.kind == Kind::kEphemeral) return RestartPolicy::kNever;
  return container.spec.restart_policy.value_or(spec_->restart_policy);
}

bool Lifecycle::DoneForGood(const Container& container) const {
  if (container.phase != Phase::kExited || container.again || container.rerun) return false;
  // A start that failed is repeated whatever the policy says: nothing has run.
  if (!container.error.empty()) return false;
  if (container.spec.kind == Kind::kInit && container.run.exit_code == 0) return true;
  const int code = container.run.exit_code;
  for (const guestapi::RestartRule& rule : container.spec.restart_rules) {
    const bool named = std::find(rule.exit_codes.begin(), rule.exit_codes.end(), code) != rule.exit_codes.end();
    if (named != rule.negated && container.spec.kind != Kind::kEphemeral) return false;
  }
  switch (PolicyOf(container)) {
    case RestartPolicy::kAlways:
      return false;
    case RestartPolicy::kOnFailure:
      return container.run.exit_code == 0;
    case RestartPolicy::kNever:
      break;
  }
  return true;
}

void Lifecycle::DriveMains(Stamp now) {
  bool all_done = true;
  for (Container& container : containers_) {
    if (container.spec.kind != Kind::kMain || DoneForGood(container)) continue;
    all_done = false;
    if (!container.alive()) StartOrWait(&container, now);
  }
  if (all_done) BeginEnd(now.mono + absl::Seconds(spec_->grace_seconds));
}

bool Lifecycle::Blocked(const Container& container) const {
  if (container.spec.kind == Kind::kEphemeral) return false;
  return std::any_of(containers_.begin(), containers_.end(), [](const Container& c) {
    return c.spec.kind != Kind::kEphemeral && (c.phase == Phase::kStarting || c.phase == Phase::kHook);
  });
}

bool Lifecycle::Withheld(const Container& container) const {
  return container.spec.awaits_image || (restored_ && NeedsSecrets(*spec_, container.spec));
}

void Lifecycle::StartOrWait(Container* container, Stamp now) {
  if (Withheld(*container)) return;
  if (const std::string& why = container->spec.config_error; !why.empty()) {
    if (container->error == kConfigError && container->error_text == why) return;
    container->error = kConfigError;
    container->error_text = why;
    Tell(container->spec.name, true, "Failed", absl::StrCat("Error: ", why), now);
    return Changed();
  }
  if (!container->error.empty() && now.mono < container->error_until) return WakeAt(container->error_until);
  if (container->run.id.empty()) {
    if (!Blocked(*container)) Start(container, now);
    return;
  }
  const bool forgotten = container->ended - container->backoff_set > kBackoffForget;
  const bool first = container->backoff == absl::ZeroDuration() || forgotten;
  if (!first && now.mono < container->ended + container->backoff) {
    if (container->retry_at == Instant::Never()) {
      Tell(container->spec.name, true, "BackOff",
           absl::StrCat("Back-off restarting failed container ", container->spec.name, " in pod ", PodName()), now);
      Changed();
    }
    container->retry_at = container->ended + container->backoff;
    return WakeAt(container->retry_at);
  }
  if (Blocked(*container)) return;
  container->backoff = first ? kBackoffInitial : std::min(container->backoff * 2, kBackoffMax);
  container->backoff_set = now.mono;
  Start(container, now);
}

void Lifecycle::Start(Container* container, Stamp /*now*/) {
  container->retry_at = Instant::Never();
  container->phase = Phase::kStarting;
  container->starting_id = new_id_();
  container->run_image = container->spec.image;
  container->again = false;
  container->end = {};
  container->resources = container->spec.resources();
  container->resizing = false;
  container->resize_error.clear();
  Lasting();
  actions_.emplace_back(StartContainer{
      .run_id = container->starting_id,
      .attempt = container->run.id.empty() ? container->restart_count : container->restart_count + 1,
      .spec = container->spec,
  });
}

void Lifecycle::DriveProbes(Container* container, Stamp now) {
  if (container->phase != Phase::kRunning) return;
  const auto drive = [&](ProbeKind kind) {
    const auto& probe = container->probe(kind);
    if (!probe) return;
    ProbeWorker& worker = container->worker(kind);
    if (worker.Due(now.mono)) {
      worker.Launched(*probe, now.mono);
      actions_.emplace_back(RunProbe{.run_id = container->run.id,
                                     .kind = kind,
                                     .handler = probe->handler,
                                     .timeout = absl::Seconds(probe->timeout)});
    }
    WakeAt(worker.next());
  };
  const bool leaving = ending_ || container->end.begun;
  if (!container->started()) {
    if (!leaving) drive(ProbeKind::kStartup);
    return;
  }
  if (!leaving) drive(ProbeKind::kLiveness);
  // Goes on while a container is stopped: whoever sends it requests until then wants to know.
  drive(ProbeKind::kReadiness);
}

}  // namespace vck::tether
