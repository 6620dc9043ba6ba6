// Commands that run beside a container's own process: for people (exec, with frames to and from the kubelet) and for
// probes and hooks.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "async/clock.h"
#include "async/task.h"
#include "base/status.h"
#include "guestos/process.h"
#include "guestos/process_io.h"
#include "guestos/stream_peer.h"
#include "tether/runtime.h"

namespace vck::guestos {

struct ProcessRequest {
  std::vector<std::string> command;
  WantedStreams streams;
  bool tty = false;
};

// A process of a container, and our ends of its streams.
struct StartedProcess {
  ChildPtr child;
  ProcessIo io;
};

// KILL to the process and to whatever is still in its process group.
void KillGroup(const ChildPtr& child);

// Passes everything between the process and the peer, neither side read faster than the other takes it. Ends with the
// process, whose exit code is the last frame; the process is killed when the peer leaves or the caller is cancelled.
Task<> ServeProcess(Clock* clock, std::shared_ptr<StartedProcess> process, std::shared_ptr<StreamPeer> peer);

// Collects the output's beginning until the process ends. It is killed at `deadline` (DeadlineExceeded), and when the
// caller is cancelled.
Task<StatusOr<tether::ExecResult>> CollectProcess(Clock* clock, std::shared_ptr<StartedProcess> process,
                                                  absl::Duration timeout);

}  // namespace vck::guestos
