#include "tether/lifecycle.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace vck::tether {

using guestapi::ContainerSpec;
using guestapi::ContainerState;
using guestapi::GuestSpec;
using guestapi::GuestState;
using guestapi::RestartPolicy;
using guestapi::Termination;
using Kind = ContainerSpec::Kind;

Lifecycle::Lifecycle(std::string boot_id, std::function<std::string()> new_id)
    : boot_id_(std::move(boot_id)), new_id_(std::move(new_id)) {}

std::vector<Action> Lifecycle::Step(const Event& event, Stamp now) {
  std::visit([&](const auto& e) { On(e, now); }, event);
  Drive(now);
  if (std::exchange(changed_, false)) ++sequence_;
  return std::exchange(actions_, {});
}

void Lifecycle::On(const Apply& event, Stamp now) {
  const GuestSpec& next = *event.spec;
  if (spec_ != nullptr && (next.pod_uid != spec_->pod_uid || next.revision <= spec_->revision)) return;
  if (spec_ == nullptr) begun_ = now.mono;
  spec_ = event.spec;
  std::vector<Container> before = std::exchange(containers_, {});
  for (const ContainerSpec& wanted : next.containers) {
    auto same =
        std::find_if(before.begin(), before.end(), [&](const Container& c) { return c.spec.name == wanted.name; });
    if (same == before.end()) {
      containers_.emplace_back();
    } else {
      containers_.push_back(std::move(*same));
      before.erase(same);
    }
    containers_.back().spec = wanted;
  }
  // A pod loses no containers; one that runs would not be forgotten.
  for (Container& left : before) {
    if (left.alive()) containers_.push_back(std::move(left));
  }
  Changed();
}

void Lifecycle::On(const Stop& event, Stamp now) {
  if (!stopping_) Changed();
  stopping_ = true;
  BeginEnd(now.mono + absl::Seconds(event.request.grace_seconds));
  if (event.request.grace_seconds <= 0) no_grace_ = true;
}

// The end may come nearer, never go farther away.
void Lifecycle::BeginEnd(Instant kill_at) {
  if (!ending_) Changed();
  ending_ = true;
  kill_at_ = std::min(kill_at_, kill_at);
  for (Container& container : containers_) container.retry_at = Instant::Never();
}

Lifecycle::Container* Lifecycle::Find(const std::string& run_id) {
  for (Container& container : containers_) {
    if (container.running_id(run_id)) return &container;
  }
  return nullptr;
}

void Lifecycle::MarkRunning(Container* container, Stamp now) {
  if (!container->run.id.empty()) {
    container->last = std::move(container->run);
    ++container->restart_count;
  }
  container->run = Termination{.id = std::exchange(container->starting_id, ""), .started_at = now.wall};
  container->error.clear();
  container->error_text.clear();
  container->phase = Phase::kRunning;
  container->was_started = container->was_started || container->started();
}

void Lifecycle::On(const Started& event, Stamp now) {
  Container* container = Find(event.run_id);
  if (container == nullptr || container->phase != Phase::kStarting) return;
  MarkRunning(container, now);
  Changed();
}

void Lifecycle::On(const StartFailed& event, Stamp now) {
  Container* container = Find(event.run_id);
  if (container == nullptr || container->phase != Phase::kStarting) return;
  container->phase = container->run.id.empty() ? Phase::kPending : Phase::kExited;
  container->starting_id.clear();
  container->error = event.reason;
  container->error_text = event.message;
  container->ended = now.mono;
  Changed();
}

void Lifecycle::On(const Exited& event, Stamp now) {
  Container* container = Find(event.run_id);
  if (container == nullptr) return;
  if (container->phase == Phase::kStarting) MarkRunning(container, now);
  container->phase = Phase::kExited;
  container->run.exit_code = event.exit_code;
  container->run.signal = event.signal;
  container->run.message = event.message;
  container->run.finished_at = now.wall;
  container->run.reason = !event.reason.empty() ? event.reason : event.exit_code == 0 ? "Completed" : "Error";
  container->ended = now.mono;
  Changed();
}

void Lifecycle::Drive(Stamp now) {
  if (spec_ != nullptr && !ending_) {
    if (spec_->active_deadline_seconds && now.mono >= begun_ + absl::Seconds(*spec_->active_deadline_seconds)) {
      deadline_exceeded_ = true;
      BeginEnd(now.mono + absl::Seconds(spec_->grace_seconds));
    } else if (DriveInit(now)) {
      DriveMains(now);
    }
    for (Container& container : containers_) {
      bool new_ephemeral = container.spec.kind == Kind::kEphemeral && container.run.id.empty() && !container.alive();
      if (!ending_ && new_ephemeral) StartOrWait(&container, now);
    }
  }
  if (ending_) DriveEnd(now);
}

