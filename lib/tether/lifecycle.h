// The life of a pod's containers as a machine without I/O: events in, actions out. Restart policy, back-off, order of
// init containers and sidecars, probes, hooks, deadlines and graceful stop are decided here, as the kubelet's sync loop
// does.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "async/clock.h"
#include "guestapi/spec.h"
#include "guestapi/state.h"
#include "tether/event_ring.h"
#include "tether/journal.h"
#include "tether/probe_worker.h"

namespace vck::tether {

inline constexpr std::string_view kStartError = "StartError";

enum class HookKind { kPostStart, kPreStop };

// What became of a probe or a hook.
struct HandlerResult {
  // kWarning is a success that people should hear of. kError: it could not be tried; that says nothing of the
  // container.
  enum class Outcome { kSuccess, kWarning, kFailure, kError };
  Outcome outcome = Outcome::kSuccess;
  std::string output;  // for people
};

// ---- events ----
// A spec came. Older revisions, and specs of another pod, change nothing.
struct Apply {
  std::shared_ptr<const guestapi::GuestSpec> spec;
};
struct Stop {
  guestapi::StopRequest request;
};
struct Started {
  std::string run_id;
};
struct StartFailed {
  // kStartError: the container was made and its process could not be started: that counts as a run that ended with
  // exit code 128. Anything else (CreateContainerConfigError, CreateContainerError…) means that nothing has run.
  std::string run_id, reason, message;
};
struct Exited {
  std::string run_id;
  int exit_code = 0;         // 128 + signal when a signal ended it
  std::string reason;        // "" means Completed or Error by the code; else OOMKilled and the like
  std::string message = {};  // the termination message
  int signal = 0;
};
// Answers to RunProbe and RunHook. Those of runs that are over change nothing.
struct ProbeDone {
  std::string run_id;
  ProbeKind kind = ProbeKind::kLiveness;
  HandlerResult result;
  absl::Duration took = absl::ZeroDuration();  // with all its tries
};
struct HookDone {
  std::string run_id;
  HookKind kind = HookKind::kPostStart;
  HandlerResult result;
};
// The answer to ResizeContainer.
struct Resized {
  std::string run_id;
  guestapi::Resources resources;
  std::string error;  // "": it has them
};
// What people should be warned of, and nothing that the lifecycle has to do with. `container` "": the pod.
struct Noticed {
  std::string container, reason, message;
};
// The pod has written more than it may: it is ended, as the kubelet evicts it.
struct Exceeded {
  std::string message;
};
// deadline() has come.
struct Tick {};
using Event =
    std::variant<Apply, Stop, Started, StartFailed, Exited, ProbeDone, HookDone, Resized, Noticed, Exceeded, Tick>;

// ---- actions ----
struct StartContainer {
  std::string run_id;  // new for every start
  int attempt = 0;     // the restart count of this run
  guestapi::ContainerSpec spec;
};
// These two are also sent for a run that has not been reported as started yet.
struct StopContainer {
  std::string run_id;
};
struct KillContainer {
  std::string run_id;
};
struct RunProbe {
  std::string run_id;
  ProbeKind kind = ProbeKind::kLiveness;
  guestapi::Handler handler;
  absl::Duration timeout;
};
struct RunHook {
  std::string run_id;
  HookKind kind = HookKind::kPostStart;
  guestapi::Handler handler;
  absl::Duration timeout;  // infinite: as long as the container runs
};
// The run is over: what probes and hooks of it are still under way shall end, and needs no answer.
struct EndHandlers {
  std::string run_id;
};
// A run that has started gets other limits.
struct ResizeContainer {
  std::string run_id;
  guestapi::Resources resources;
};
using Action =
    std::variant<StartContainer, StopContainer, KillContainer, RunProbe, RunHook, EndHandlers, ResizeContainer>;

// What a pod's containers can have in all. 0: unknown, and no limit.
struct Capacity {
  int64_t cpu_milli = 0, memory_bytes = 0;
};

// Waits go by monotonic time, stamps by the wall clock.
struct Stamp {
  Instant mono;
  absl::Time wall;
};

// The kubelet's back-off for containers (MaxContainerBackOff, containerBackOffPeriod): the first restart comes at once,
// then 10 s, 20 s … 5 min after the end of the run; forgotten after ten minutes without a restart.
inline constexpr absl::Duration kBackoffInitial = absl::Seconds(10);
inline constexpr absl::Duration kBackoffMax = absl::Minutes(5);
inline constexpr absl::Duration kBackoffForget = absl::Minutes(10);
// A start that failed before anything ran is repeated so often (the kubelet's backOffPeriod), and with a new spec.
inline constexpr absl::Duration kStartRetry = absl::Seconds(10);
// So is a resize that failed.
inline constexpr absl::Duration kResizeRetry = absl::Seconds(10);
// Of a pod that is evicted for what it has written (immediateEvictionGracePeriodSeconds).
inline constexpr absl::Duration kEvictionGrace = absl::Seconds(1);
// Between the stop signal and KILL lie at least so many (minimumGracePeriodInSeconds), even if preStop has used up the
// grace; except with a grace of 0.
inline constexpr absl::Duration kMinGrace = absl::Seconds(2);

class Lifecycle {
 public:
  // `new_id` makes the ids of runs.
  Lifecycle(std::string boot_id, std::function<std::string()> new_id, Capacity capacity = {});

