#include "flow/runner.h"

#include "async/task_group.h"
#include "async/timeout.h"
#include "base/log.h"

namespace vck::flow {
namespace {

struct DoneGuard {
  WorkQueue& queue;
  const std::string& key;
  ~DoneGuard() { queue.Done(key); }
};

Task<Status> Work(Clock& clock, WorkQueue& queue, absl::Duration deadline, const Reconcile& reconcile) {
  while (true) {
    std::optional<std::string> key = co_await queue.Get();
    if (!key) co_return absl::OkStatus();
    DoneGuard done{queue, *key};
    StatusOr<Result> result = co_await WithTimeout(clock, deadline, "reconcile", reconcile(*key));
    if (!result.ok()) {
      queue.AddRateLimited(*key);
      Log(Severity::kWarning, "Reconcile failed, will retry",
          {{"key", *key}, {"failures", queue.Failures(*key)}, {"err", result.status()}});
    } else {
      queue.Forget(*key);
      if (result->requeue_after) queue.AddAfter(*key, *result->requeue_after);
    }
  }
}

}  // namespace

Task<Status> RunWorkers(Clock& clock, WorkQueue& queue, RunnerOptions options, Reconcile reconcile) {
  TaskGroup workers(co_await asio::this_coro::executor);
  for (int i = 0; i < options.workers; ++i) {
    workers.Spawn("worker", Work(clock, queue, options.deadline, reconcile));
  }
  co_return co_await workers.Join();
}

}  // namespace vck::flow
