#include "podvm/container_status.h"

#include <algorithm>

#include "kubeapi/timestamp.h"
#include "podvm/run_id.h"

namespace vck::podvm {
namespace {

using State = ContainerStatus::State;
using Kind = kubeapi::ContainerView::Kind;

constexpr std::string_view kNeverRan = "The container could not be located when the pod was terminated";
constexpr std::string_view kLost =
    "The container was lost: its VM was powered off, restarted or removed while it was running";
constexpr size_t kMaxMessage = 4096;  // of a termination message, as the kubelet's

std::string Cut(std::string_view text) {
  if (text.size() <= kMaxMessage) return std::string(text);
  size_t end = kMaxMessage;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return std::string(text.substr(0, end));
}

Terminated TerminatedFromApi(const json::Value& v) {
  return {.exit_code = json::Int(v, "exitCode"),
          .signal = json::Int(v, "signal"),
          .reason = std::string(json::String(v, "reason")),
          .message = std::string(json::String(v, "message")),
          .started_at = std::string(json::String(v, "startedAt")),
          .finished_at = std::string(json::String(v, "finishedAt")),
          .container_id = std::string(json::String(v, "containerID"))};
}

bool Same(const Terminated& t, const json::Value* v) {
  return v != nullptr && t.exit_code == json::Int(v, "exitCode") && t.signal == json::Int(v, "signal") &&
         t.reason == json::String(v, "reason") && t.message == json::String(v, "message") &&
         t.started_at == json::String(v, "startedAt") && t.finished_at == json::String(v, "finishedAt") &&
         t.container_id == json::String(v, "containerID");
}

// Absent, null and {} are one.
bool SameQuantities(const json::Value* a, const json::Value* b) {
  const auto given = [](const json::Value* v) { return v != nullptr && v->is_object() && !v->get_object().empty(); };
  return given(a) == given(b) && (!given(a) || *a == *b);
}

// How the run that the status speaks of ended, when another has taken its place.
std::optional<Terminated> Outcome(const ContainerStatus& s) {
  if (s.state == State::kTerminated) return s.terminated;
  if (s.state == State::kWaiting) return s.last;
  return Terminated{.exit_code = 137,
                    .reason = "ContainerStatusUnknown",
                    .message = std::string(kLost),
                    .started_at = s.started_at,
                    .container_id = s.container_id};
}

class Merger {
 public:
  Merger(const kubeapi::ContainerView& container, const json::Value* api, const Situation& situation)
      : s_(situation), status_(FromApi(container, api)), before_(status_.restart_count) {}

  void Guest(const guestapi::ContainerState& g, bool* lost);
  void Lose(bool* lost);
  ContainerStatus Finish();

 private:
  [[nodiscard]] std::string Time(absl::Time guest_time) const {
    if (guest_time == absl::InfinitePast() || guest_time == absl::InfiniteFuture()) return {};
    return kubeapi::FormatTime(std::min(guest_time + s_.clock_offset, s_.now));
  }
  [[nodiscard]] Terminated Last(const guestapi::ContainerState& g, std::string_view id) const;
  bool NewRun(const guestapi::ContainerState& g);
  void Show(const guestapi::ContainerState& g, bool same_run);
  void Replace();

