// The life of a pod's containers as a machine without I/O: events in, actions out. Restart policy, back-off, order of
// init containers and sidecars, deadlines and graceful stop are decided here, as the kubelet's sync loop does.
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

namespace vck::tether {

inline constexpr std::string_view kStartError = "StartError";

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
// deadline() has come.
struct Tick {};
using Event = std::variant<Apply, Stop, Started, StartFailed, Exited, Tick>;

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
using Action = std::variant<StartContainer, StopContainer, KillContainer>;

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
// What a sidecar gets at least when its turn comes after the grace has been used up (minimumGracePeriodInSeconds).
inline constexpr absl::Duration kSidecarMinGrace = absl::Seconds(2);

class Lifecycle {
 public:
  // `new_id` makes the ids of runs.
  Lifecycle(std::string boot_id, std::function<std::string()> new_id);

  std::vector<Action> Step(const Event& event, Stamp now);
  // When a Tick is wanted; Never if nothing is pending.
  [[nodiscard]] Instant deadline() const;

  // The snapshot's sequence grows with every visible change; the first is 1.
  [[nodiscard]] guestapi::GuestState Snapshot(Stamp now) const;
  [[nodiscard]] int64_t sequence() const { return sequence_; }
  // Nothing runs any more and nothing will.
  [[nodiscard]] bool finished() const { return finished_; }
  [[nodiscard]] bool stopping() const { return stopping_; }
  [[nodiscard]] const guestapi::GuestSpec* spec() const { return spec_.get(); }

 private:
  enum class Phase { kPending, kStarting, kRunning, kExited };
  struct Container {
    guestapi::ContainerSpec spec;
    Phase phase = Phase::kPending;
    std::string starting_id;    // of the run that is being started
    guestapi::Termination run;  // the current or last run; its id is "" before the first
    std::optional<guestapi::Termination> last;
    int restart_count = 0;
    bool was_started = false;             // sidecars hold up what follows only until they started once
    std::string error, error_text;        // of a failed start
    absl::Duration backoff;               // zero: none so far
    Instant backoff_set;                  // when it last grew
    Instant ended;                        // of the last run or failed start
    Instant retry_at = Instant::Never();  // in back-off until then
    bool term_sent = false;
    bool kill_sent = false;
    Instant term_at;                     // when TERM was sent, or would have been
    Instant kill_at = Instant::Never();  // while ending

    [[nodiscard]] bool alive() const { return phase == Phase::kStarting || phase == Phase::kRunning; }
    [[nodiscard]] bool running_id(const std::string& id) const {
      return alive() && (phase == Phase::kStarting ? starting_id : run.id) == id;
    }
    [[nodiscard]] bool started() const { return phase == Phase::kRunning && !spec.startup.has_value(); }
  };

  void On(const Apply& event, Stamp now);
  void On(const Stop& event, Stamp now);
  void On(const Started& event, Stamp now);
  void On(const StartFailed& event, Stamp now);
  void On(const Exited& event, Stamp now);
  void On(const Tick&, Stamp) {}

  // Looks at the whole pod and does what is due.
  void Drive(Stamp now);
  // True once all init containers have ended well and all sidecars have started.
  bool DriveInit(Stamp now);
  void DriveMains(Stamp now);
  void DriveEnd(Stamp now);
  void BeginEnd(Instant kill_at);
  void MarkRunning(Container* container, Stamp now);
  // Ended, and to be left so: by the restart policy, or because the pod ends.
  [[nodiscard]] bool DoneForGood(const Container& container) const;
  // Starts a container that has not run, or has ended and may run again.
  void StartOrWait(Container* container, Stamp now);
  void Start(Container* container, Stamp now);
  void Signal(Container* container, bool kill);
  // TERM or KILL, whichever is due and was not sent yet. `least` is granted even if the pod's grace is used up.
  void Terminate(Container* container, Stamp now, absl::Duration least);
  Container* Find(const std::string& run_id);
  [[nodiscard]] guestapi::ContainerState View(const Container& container) const;
  void Changed() { changed_ = true; }

  std::string boot_id_;
  std::function<std::string()> new_id_;
  std::shared_ptr<const guestapi::GuestSpec> spec_;
  std::vector<Container> containers_;
  std::vector<Action> actions_;  // of the step that is being made
  int64_t sequence_ = 1;
  bool changed_ = false;
  Instant begun_;  // when the first spec came
  bool stopping_ = false;
  bool deadline_exceeded_ = false;
  bool ending_ = false;  // nothing is started any more
  bool no_grace_ = false;
  bool finished_ = false;
  Instant kill_at_ = Instant::Never();  // while ending
};

}  // namespace vck::tether
