// App: the kubelet's parts, made and wired in layer order, and run until it is told to stop.
#pragma once

#include <memory>

#include "async/clock.h"
#include "async/task.h"
#include "async/wait.h"
#include "base/log_memory.h"
#include "base/status.h"
#include "node/inputs.h"
#include "node/options.h"

namespace vck::node {

class App {
 public:
  // `options` have passed Validate(), `inputs` are theirs. `log`: what this process writes, for /logs; it outlives the
  // app.
  App(Executor executor, Clock& clock, Options options, Inputs inputs, const LogMemory& log);
  ~App();

  // Runs until Stop() and the drain that follows it, or until something that no retry mends is wrong: a bad key, a
  // taken port, lost leadership.
  Task<Status> Run();
  // Ends intake, lets operations in flight end (--drain-timeout), then stops all. Calling it again cuts the drain
  // short.
  void Stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vck::node