  const Situation& s_;
  ContainerStatus status_;
  const int64_t before_;
  bool vouched_ = false;       // by the guest of the current boot
  bool fresh_reason_ = false;  // the guest says why it waits
};

// The run of the API gives way to another one, which counts as a restart.
void Merger::Replace() {
  status_.last = Outcome(status_);
  status_.state = State::kWaiting;
  status_.reason.clear();
  status_.message.clear();
  status_.container_id.clear();
  status_.image_id.clear();
  ++status_.restart_count;
}

// Takes over id and restart count of a run that the API does not have. False: it is an old story.
bool Merger::NewRun(const guestapi::ContainerState& g) {
  const RunId have = ParseRunId(status_.container_id);
  if (status_.container_id.empty()) {
    const RunId counted = ParseRunId(status_.last ? std::string_view(status_.last->container_id) : std::string_view());
    if (counted.boot == s_.boot && !s_.boot.empty()) {
      if (g.id == counted.id && g.phase != guestapi::ContainerState::Phase::kRunning) {
        // The guest knows how the run ended that was given up; as its loss was counted, it passes for the next one.
        status_.container_id = FormatRunId(s_.boot, counted.n + 1, g.id);
        status_.last.reset();
        return true;
      }
      if (g.restart_count <= counted.n) return false;  // it was counted as lost
      status_.restart_count += g.restart_count - counted.n - 1;
    } else {
      status_.restart_count += g.restart_count;
    }
  } else if (have.boot == s_.boot && !s_.boot.empty()) {
    if (g.restart_count < have.n) return false;
    status_.last = Outcome(status_);
    status_.restart_count += g.restart_count - have.n;
  } else {
    Replace();
    status_.restart_count += g.restart_count;
  }
  status_.image_id.clear();
  status_.container_id = FormatRunId(s_.boot, g.restart_count, g.id);
  return true;
}

Terminated Merger::Last(const guestapi::ContainerState& g, std::string_view id) const {
  const auto& last = *g.last;
  const int64_t n = last.id == g.id ? g.restart_count : std::max(0, g.restart_count - 1);
  Terminated t{.exit_code = last.exit_code,
               .signal = last.signal,
               .reason = !last.reason.empty()  ? last.reason
                         : last.exit_code == 0 ? "Completed"
                                               : "Error",
               .message = Cut(last.message),
               .started_at = Time(last.started_at),
               .finished_at = Time(last.finished_at),
               .container_id = last.id.empty()   ? std::string()
                               : last.id == g.id ? std::string(id)
                                                 : FormatRunId(s_.boot, n, last.id)};
  // What the API said of it before stays: the guest's clock may have been set meanwhile.
  if (status_.state == State::kRunning && status_.container_id == t.container_id && !status_.started_at.empty()) {
    t.started_at = status_.started_at;
  }
  const Terminated* known = nullptr;
  if (status_.state == State::kTerminated && status_.terminated.container_id == t.container_id) {
    known = &status_.terminated;
  }
  if (status_.last && status_.last->container_id == t.container_id) known = &*status_.last;
  if (known != nullptr && known->exit_code == t.exit_code) {
    if (!known->started_at.empty()) t.started_at = known->started_at;
    if (!known->finished_at.empty()) t.finished_at = known->finished_at;
  }
  return t;
}

void Merger::Guest(const guestapi::ContainerState& g, bool* lost) {
  const RunId have = ParseRunId(status_.container_id);
  if (g.id.empty()) {
    // Not started in this boot.
    if (!have.boot.empty() && have.boot == s_.boot) return;
    // It was told to be lost before it ever ran.
    if (status_.container_id.empty() && status_.state == State::kTerminated) return;
    if (!status_.container_id.empty()) {
      if (!s_.restarts) return;  // see Lose
      if (status_.state == State::kRunning) *lost = true;
      Replace();
    }
    Show(g, false);
    return;
  }
  const bool same_run = !have.id.empty() && have.id == g.id;
  if (!same_run && !NewRun(g)) return;
  vouched_ = true;
  Show(g, same_run);
}

void Merger::Show(const guestapi::ContainerState& g, bool same_run) {
  if (!g.image_id.empty()) status_.image_id = g.image_id;
  if (g.last) status_.last = Last(g, status_.container_id);
  const std::string api_started = !same_run                             ? std::string()
                                  : status_.state == State::kRunning    ? status_.started_at
                                  : status_.state == State::kTerminated ? status_.terminated.started_at
                                                                        : std::string();
  std::string started = api_started.empty() ? Time(g.started_at) : api_started;
  switch (g.phase) {
    case guestapi::ContainerState::Phase::kWaiting:
      if (!g.id.empty() && !g.last && status_.state != State::kWaiting) status_.last = Outcome(status_);
      status_.state = State::kWaiting;
      if (!g.reason.empty()) {
        fresh_reason_ = true;
        status_.reason = g.reason;
        status_.message = Cut(g.message);
      }
      break;
    case guestapi::ContainerState::Phase::kRunning:
      status_.state = State::kRunning;
      status_.started_at = std::move(started);
      status_.started = g.started;
      status_.ready = g.ready;
      return;
    case guestapi::ContainerState::Phase::kTerminated: {
      std::string finished = same_run && status_.state == State::kTerminated ? status_.terminated.finished_at : "";
      if (finished.empty()) finished = Time(g.finished_at);
      finished = std::max(finished, started);  // equal lengths: as text is as in time
      status_.state = State::kTerminated;
      status_.terminated = {.exit_code = g.exit_code,
                            .signal = g.signal,
                            .reason = !g.reason.empty()  ? g.reason
                                      : g.exit_code == 0 ? "Completed"
                                                         : "Error",
                            .message = Cut(g.message),
                            .started_at = std::move(started),
                            .finished_at = std::move(finished),
                            .container_id = status_.container_id};
      break;
    }
  }
  status_.started = status_.ready = false;
}

void Merger::Lose(bool* lost) {
  if (status_.state == State::kTerminated) return;
  const bool other_boot = !vouched_ && (status_.container_id.empty()
                                            ? s_.rebooted
                                            : !s_.boot.empty() && ParseRunId(status_.container_id).boot != s_.boot);
  const bool gone = s_.vm_dead || other_boot;
  const bool running = status_.state == State::kRunning;
  if (running && !gone) return;
  if (running) *lost = true;
  if (s_.restarts) {
    if (running && status_.kind != Kind::kEphemeral) return Replace();
    if (!running) return;
  } else if (!running && !s_.ended) {
    return;
  }
  status_.terminated = {.exit_code = 137,
                        .reason = "ContainerStatusUnknown",
                        .message = std::string(running ? kLost : kNeverRan),
                        .started_at = running ? status_.started_at : std::string(),
                        .container_id = status_.container_id};
  status_.state = State::kTerminated;
}

ContainerStatus Merger::Finish() {
  const bool init = status_.kind == Kind::kInit || status_.kind == Kind::kSidecar;
  if (status_.state == State::kWaiting && (s_.own_reason || !fresh_reason_)) {
    // A container that was created waits for what the API says it does (CrashLoopBackOff).
    const bool keep = !s_.own_reason && !status_.reason.empty() && (s_.keep_waiting || !status_.container_id.empty());
    if (!keep) {
      status_.reason = init ? s_.init_waiting_reason : s_.waiting_reason;
      status_.message = init ? s_.init_waiting_message : s_.waiting_message;
    }
  }
  if (status_.state != State::kRunning) status_.started = status_.ready = false;
  // Of an init container, ready means done.
  if (status_.kind == Kind::kInit) {
    status_.ready = status_.state == State::kTerminated && status_.terminated.exit_code == 0;
  }
  if (status_.kind == Kind::kEphemeral) status_.ready = false;
  status_.restart_count = std::max(status_.restart_count, before_);
  return std::move(status_);
}

}  // namespace

ContainerStatus FromApi(const kubeapi::ContainerView& container, const json::Value* api) {
  ContainerStatus status{.kind = container.kind(),
                         .name = std::string(container.name()),
                         .image = std::string(container.image()),
                         .image_id = std::string(json::String(api, "imageID")),
                         .container_id = std::string(json::String(api, "containerID")),
                         .restart_count = json::Int(api, "restartCount"),
                         .ready = json::Bool(api, "ready"),
                         .started = json::Bool(api, "started"),
                         .resources = json::Get(api, "resources"),
                         .allocated = json::Get(api, "allocatedResources")};
  if (const json::Value* last = json::Get(json::Get(api, "lastState"), "terminated"))
    status.last = TerminatedFromApi(*last);
  const json::Value* state = json::Get(api, "state");
  if (const json::Value* running = json::Get(state, "running")) {
    status.state = State::kRunning;
    status.started_at = json::String(running, "startedAt");
  } else if (const json::Value* terminated = json::Get(state, "terminated")) {
    status.state = State::kTerminated;
    status.terminated = TerminatedFromApi(*terminated);
  } else {
    const json::Value* waiting = json::Get(state, "waiting");
    status.reason = json::String(waiting, "reason");
    status.message = json::String(waiting, "message");
  }
  return status;
}

ContainerStatus Merge(const kubeapi::ContainerView& container, const json::Value* api,
                      const guestapi::ContainerState* guest, const Situation& situation, bool* lost) {
  Merger merger(container, api, situation);
  if (guest != nullptr) merger.Guest(*guest, lost);
  merger.Lose(lost);
  return merger.Finish();
}

bool Same(const ContainerStatus& s, const json::Value* api) {
  if (api == nullptr || s.name != json::String(api, "name") || s.image != json::String(api, "image") ||
      s.image_id != json::String(api, "imageID") || s.container_id != json::String(api, "containerID") ||
      s.restart_count != json::Int(api, "restartCount") || s.ready != json::Bool(api, "ready") ||
      s.started != json::Bool(api, "started")) {
    return false;
  }
  const json::Value* resources = json::Get(api, "resources");
  for (std::string_view kind : {"limits", "requests"}) {
    if (!SameQuantities(json::Get(s.resources, kind), json::Get(resources, kind))) return false;
  }
  if (!SameQuantities(s.allocated, json::Get(api, "allocatedResources"))) return false;
  const json::Value* last = json::Get(json::Get(api, "lastState"), "terminated");
  if (s.last ? !Same(*s.last, last) : last != nullptr) return false;
  const json::Value* state = json::Get(api, "state");
  switch (s.state) {
    case State::kRunning: {
      const json::Value* running = json::Get(state, "running");
      return running != nullptr && s.started_at == json::String(running, "startedAt");
    }
    case State::kTerminated:
      return Same(s.terminated, json::Get(state, "terminated"));
    case State::kWaiting: {
      const json::Value* waiting = json::Get(state, "waiting");
      return waiting != nullptr && s.reason == json::String(waiting, "reason") &&
             s.message == json::String(waiting, "message");
    }
  }
  return false;
}

}  // namespace vck::podvm
