// A pod on fake time: the lifecycle machine over the fake runtime, with a log of what was done.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "async/clock.h"
#include "tether/fake_runtime.h"
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
  Pod() : lifecycle_("boot", [this] { return absl::StrCat("run-", ++runs_); }) {
    runtime_ = std::make_unique<FakeRuntime>(clock_, [this](Event event) { Step(std::move(event)); });
  }
  explicit Pod(guestapi::GuestSpec spec) : Pod() { Apply(std::move(spec)); }

  void Apply(guestapi::GuestSpec spec) {
    Step(tether::Apply{std::make_shared<const guestapi::GuestSpec>(std::move(spec))});
  }
  void Stop(int64_t grace_seconds) { Step(tether::Stop{{.grace_seconds = grace_seconds}}); }
  void Pass(absl::Duration d) { clock_.Advance(d); }
  [[nodiscard]] double Seconds() const { return absl::ToDoubleSeconds(clock_.Now().since_start); }

  // "web@0 TERM:web@5 …": starts and signals with the second at which they were done, since the last call.
  std::string TakeLog() {
    std::string out = absl::StrJoin(log_, " ");
    log_.clear();
    return out;
  }
  [[nodiscard]] guestapi::GuestState State() const { return lifecycle_.Snapshot(Now()); }
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
  [[nodiscard]] bool finished() const { return lifecycle_.finished(); }
  Lifecycle& lifecycle() { return lifecycle_; }
  [[nodiscard]] Stamp Now() const { return {clock_.Now(), clock_.WallNow()}; }

  void Step(Event event) {
    for (Action& action : lifecycle_.Step(event, Now())) {
      if (auto* start = std::get_if<StartContainer>(&action)) {
        names_[start->run_id] = start->spec.name;
        log_.push_back(absl::StrCat(start->spec.name, "@", Seconds()));
        runtime_->Start(start->run_id, start->attempt, start->spec);
      } else if (auto* stop = std::get_if<StopContainer>(&action)) {
        log_.push_back(absl::StrCat("TERM:", names_[stop->run_id], "@", Seconds()));
        runtime_->Stop(stop->run_id);
      } else {
        auto& kill = std::get<KillContainer>(action);
        log_.push_back(absl::StrCat("KILL:", names_[kill.run_id], "@", Seconds()));
        runtime_->Kill(kill.run_id);
      }
    }
    timer_ = {};
    if (lifecycle_.deadline() < Instant::Never()) {
      timer_ = clock_.Schedule(lifecycle_.deadline(), [this] { Step(Tick{}); });
    }
  }

 private:
  FakeClock clock_;
  int runs_ = 0;
  std::map<std::string, std::string> names_;
  std::vector<std::string> log_;
  Lifecycle lifecycle_;
  std::unique_ptr<FakeRuntime> runtime_;
  Clock::Timer timer_;
};

}  // namespace vck::tether
