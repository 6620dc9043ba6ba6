// A pod on fake time: the lifecycle machine over the fake runtime, with a log of what was done.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "async/clock.h"
#include "gtest/gtest.h"
#include "tether/fake_runtime.h"
#include "tether/journal.h"
#include "tether/lifecycle.h"

namespace vck::tether {

inline guestapi::ContainerSpec Container(std::string name, std::string script,
                                         guestapi::ContainerSpec::Kind kind = guestapi::ContainerSpec::Kind::kMain) {
  guestapi::ContainerSpec out;
  out.name = std::move(name);
  out.kind = kind;
  if (!script.empty()) out.command = {"sh", "-c", std::move(script)};
  return out;
}
inline guestapi::ContainerSpec Init(std::string name, std::string script) {
  return Container(std::move(name), std::move(script), guestapi::ContainerSpec::Kind::kInit);
}
inline guestapi::ContainerSpec Sidecar(std::string name, std::string script) {
  return Container(std::move(name), std::move(script), guestapi::ContainerSpec::Kind::kSidecar);
}

inline guestapi::GuestSpec PodSpec(guestapi::RestartPolicy policy, std::vector<guestapi::ContainerSpec> containers) {
  guestapi::GuestSpec spec;
  spec.pod_uid = "uid";
  spec.pod_namespace = "default";
  spec.pod_name = "pod";
  spec.revision = 1;
  spec.generation = 1;
  spec.restart_policy = policy;
  spec.containers = std::move(containers);
  return spec;
}

class Pod {
 public:
  explicit Pod(Capacity capacity = {}) : capacity_(capacity) { Boot(); }
  explicit Pod(guestapi::GuestSpec spec, Capacity capacity = {}) : Pod(capacity) { Apply(std::move(spec)); }

  void Apply(guestapi::GuestSpec spec) {
    Step(tether::Apply{std::make_shared<const guestapi::GuestSpec>(std::move(spec))});
  }
  void Stop(int64_t grace_seconds) { Step(tether::Stop{{.grace_seconds = grace_seconds}}); }
  void Pass(absl::Duration d) { clock_.Advance(d); }
  [[nodiscard]] double Seconds() const { return absl::ToDoubleSeconds(clock_.Now().since_start); }

  // What probes and hooks of a container ("web/readiness", "web/postStart") come to: a letter each, the last for ever:
  // s succeeds, f fails, w warns, e cannot be tried, - never answers. Without a script all succeed.
  void Answer(const std::string& what, std::string script, absl::Duration takes = absl::ZeroDuration()) {
    answers_[what] = {std::move(script), takes};
  }
  // Resizes come to this; "": they succeed.
  void FailResizes(std::string error) { resize_error_ = std::move(error); }
  // Switched off hard and on again; the journal is all that is left.
  void Reboot() {
    std::string journal = Encode(lifecycle_->ToJournal(Now()));
    Boot();
    auto restored = DecodeJournal(journal);
    ASSERT_TRUE(restored.ok()) << restored.status();
    lifecycle_->Restore(*std::move(restored), Now());
    Step(Tick{});
  }

  // "web@0 TERM:web@5 …": starts and signals with the second at which they were done, since the last call.
  std::string TakeLog() { return Take(&log_); }
  // "web/readiness@5 …"
  std::string TakeProbes() { return Take(&probes_); }
  // "Unhealthy web: message" since the last call; a warning has a '!' before it.
  std::vector<std::string> TakeEvents() {
    std::vector<std::string> out;
    for (const auto& event : State().events) {
      if (event.number <= seen_) continue;
      seen_ = event.number;
      out.push_back(absl::StrCat(event.warning ? "!" : "", event.reason, event.container.empty() ? "" : " ",
                                 event.container, ": ", event.message));
    }
    return out;
  }
  [[nodiscard]] guestapi::GuestState State() const { return lifecycle_->Snapshot(Now()); }
  // "web=Running/ready init=Terminated(0)" and the like.
  [[nodiscard]] std::string View() const {
    std::vector<std::string> out;
    for (const auto& c : State().containers) {
      using Phase = guestapi::ContainerState::Phase;
      std::string text = c.name + "=";
      if (c.phase == Phase::kRunning)
        absl::StrAppend(&text, "Running", c.ready ? "/ready" : c.started ? "/started" : "");
      if (c.phase == Phase::kWaiting) absl::StrAppend(&text, c.reason);
      if (c.phase == Phase::kTerminated) absl::StrAppend(&text, c.reason, "(", c.exit_code, ")");
      if (c.restart_count > 0) absl::StrAppend(&text, "*", c.restart_count);
      out.push_back(text);
    }
    return absl::StrJoin(out, " ");
  }
  [[nodiscard]] bool finished() const { return lifecycle_->finished(); }
  Lifecycle& lifecycle() { return *lifecycle_; }
  [[nodiscard]] Stamp Now() const { return {clock_.Now(), clock_.WallNow()}; }
  FakeClock& clock() { return clock_; }