  // Before the first step: goes on where an earlier boot of the same guest ended. What was running then is lost. What
  // may run at all by the restart policy begins anew with the init containers, as the kubelet does for a new sandbox;
  // containers whose files or environment were not in the journal wait for the next Apply, which is accepted whatever
  // its revision.
  void Restore(Journal journal, Stamp now);

  std::vector<Action> Step(const Event& event, Stamp now);
  // When a Tick is wanted; Never if nothing is pending. Later than the last step.
  [[nodiscard]] Instant deadline() const { return deadline_; }

  // The snapshot's sequence grows with every visible change; the first is 1.
  [[nodiscard]] guestapi::GuestState Snapshot(Stamp now) const;
  [[nodiscard]] int64_t sequence() const { return sequence_; }
  // What shall survive a reboot; its version grows with every change.
  [[nodiscard]] Journal ToJournal(Stamp now) const;
  [[nodiscard]] int64_t journal_version() const { return journal_version_; }
  // Nothing runs any more and nothing will.
  [[nodiscard]] bool finished() const { return finished_; }
  [[nodiscard]] bool stopping() const { return stopping_; }
  // The container is shown as waiting (in back-off, for instance), so that its last run is the previous one.
  [[nodiscard]] bool Waits(std::string_view container) const;
  [[nodiscard]] const std::shared_ptr<const guestapi::GuestSpec>& spec() const { return spec_; }
  [[nodiscard]] const std::string& first_boot() const { return first_boot_; }

 private:
  // kHook: its process runs, and its postStart hook, too.
  enum class Phase { kPending, kStarting, kHook, kRunning, kExited };
  // How a run is being ended.
  struct End {
    bool begun = false;
    Instant kill_at = Instant::Never();  // the grace is over
    bool hook = false;                   // preStop is under way
    bool stopped = false;                // the stop signal was sent
    Instant stopped_at;
    bool killed = false;
  };
  struct Container {
    guestapi::ContainerSpec spec;
    Phase phase = Phase::kPending;
    std::string starting_id;    // of the run that is not running yet
    std::string run_image;      // what the newest run was started from
    absl::Time starting_at;     // when its process started
    Instant started_mono;       // likewise
    guestapi::Termination run;  // the current or last run; its id is "" before the first
    std::optional<guestapi::Termination> last;
    int restart_count = 0;
    bool was_started = false;             // sidecars hold up what follows only until they started once
    bool again = false;                   // to be restarted whatever the policy says
    bool rerun = false;                   // an init container that has to run again after a reboot
    std::string error, error_text;        // of a failed start
    Instant error_until;                  // when that is tried again
    absl::Duration backoff;               // zero: none so far
    Instant backoff_set;                  // when it last grew
    Instant ended;                        // of the last run
    Instant retry_at = Instant::Never();  // in back-off until then
    ProbeWorker startup, liveness, readiness;
    End end;
    guestapi::Resources resources;  // of the run that is alive
    bool resizing = false;
    std::string resize_error;
    Instant resize_at;  // not before

    [[nodiscard]] bool alive() const {
      return phase == Phase::kStarting || phase == Phase::kHook || phase == Phase::kRunning;
    }
    [[nodiscard]] const std::string& alive_id() const { return phase == Phase::kRunning ? run.id : starting_id; }
    [[nodiscard]] bool started() const { return phase == Phase::kRunning && (!spec.startup || startup.succeeded()); }
    [[nodiscard]] bool ready() const { return started() && (!spec.readiness || readiness.succeeded()); }
    [[nodiscard]] const std::optional<guestapi::Probe>& probe(ProbeKind kind) const;
    [[nodiscard]] ProbeWorker& worker(ProbeKind kind);
  };

