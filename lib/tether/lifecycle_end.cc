// How runs are ended: preStop, stop signal, KILL; as k8s.io/kubernetes kuberuntime's killContainer.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tether/lifecycle.h"

namespace vck::tether {

using guestapi::ContainerSpec;
using Kind = ContainerSpec::Kind;

void Lifecycle::Kill(Container* container, Instant kill_at, std::string message, Stamp now) {
  End& end = container->end;
  end.kill_at = std::min(end.kill_at, kill_at);
  if (std::exchange(end.begun, true)) return;
  Tell(container->spec.name, false, "Killing", std::move(message), now);
  const auto& hook = container->spec.pre_stop;
  if (!hook || container->phase == Phase::kStarting || no_grace_ || now.mono >= end.kill_at) return;
  end.hook = true;
  actions_.emplace_back(RunHook{.run_id = container->alive_id(),
                                .kind = HookKind::kPreStop,
                                .handler = *hook,
                                .timeout = end.kill_at - now.mono});
}

void Lifecycle::KillByProbe(Container* container, ProbeKind kind, Stamp now) {
  container->again = PolicyOf(*container) != guestapi::RestartPolicy::kNever;
  const bool sidecar = container->spec.kind == Kind::kSidecar;
  std::string message = absl::StrCat(sidecar ? "Init container " : "Container ", container->spec.name, " failed ",
                                     kind == ProbeKind::kStartup ? "startup" : "liveness", " probe",
                                     container->again && !sidecar ? ", will be restarted" : "");
  const int64_t grace = container->probe(kind)->grace_seconds.value_or(spec_->grace_seconds);
  Kill(container, now.mono + absl::Seconds(grace), std::move(message), now);
}

void Lifecycle::Proceed(Container* container, bool turn, Stamp now) {
  End& end = container->end;
  if (end.killed) return;
  const bool over = no_grace_ || now.mono >= end.kill_at;
  if (!end.stopped && !no_grace_) {
    if (!over && (end.hook || !turn)) return WakeAt(end.kill_at);
    end.stopped = true;
    end.stopped_at = now.mono;
    actions_.emplace_back(StopContainer{container->alive_id()});
  }
  const Instant kill = no_grace_ ? now.mono : std::max(end.kill_at, end.stopped_at + kMinGrace);
  if (now.mono < kill) return WakeAt(kill);
  end.killed = true;
  actions_.emplace_back(KillContainer{container->alive_id()});
}

void Lifecycle::On(const Noticed& event, Stamp now) { Tell(event.container, true, event.reason, event.message, now); }

void Lifecycle::On(const Exceeded& event, Stamp now) {
  if (ending_ || spec_ == nullptr) return;
  evicted_ = event.message;
  Tell("", true, "Evicted", event.message, now);
  BeginEnd(now.mono + kEvictionGrace);
}

// All at once but the sidecars: theirs is the turn of the last one, when the others have ended or the grace has.
void Lifecycle::DriveEnd(Stamp now) {
  Container* last_sidecar = nullptr;
  bool others = false;
  for (Container& container : containers_) {
    if (!container.alive()) continue;
    Kill(&container, kill_at_, absl::StrCat("Stopping container ", container.spec.name), now);
    if (container.spec.kind == Kind::kSidecar) {
      last_sidecar = &container;
    } else {
      others = true;
      Proceed(&container, true, now);
    }
  }
  for (auto container = containers_.rbegin(); container != containers_.rend(); ++container) {
    if (!container->alive() || container->spec.kind != Kind::kSidecar) continue;
    Proceed(&*container, !others && &*container == last_sidecar, now);
  }
  if (others || last_sidecar != nullptr || finished_) return;
  finished_ = true;
  Lasting();
}

}  // namespace vck::tether
