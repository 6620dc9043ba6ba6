// A lifecycle that is shaken by a string of bytes: whatever happens, in whatever order, what must hold holds. Aborts
// with a message if it does not.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "guestapi/state.h"
#include "tether/journal.h"
#include "tether/lifecycle.h"

namespace vck::tether {

class Chaos {
 public:
  Chaos(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  void Run() {
    NewLifecycle();
    Shape();
    ApplySpec();
    while (at_ < size_ && steps_++ < 2000) Move();
    WindUp();
  }

 private:
  using Kind = guestapi::ContainerSpec::Kind;
  struct LiveRun {
    std::string container;
    bool started = false, stopped = false, killed = false;
    std::set<ProbeKind> probes;  // unanswered
    std::set<HookKind> hooks;
    std::optional<guestapi::Resources> resize;
  };

  uint8_t Byte() { return at_ < size_ ? data_[at_++] : 0; }
  bool Flag() { return (Byte() & 1) != 0; }

  [[noreturn]] static void Die(const std::string& what) {
    std::fprintf(stderr, "lifecycle: %s\n", what.c_str());
    std::abort();
  }
  static void Check(bool ok, const std::string& what) {
    if (!ok) Die(what);
  }

  void NewLifecycle() {
    lifecycle_ = std::make_unique<Lifecycle>(
        absl::StrCat("boot", boots_++), [this] { return absl::StrCat("r", ids_++); },
        Capacity{.cpu_milli = 1000, .memory_bytes = 3});
  }
  [[nodiscard]] Stamp Now() const { return {now_, absl::FromUnixSeconds(1000000) + (now_ - Instant{})}; }

  guestapi::RestartPolicy Policy() { return static_cast<guestapi::RestartPolicy>(Byte() % 3); }
  guestapi::Probe Probe() {
    guestapi::Probe out;
    const uint8_t b = Byte();
    out.initial_delay = b % 3;
    out.period = 1 + b / 4 % 4;
    out.success_threshold = 1 + b / 16 % 2;
    out.failure_threshold = 1 + b / 32 % 3;
    if (b & 128) out.grace_seconds = b % 5;
    return out;
  }
  void Shape() {
    spec_.pod_uid = "u";
    spec_.revision = 1;
    spec_.restart_policy = Policy();
    spec_.grace_seconds = Byte() % 8;
    if (Byte() % 8 == 0) spec_.active_deadline_seconds = Byte();
    const int count = 1 + Byte() % 5;
    for (int i = 0; i < count; ++i) AddContainer();
  }
  void AddContainer() {
    guestapi::ContainerSpec& c = spec_.containers.emplace_back();
    c.name = absl::StrCat("c", spec_.containers.size());
    c.kind = static_cast<Kind>(Byte() % 4);
    const uint8_t has = Byte();
    if (has & 1) c.startup = Probe();
    if (has & 2) c.liveness = Probe();
    if (has & 4) c.readiness = Probe();
    if (has & 8) c.post_start.emplace();
    if (has & 16) c.pre_stop.emplace();
    if (has & 32) c.restart_policy = Policy();
    if (has & 64) c.confidential = true;
  }
  void Mutate() {
    auto& c = spec_.containers[Byte() % spec_.containers.size()];
    switch (Byte() % 7) {
      case 0:
        c.image = absl::StrCat("i", Byte() % 3);
        break;
      case 1:
        c.config_error = Flag() ? "no secret" : "";
        break;
      case 2:
        if (spec_.containers.size() < 8) AddContainer();
        break;
      case 3:
        spec_.active_deadline_seconds = Byte();
        break;
      default:
        spec_.grace_seconds = Byte() % 8;
        break;
      case 5:
        c.awaits_image = Flag();
        break;
      case 6:
        c.memory_limit_bytes = Byte() % 3;
        c.restart_for_memory = Flag();
        break;
    }
  }
  void ApplySpec() { Step(Apply{std::make_shared<guestapi::GuestSpec>(spec_)}); }

  std::string AnyRun() {
    if (live_.empty() || Byte() % 16 == 0) return absl::StrCat("r", Byte() % (ids_ + 1));
    auto it = live_.begin();
    std::advance(it, Byte() % live_.size());
    return it->first;
  }
  HandlerResult AnyResult() { return {static_cast<HandlerResult::Outcome>(Byte() % 4), "said"}; }

  void Move() {
    switch (Byte() % 13) {
      case 0:
      case 1:
      case 2:
        return OnStarted(AnyRun());
      case 3:
        return OnStartFailed(AnyRun(), Flag());
      case 4:
      case 5:
        return OnExited(AnyRun(), Byte() % 3);
      case 6:
      case 7:
        return OnProbe(AnyRun());
      case 8:
        return OnHook(AnyRun());
      case 9:
        return Pass();
      case 12:
        return OnResized(AnyRun());
      case 10:
        switch (Byte() % 8) {
          case 0:
            return Step(Stop{{.grace_seconds = Byte() % 4}});
          case 1:
            return Reboot();
          case 2:
            spec_.revision -= 1;
            ApplySpec();  // an old one
            spec_.revision += 1;
            return;
          case 3:
            if (Flag()) return Step(Exceeded{"too much"});
            return Step(Noticed{.container = "", .reason = "DiskFull", .message = "full"});
          default:
            Mutate();
            ++spec_.revision;
            return ApplySpec();
        }
      default:
        return Tick1();
    }
  }
  void OnStarted(const std::string& id) {
    if (auto it = live_.find(id); it != live_.end()) it->second.started = true;
    Step(Started{id});
  }
  void OnStartFailed(const std::string& id, bool start_error) {
    auto it = live_.find(id);
    if (it != live_.end() && it->second.started) return;  // no runtime says so
    if (it != live_.end()) live_.erase(it);
    Step(StartFailed{id, start_error ? std::string(kStartError) : "CreateContainerError", "why"});
  }
  void OnExited(const std::string& id, int code) {
    live_.erase(id);
    Step(Exited{.run_id = id, .exit_code = code});
  }
  void OnProbe(const std::string& id) {
    const auto kind = static_cast<ProbeKind>(Byte() % 3);
    if (auto it = live_.find(id); it != live_.end()) it->second.probes.erase(kind);
    Step(ProbeDone{.run_id = id, .kind = kind, .result = AnyResult()});
  }
  void OnResized(const std::string& id) {
    auto it = live_.find(id);
    if (it == live_.end() || !it->second.resize) return Step(Resized{.run_id = id});
    const guestapi::Resources resources = *std::exchange(it->second.resize, std::nullopt);
    Step(Resized{.run_id = id, .resources = resources, .error = Flag() ? "no" : ""});
  }
  void OnHook(const std::string& id) {
    const auto kind = static_cast<HookKind>(Byte() % 2);
    if (auto it = live_.find(id); it != live_.end()) it->second.hooks.erase(kind);
    Step(HookDone{.run_id = id, .kind = kind, .result = AnyResult()});
  }
  // To the next deadline, or some way towards it.
  void Pass() {
    const Instant next = lifecycle_->deadline();
    const Instant some = now_ + absl::Seconds(Byte());
    now_ = std::min(next, some);
    Step(Tick{});
  }
  void Tick1() {
    now_ = std::min(lifecycle_->deadline(), now_ + absl::Seconds(1));
    Step(Tick{});
  }
  void Reboot() {
    const bool was_finished = lifecycle_->finished();
    const guestapi::GuestState before = lifecycle_->Snapshot(Now());
    auto journal = DecodeJournal(Encode(lifecycle_->ToJournal(Now())));
    Check(journal.ok(), "its own journal cannot be read");
    live_.clear();
    NewLifecycle();
    sequence_ = 0;
    shown_.clear();
    now_ = now_ + absl::Seconds(1);
    lifecycle_->Restore(*std::move(journal), Now());
    Step(Tick{});
    Check(!was_finished || lifecycle_->finished(), "finished, and then not after a reboot");
    Check(lifecycle_->Snapshot(Now()).history() == before.history(), "the first boot is another one after a reboot");
    if (Flag()) ApplySpec();
  }

  void Step(const Event& event) {
    const bool was_finished = lifecycle_->finished();
    for (const Action& action : lifecycle_->Step(event, Now())) {
      Check(!was_finished || std::holds_alternative<EndHandlers>(action), "an action after the end");
      std::visit([this](const auto& a) { On(a); }, action);
    }
    Check(!was_finished || lifecycle_->finished(), "finished, and then not");
    Check(!lifecycle_->finished() || live_.empty(), "finished while something runs");
    Check(lifecycle_->deadline() > now_, "the next deadline is not later than now");
    Look();
  }
  void On(const StartContainer& start) {
    Check(!start.spec.awaits_image && start.spec.config_error.empty(), "a start of what can't be started");
    Check(ever_.insert(start.run_id).second, "a run id came twice");
    for (const auto& [id, run] : live_) {
      Check(run.container != start.spec.name, "two runs of one container");
      const bool others = start.spec.kind != Kind::kEphemeral && kinds_[run.container] != Kind::kEphemeral;
      Check(!others || run.started, "two containers are being started at once");
    }
    auto [attempt, first] = attempts_.try_emplace(start.spec.name, -1);
    // A start that failed before anything ran is the same attempt again.
    Check(start.attempt >= attempt->second, "attempts go back");
    attempt->second = start.attempt;
    kinds_[start.spec.name] = start.spec.kind;
    live_[start.run_id] = {.container = start.spec.name};
  }
  LiveRun& Live(const std::string& id, const char* what) {
    auto it = live_.find(id);
    Check(it != live_.end(), absl::StrCat(what, " for a run that is over"));
    return it->second;
  }
  void On(const StopContainer& stop) {
    LiveRun& run = Live(stop.run_id, "a stop");
    Check(!run.stopped && !run.killed, "a second stop");
    run.stopped = true;
  }
  void On(const KillContainer& kill) {
    LiveRun& run = Live(kill.run_id, "a kill");
    Check(!run.killed, "a second kill");
    run.killed = true;
  }
  void On(const RunProbe& probe) {
    LiveRun& run = Live(probe.run_id, "a probe");
    Check(run.started, "a probe before the start");
    Check(run.probes.insert(probe.kind).second, "two probes of one kind at once");
    const bool quiet = probe.kind == ProbeKind::kReadiness;
    Check(quiet || (!run.stopped && !run.killed), "a probe of what is being stopped");
  }
  void On(const RunHook& hook) {
    LiveRun& run = Live(hook.run_id, "a hook");
    Check(run.started && run.hooks.insert(hook.kind).second, "a hook too early or twice");
    Check(hook.kind != HookKind::kPreStop || !run.stopped, "preStop after the stop");
    Check(hook.timeout > absl::ZeroDuration(), "a hook without time");
  }
  void On(const ResizeContainer& resize) {
    LiveRun& run = Live(resize.run_id, "a resize");
    Check(run.started && !run.stopped && !run.killed, "a resize of what does not run");
    Check(!run.resize, "two resizes at once");
    run.resize = resize.resources;
  }
  void On(const EndHandlers& end) { Check(!live_.contains(end.run_id), "a live run's handlers are ended"); }

  // What can be seen changes only with the sequence number, and makes sense.
  void Look() {
    guestapi::GuestState state = lifecycle_->Snapshot(Now());
    Check(state.sequence >= sequence_, "the sequence goes back");
    const bool same = state.sequence == sequence_;
    sequence_ = state.sequence;
    for (const auto& c : state.containers) {
      const bool running = c.phase == guestapi::ContainerState::Phase::kRunning;
      Check(!c.started || running, "started but not running");
      Check(!c.ready || c.started || c.phase == guestapi::ContainerState::Phase::kTerminated, "ready but not started");
      int& count = counts_[c.name];
      Check(c.restart_count >= count, "a restart count goes back");
      count = c.restart_count;
    }
    auto decoded = guestapi::DecodeState(guestapi::Encode(state));
    Check(decoded.ok(), "the state cannot be read");
    state.events.clear();
    state.guest_now = absl::UnixEpoch();
    std::string shown = guestapi::Encode(state);
    Check(!same || shown_.empty() || shown == shown_, "a change that nobody is told of");
    shown_ = std::move(shown);
  }
  // Stopped, every pod comes to its end within its grace once containers obey.
  void WindUp() {
    Step(Stop{{.grace_seconds = 3}});
    for (int i = 0; i < 10000 && !lifecycle_->finished(); ++i) {
      std::string dead;
      for (const auto& [id, run] : live_) {
        if (run.stopped || run.killed) dead = id;
      }
      if (!dead.empty()) {
        OnExited(dead, 0);
      } else {
        Check(lifecycle_->deadline() < Instant::Never(), "nothing is waited for, and it has not finished");
        now_ = lifecycle_->deadline();
        Step(Tick{});
      }
    }
    Check(lifecycle_->finished(), "a stop that does not end");
    // No more than EndHandlers follow, and no time is waited for.
    Check(lifecycle_->deadline() == Instant::Never(), "finished, and waits for something");
  }

  const uint8_t* data_;
  size_t size_;
  size_t at_ = 0;
  int steps_ = 0;
  int boots_ = 0;
  uint64_t ids_ = 0;
  Instant now_;
  guestapi::GuestSpec spec_;
  std::unique_ptr<Lifecycle> lifecycle_;
  std::map<std::string, LiveRun> live_;
  std::set<std::string> ever_;
  std::map<std::string, Kind> kinds_;
  std::map<std::string, int> attempts_, counts_;
  int64_t sequence_ = 0;
  std::string shown_;
};

}  // namespace vck::tether
