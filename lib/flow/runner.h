// Runner: N workers that take keys from a queue and reconcile them.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "async/clock.h"
#include "base/status.h"
#include "flow/work_queue.h"

namespace vck::flow {

// What a reconcile wants next. An error means: again after backoff, without end.
struct Result {
  std::optional<absl::Duration> requeue_after;  // look again then, even if nothing changes
};

using Reconcile = std::function<Task<StatusOr<Result>>(std::string key)>;

struct RunnerOptions {
  int workers = 16;
  // A reconcile that takes longer is cancelled and counts as failed.
  absl::Duration deadline = absl::Minutes(5);
};

// Works until the queue is shut down and empty, or until cancelled. A reconcile in flight at cancellation is cancelled.
Task<Status> RunWorkers(Clock& clock, WorkQueue& queue, RunnerOptions options, Reconcile reconcile);

}  // namespace vck::flow
