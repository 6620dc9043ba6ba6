// What a tether runs containers with.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "async/task.h"
#include "base/status.h"
#include "guestapi/spec.h"
#include "tether/lifecycle.h"

namespace vck::tether {

// How a command that ran beside a container's own process ended.
struct ExecResult {
  int exit_code = 0;   // 128 + signal for one that a signal ended
  std::string output;  // stdout and stderr as they came, the first kMaxExecOutput bytes
};
inline constexpr size_t kMaxExecOutput = 10 * 1024;  // the kubelet's, of a probe

// Every Start() is answered by Started and Exited, by Exited alone, or by StartFailed; never from within a call.
class Runtime {
 public:
  using Sink = std::function<void(Event)>;
  virtual ~Runtime() = default;  // kills what runs; no events after that
  // The pod's spec: before anything of it is started, and whenever a newer one came (volumes' files may have changed).
  // After a reboot of the guest the first may be one from the journal, without the content of files: no container that
  // mounts one is started then.
  virtual void Apply(std::shared_ptr<const guestapi::GuestSpec>) {}
  // Called once, before all else: Lifecycle::Waits, for as long as the runtime lives.
  virtual void SetWaits(std::function<bool(std::string_view container)>) {}
  // `attempt`: the restart count that this run will have; it goes on across reboots of the guest, so it may name logs.
  virtual void Start(const std::string& run_id, int attempt, const guestapi::ContainerSpec& spec) = 0;
  // Sends the container's stop signal: spec.stop_signal, else the image's, else TERM. An unknown run, or one that has
  // ended, is ignored: its event is on the way. One that has not been reported as started is stopped as soon as it can
  // be.
  virtual void Stop(const std::string& run_id) = 0;
  // KILL, to all processes of the container.
  virtual void Kill(const std::string& run_id) = 0;
  // Other limits for a run that has started. Answered by Resized, unless it has ended.
  virtual void Resize(const std::string& run_id, const guestapi::Resources& resources) = 0;
  // Runs a command in the namespaces and with the user, environment and limits of a running container; its stdin is
  // empty. A command that fails is a result, not an error. NotFound: there is no such run (any more). DeadlineExceeded:
  // it took longer than `timeout` (which may be infinite) and was killed. InvalidArgument: the program cannot be
  // executed (the message is the one that users know: "exec: "x": executable file not found in $PATH"). Else Internal
  // or Unavailable. When the caller is cancelled, the command is killed. Callers are joined before the runtime goes.
  virtual Task<StatusOr<ExecResult>> Exec(std::string run_id, std::vector<std::string> command,
                                          absl::Duration timeout) = 0;
};

using RuntimeFactory = std::function<std::unique_ptr<Runtime>(Runtime::Sink)>;

}  // namespace vck::tether