  void Step(Event event) {
    for (Action& action : lifecycle_->Step(event, Now())) std::visit([this](auto& a) { Do(a); }, action);
    timer_ = {};
    EXPECT_GT(lifecycle_->deadline(), clock_.Now()) << "the clock would spin";
    if (lifecycle_->deadline() < Instant::Never()) {
      timer_ = clock_.Schedule(lifecycle_->deadline(), [this] { Step(Tick{}); });
    }
  }

 private:
  struct Script {
    std::string letters;
    absl::Duration takes;
  };

  void Boot() {
    timer_ = {};
    handling_.clear();
    runtime_ = nullptr;
    seen_ = 0;
    lifecycle_ = std::make_unique<Lifecycle>(
        absl::StrCat("boot", boots_ == 0 ? "" : absl::StrCat(boots_)), [this] { return absl::StrCat("run-", ++runs_); },
        capacity_);
    ++boots_;
    runtime_ = std::make_unique<FakeRuntime>(clock_, [this](Event event) { Step(std::move(event)); });
  }
  static std::string Take(std::vector<std::string>* log) {
    std::string out = absl::StrJoin(*log, " ");
    log->clear();
    return out;
  }

  void Do(const StartContainer& start) {
    names_[start.run_id] = start.spec.name;
    log_.push_back(absl::StrCat(start.spec.name, "@", Seconds()));
    runtime_->Start(start.run_id, start.attempt, start.spec);
  }
  void Do(const StopContainer& stop) {
    log_.push_back(absl::StrCat("TERM:", names_[stop.run_id], "@", Seconds()));
    runtime_->Stop(stop.run_id);
  }
  void Do(const KillContainer& kill) {
    log_.push_back(absl::StrCat("KILL:", names_[kill.run_id], "@", Seconds()));
    runtime_->Kill(kill.run_id);
  }
  void Do(const ResizeContainer& resize) {
    log_.push_back(absl::StrCat("resize:", names_[resize.run_id], "@", Seconds()));
    if (resize_error_.empty()) return runtime_->Resize(resize.run_id, resize.resources);
    handling_[resize.run_id].push_back(clock_.Schedule(clock_.Now(), [this, resize] {
      Step(Resized{.run_id = resize.run_id, .resources = resize.resources, .error = resize_error_});
    }));
  }
  void Do(const EndHandlers& end) { handling_.erase(end.run_id); }
  void Do(const RunProbe& probe) {
    const char* kind = probe.kind == ProbeKind::kStartup    ? "startup"
                       : probe.kind == ProbeKind::kLiveness ? "liveness"
                                                            : "readiness";
    std::string what = absl::StrCat(names_[probe.run_id], "/", kind);
    probes_.push_back(absl::StrCat(what, "@", Seconds()));
    Later(probe.run_id, what, [this, id = probe.run_id, kind = probe.kind](HandlerResult result) {
      Step(ProbeDone{.run_id = id, .kind = kind, .result = std::move(result)});
    });
  }
  void Do(const RunHook& hook) {
    std::string what = absl::StrCat(names_[hook.run_id], hook.kind == HookKind::kPreStop ? "/preStop" : "/postStart");
    log_.push_back(absl::StrCat(what, "@", Seconds()));
    Later(hook.run_id, what, [this, id = hook.run_id, kind = hook.kind](HandlerResult result) {
      Step(HookDone{.run_id = id, .kind = kind, .result = std::move(result)});
    });
  }
  void Later(const std::string& run, const std::string& what, std::function<void(HandlerResult)> done) {
    using Outcome = HandlerResult::Outcome;
    Script& script = answers_.try_emplace(what, Script{"s", {}}).first->second;
    const char letter = script.letters.front();
    if (script.letters.size() > 1) script.letters.erase(0, 1);
    if (letter == '-') return;
    HandlerResult result{letter == 'f'   ? Outcome::kFailure
                         : letter == 'w' ? Outcome::kWarning
                         : letter == 'e' ? Outcome::kError
                                         : Outcome::kSuccess,
                         "output"};
    handling_[run].push_back(
        clock_.Schedule(clock_.Now() + script.takes, [result, done = std::move(done)] { done(result); }));
  }

  FakeClock clock_;
  Capacity capacity_;
  std::string resize_error_;
  int runs_ = 0, boots_ = 0;
  int64_t seen_ = 0;
  std::map<std::string, std::string> names_;
  std::map<std::string, Script> answers_;
  std::vector<std::string> log_, probes_;
  std::unique_ptr<Lifecycle> lifecycle_;
  std::unique_ptr<FakeRuntime> runtime_;
  std::map<std::string, std::vector<Clock::Timer>> handling_;
  Clock::Timer timer_;
};

}  // namespace vck::tether