  void On(const Apply& event, Stamp now);
  void On(const Stop& event, Stamp now);
  void On(const Started& event, Stamp now);
  void On(const StartFailed& event, Stamp now);
  void On(const Exited& event, Stamp now);
  void On(const ProbeDone& event, Stamp now);
  void On(const HookDone& event, Stamp now);
  void On(const Resized& event, Stamp now);
  void On(const Noticed& event, Stamp now);
  void On(const Exceeded& event, Stamp now);
  void On(const Tick&, Stamp) {}

  // Looks at the whole pod and does what is due.
  void Drive(Stamp now);
  // True once all init containers have ended well and all sidecars have started.
  bool DriveInit(Stamp now);
  void DriveMains(Stamp now);
  void DriveEnd(Stamp now);
  void DriveProbes(Container* container, Stamp now);
  // lifecycle_resize.cc. Gives a run the resources of its spec, which may take a restart.
  void DriveResize(Container* container, Stamp now);
  // Why the containers that are there cannot have what `next` wants them to have; "" if they can.
  [[nodiscard]] std::string WhyInfeasible(const guestapi::GuestSpec& next) const;
  void BeginEnd(Instant kill_at);
  void MarkStarted(Container* container, Stamp now);
  void MarkRunning(Container* container);
  void MarkExited(Container* container, Stamp now);
  [[nodiscard]] guestapi::RestartPolicy PolicyOf(const Container& container) const;
  // Ended, and to be left so: by the restart policy, or because the pod ends.
  [[nodiscard]] bool DoneForGood(const Container& container) const;
  // Starts a container that has not run, or has ended and may run again.
  void StartOrWait(Container* container, Stamp now);
  void Start(Container* container, Stamp now);
  // As the kubelet's sync loop: one container after another, each until its postStart hook has ended. An ephemeral
  // container waits for nobody.
  [[nodiscard]] bool Blocked(const Container& container) const;
  // The spec that is there lacks what it takes to start it: its image, or its secrets.
  [[nodiscard]] bool Withheld(const Container& container) const;
  // lifecycle_end.cc. Begins to end a run, with an event; the grace of one that is ending may get shorter.
  void Kill(Container* container, Instant kill_at, std::string message, Stamp now);
  // Stop signal or KILL, whichever is due and was not sent yet. Without `turn` the stop signal waits for the grace's
  // end.
  void Proceed(Container* container, bool turn, Stamp now);
  void KillByProbe(Container* container, ProbeKind kind, Stamp now);
  Container* Find(const std::string& run_id);
  Container* FindRunning(const std::string& run_id);
  void Tell(const std::string& container, bool warning, std::string_view reason, std::string message, Stamp now);
  [[nodiscard]] std::string PodName() const;  // "name_namespace(uid)", as the kubelet writes it
  [[nodiscard]] guestapi::ContainerState View(const Container& container) const;
  [[nodiscard]] guestapi::ContainerState JournalView(const Container& container) const;
  [[nodiscard]] bool HasInit() const;
  void WakeAt(Instant when) { deadline_ = std::min(deadline_, when); }
  void Changed() { changed_ = true; }
  // Changed in a way that is to survive a reboot.
  void Lasting() { changed_ = lasting_ = true; }

  std::string boot_id_;
  std::string first_boot_;
  std::function<std::string()> new_id_;
  Capacity capacity_;
  std::shared_ptr<const guestapi::GuestSpec> spec_;
  bool restored_ = false;  // spec_ is from the journal
  std::vector<Container> containers_;
  std::string resize_infeasible_;
  std::vector<Action> actions_;  // of the step that is being made
  EventRing events_;
  int64_t sequence_ = 1;
  int64_t journal_version_ = 0;
  bool changed_ = false;
  bool lasting_ = false;
  Instant deadline_ = Instant::Never();
  Instant begun_;  // the pod's start, or when the first spec came
  bool stopping_ = false;
  bool deadline_exceeded_ = false;
  std::string evicted_;
  bool ending_ = false;  // nothing is started any more
  bool no_grace_ = false;
  bool finished_ = false;
  Instant kill_at_ = Instant::Never();  // while ending
};

}  // namespace vck::tether
