// What of the lifecycle is told: to the kubelet, and to the journal.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tether/lifecycle.h"

namespace vck::tether {

using guestapi::ContainerSpec;
using guestapi::ContainerState;
using guestapi::GuestState;
using Kind = ContainerSpec::Kind;

namespace {

void ShowRun(const guestapi::Termination& run, ContainerState* out) {
  out->id = run.id;
  out->reason = run.reason;
  out->message = run.message;
  out->exit_code = run.exit_code;
  out->signal = run.signal;
  out->started_at = run.started_at;
  out->finished_at = run.finished_at;
}

}  // namespace

bool Lifecycle::HasInit() const {
  return std::any_of(containers_.begin(), containers_.end(),
                     [](const Container& c) { return c.spec.kind == Kind::kInit || c.spec.kind == Kind::kSidecar; });
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
    out.ready = container.ready();
    out.resources = container.resources;
    return out;
  }
  const bool has_run = !container.run.id.empty();
  const bool in_backoff = container.retry_at != Instant::Never();
  const bool withheld = !ending_ && Withheld(container) && !DoneForGood(container);
  const bool has_error = !ending_ && !container.error.empty();
  const bool rerun = !ending_ && container.rerun;
  if (has_run && container.phase != Phase::kHook && !in_backoff && !withheld && !has_error && !rerun) {
    out.phase = ContainerState::Phase::kTerminated;
    ShowRun(container.run, &out);
    out.ready = container.spec.kind == Kind::kInit && container.run.exit_code == 0;
    return out;
  }
  out.phase = ContainerState::Phase::kWaiting;
  if (has_run) out.last = container.run;
  const bool awaits_image = container.spec.awaits_image;
  if (!container.error.empty() && !awaits_image) {
    out.reason = container.error;
    out.message = container.error_text;
  } else if (in_backoff) {
    out.reason = "CrashLoopBackOff";
    out.message = absl::StrCat("back-off ", absl::FormatDuration(container.backoff),
                               " restarting failed container=", container.spec.name, " pod=", PodName());
  } else {
    out.reason = HasInit() ? "PodInitializing" : "ContainerCreating";
    if (withheld && !awaits_image)
      out.message = "waiting for the kubelet: files and secrets are not kept across a reboot of the guest";
  }
  return out;
}

bool Lifecycle::Waits(std::string_view container) const {
  return std::any_of(containers_.begin(), containers_.end(), [&](const Container& c) {
    return c.spec.name == container && View(c).phase == ContainerState::Phase::kWaiting;
  });
}

GuestState Lifecycle::Snapshot(Stamp now) const {
  GuestState out;
  out.boot_id = boot_id_;
  out.first_boot = first_boot_;
  out.sequence = sequence_;
  if (spec_ != nullptr) {
    out.pod_uid = spec_->pod_uid;
    // A spec without its files is not what the kubelet wants to be applied.
    out.spec_revision = restored_ ? 0 : spec_->revision;
    out.generation = spec_->generation;
  }
  out.guest_now = now.wall;
  out.stopping = stopping_;
  out.deadline_exceeded = deadline_exceeded_;
  out.evicted = evicted_;
  out.resize_infeasible = resize_infeasible_;
  for (const Container& container : containers_) {
    if (container.alive() && out.resize_error.empty()) out.resize_error = container.resize_error;
  }
  out.finished = finished_;
  out.containers.reserve(containers_.size());
  for (const Container& container : containers_) out.containers.push_back(View(container));
  out.events = events_.events();
  return out;
}

// Only what has run counts; a run that may be under way is `running`.
ContainerState Lifecycle::JournalView(const Container& container) const {
  ContainerState out;
  out.name = container.spec.name;
  out.restart_count = container.restart_count;
  out.last = container.last;
  if (container.phase == Phase::kStarting || container.phase == Phase::kHook) {
    out.phase = ContainerState::Phase::kRunning;
    out.id = container.starting_id;
    if (container.phase == Phase::kHook) out.started_at = container.starting_at;
    if (!container.run.id.empty()) {
      out.last = container.run;
      ++out.restart_count;
    }
  } else if (!container.run.id.empty()) {
    ShowRun(container.run, &out);
    const bool running = container.phase == Phase::kRunning;
    out.phase = running ? ContainerState::Phase::kRunning : ContainerState::Phase::kTerminated;
  }
  return out;
}

Journal Lifecycle::ToJournal(Stamp now) const {
  Journal out;
  if (spec_ != nullptr) out.spec = WithoutSecrets(*spec_);
  // What did not fit is not to be started with after a reboot either.
  for (ContainerSpec& spec : out.spec.containers) {
    auto same = std::find_if(containers_.begin(), containers_.end(),
                             [&](const Container& c) { return c.spec.name == spec.name; });
    if (same != containers_.end()) spec.set_resources(same->spec.resources());
  }
  out.begun = now.wall - (now.mono - begun_);
  out.ending = ending_;
  out.state.boot_id = boot_id_;
  out.state.first_boot = first_boot_;
  out.state.sequence = sequence_;
  out.state.pod_uid = out.spec.pod_uid;
  out.state.guest_now = now.wall;
  out.state.stopping = stopping_;
  out.state.deadline_exceeded = deadline_exceeded_;
  out.state.evicted = evicted_;
  out.state.finished = finished_;
  for (const Container& container : containers_) out.state.containers.push_back(JournalView(container));
  return out;
}

}  // namespace vck::tether