bool Lifecycle::DriveInit(Stamp now) {
  for (Container& container : containers_) {
    if (container.spec.kind == Kind::kSidecar) {
      if (!container.alive()) StartOrWait(&container, now);
      if (!container.was_started) return false;
    } else if (container.spec.kind == Kind::kInit) {
      if (container.phase == Phase::kExited && container.run.exit_code == 0) continue;
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

bool Lifecycle::DoneForGood(const Container& container) const {
  if (container.phase != Phase::kExited) return false;
  // A start that failed is repeated whatever the policy says: nothing has run.
  if (!container.error.empty()) return false;
  RestartPolicy policy = spec_->restart_policy;
  switch (container.spec.kind) {
    case Kind::kEphemeral:
      return true;
    case Kind::kSidecar:
      return false;
    case Kind::kInit:
      return container.run.exit_code == 0 || policy == RestartPolicy::kNever;
    case Kind::kMain:
      return policy == RestartPolicy::kNever || (policy == RestartPolicy::kOnFailure && container.run.exit_code == 0);
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

void Lifecycle::StartOrWait(Container* container, Stamp now) {
  bool before = !container->run.id.empty() || !container->error.empty();
  if (!before) return Start(container, now);
  bool forgotten = container->ended - container->backoff_set > kBackoffForget;
  if (container->backoff > absl::ZeroDuration() && !forgotten && now.mono < container->ended + container->backoff) {
    if (container->retry_at == Instant::Never()) Changed();
    container->retry_at = container->ended + container->backoff;
    return;
  }
  bool first = container->backoff == absl::ZeroDuration() || forgotten;
  container->backoff = first ? kBackoffInitial : std::min(container->backoff * 2, kBackoffMax);
  container->backoff_set = now.mono;
  Start(container, now);
}

void Lifecycle::Start(Container* container, Stamp now) {
  if (container->retry_at != Instant::Never()) Changed();
  container->retry_at = Instant::Never();
  container->phase = Phase::kStarting;
  container->starting_id = new_id_();
  actions_.emplace_back(StartContainer{
      .run_id = container->starting_id,
      .attempt = container->run.id.empty() ? container->restart_count : container->restart_count + 1,
      .spec = container->spec,
  });
}

void Lifecycle::Signal(Container* container, bool kill) {
  const std::string& id = container->phase == Phase::kStarting ? container->starting_id : container->run.id;
  if (kill) {
    actions_.emplace_back(KillContainer{id});
  } else {
    actions_.emplace_back(StopContainer{id});
  }
}

void Lifecycle::Terminate(Container* container, Stamp now, absl::Duration least) {
  if (container->kill_sent) return;
  if (!container->term_sent) container->term_at = now.mono;
  container->kill_at = no_grace_ ? kill_at_ : std::max(kill_at_, container->term_at + least);
  if (now.mono >= container->kill_at) {
    container->kill_sent = true;
    Signal(container, true);
  } else if (!std::exchange(container->term_sent, true)) {
    Signal(container, false);
  }
}

void Lifecycle::DriveEnd(Stamp now) {
  bool others_alive = false;
  for (Container& container : containers_) {
    if (container.spec.kind == Kind::kSidecar || !container.alive()) continue;
    others_alive = true;
    Terminate(&container, now, absl::ZeroDuration());
  }
  if (others_alive) return;
  auto last = std::find_if(containers_.rbegin(), containers_.rend(), [](const Container& c) { return c.alive(); });
  // The next one's turn comes when this one has ended.
  if (last != containers_.rend()) return Terminate(&*last, now, kSidecarMinGrace);
  if (!std::exchange(finished_, true)) Changed();
}

Instant Lifecycle::deadline() const {
  Instant next = Instant::Never();
  for (const Container& container : containers_) {
    next = std::min(next, container.retry_at);
    if (ending_ && container.alive() && container.term_sent && !container.kill_sent)
      next = std::min(next, container.kill_at);
  }
  if (spec_ != nullptr && !ending_ && spec_->active_deadline_seconds) {
    next = std::min(next, begun_ + absl::Seconds(*spec_->active_deadline_seconds));
  }
  return next;
}

ContainerState Lifecycle::View(const Container& container) const {
  ContainerState out;
  out.name = container.spec.name;
  out.image_id = container.spec.image_id;
  out.restart_count = container.restart_count;
  out.id = container.run.id;
  out.last = container.last;
  if (container.phase == Phase::kRunning) {
    out.phase = ContainerState::Phase::kRunning;
    out.started_at = container.run.started_at;
    out.started = container.started();
    out.ready = out.started && !container.spec.readiness.has_value();
    return out;
  }
  bool has_run = !container.run.id.empty();
  bool in_backoff = container.retry_at != Instant::Never();
  if (has_run && !in_backoff && (container.error.empty() || ending_)) {
    out.phase = ContainerState::Phase::kTerminated;
    out.reason = container.run.reason;
    out.message = container.run.message;
    out.exit_code = container.run.exit_code;
    out.signal = container.run.signal;
    out.started_at = container.run.started_at;
    out.finished_at = container.run.finished_at;
    out.ready = container.spec.kind == Kind::kInit && container.run.exit_code == 0;
    return out;
  }
  out.phase = ContainerState::Phase::kWaiting;
  if (has_run) out.last = container.run;
  if (!container.error.empty()) {
    out.reason = container.error;
    out.message = container.error_text;
  } else if (in_backoff) {
    out.reason = "CrashLoopBackOff";
    out.message = absl::StrCat("back-off ", absl::FormatDuration(container.backoff),
                               " restarting failed container=", container.spec.name, " pod=", spec_->pod_name, "_",
                               spec_->pod_namespace, "(", spec_->pod_uid, ")");
  } else {
    bool has_init = std::any_of(containers_.begin(), containers_.end(), [](const Container& c) {
      return c.spec.kind == Kind::kInit || c.spec.kind == Kind::kSidecar;
    });
    out.reason = has_init ? "PodInitializing" : "ContainerCreating";
  }
  return out;
}

GuestState Lifecycle::Snapshot(Stamp now) const {
  GuestState out;
  out.boot_id = boot_id_;
  out.sequence = sequence_;
  if (spec_ != nullptr) {
    out.pod_uid = spec_->pod_uid;
    out.spec_revision = spec_->revision;
    out.generation = spec_->generation;
  }
  out.guest_now = now.wall;
  out.stopping = stopping_;
  out.deadline_exceeded = deadline_exceeded_;
  out.finished = finished_;
  out.containers.reserve(containers_.size());
  for (const Container& container : containers_) out.containers.push_back(View(container));
  return out;
}

}  // namespace vck::tether
