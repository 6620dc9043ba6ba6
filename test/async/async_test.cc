#include <string>
#include <vector>

#include "async/backoff.h"
#include "async/clock.h"
#include "async/limiter.h"
#include "async/offload.h"
#include "async/task_group.h"
#include "async/timeout.h"
#include "gtest/gtest.h"
#include "support/loop.h"

namespace vck {
namespace {

using testing::Loop;

Task<Status> SleepThen(Clock& clock, absl::Duration d, Status result, std::vector<std::string>* log, std::string name) {
  try {
    co_await clock.Sleep(d);
    log->push_back(name + " done");
  } catch (const boost::system::system_error& e) {
    log->push_back(name + " cancelled");
    throw;
  }
  co_return result;
}

TEST(TaskGroup, FirstFailureCancelsSiblings) {
  Loop loop;
  TaskGroup group(loop.executor());
  std::vector<std::string> log;
  group.Spawn("a", SleepThen(loop.clock(), absl::Seconds(1), absl::InternalError("broken"), &log, "a"));
  group.Spawn("b", SleepThen(loop.clock(), absl::Seconds(9), absl::OkStatus(), &log, "b"));
  Status status = loop.Run(group.Join());
  EXPECT_EQ(status, absl::InternalError("a: broken"));
  EXPECT_EQ(log, (std::vector<std::string>{"a done", "b cancelled"}));
  EXPECT_EQ(loop.clock().Now().since_start, absl::Seconds(1));
}

TEST(TaskGroup, CancelledJoinStillWaitsForChildren) {
  Loop loop;
  TaskGroup inner(loop.executor());
  TaskGroup outer(loop.executor());
  std::vector<std::string> log;
  inner.Spawn("a", SleepThen(loop.clock(), absl::Hours(1), absl::OkStatus(), &log, "a"));
  outer.Spawn("join", inner.Join());
  loop.RunReady();
  outer.Cancel();
  EXPECT_EQ(loop.Run(outer.Join()), absl::OkStatus());
  EXPECT_EQ(inner.size(), 0u);
  EXPECT_EQ(log, (std::vector<std::string>{"a cancelled"}));
}

TEST(TaskGroup, SpawnAfterCancelIsCancelled) {
  Loop loop;
  TaskGroup group(loop.executor());
  std::vector<std::string> log;
  group.Cancel();
  group.Spawn("a", SleepThen(loop.clock(), absl::Hours(1), absl::OkStatus(), &log, "a"));
  EXPECT_EQ(loop.Run(group.Join()), absl::OkStatus());
  EXPECT_EQ(loop.clock().Now().since_start, absl::ZeroDuration());
}

Task<Status> Throws() {
  throw std::runtime_error("bug");
  co_return absl::OkStatus();
}

// Asio looks at what has been cancelled when something is awaited, and the last thing that co_spawn awaits, after a
// task that never waited, is outside of every handler: without ShieldEnd the exception comes out of the io_context.
Task<> CancelsItsGroup(TaskGroup& group) {
  group.Cancel();
  co_return;
}

TEST(TaskGroup, ChildThatNeverWaitsMayCancelItsGroup) {
  Loop loop;
  TaskGroup group(loop.executor());
  std::vector<std::string> log;
  group.Spawn("a", SleepThen(loop.clock(), absl::Hours(1), absl::OkStatus(), &log, "a"));
  group.Spawn("b", CancelsItsGroup(group));
  EXPECT_EQ(loop.Run(group.Join()), absl::OkStatus());
  EXPECT_EQ(log, (std::vector<std::string>{"a cancelled"}));
}

TEST(TaskGroup, ForeignExceptionReachesJoin) {
  Loop loop;
  TaskGroup group(loop.executor());
  group.Spawn("a", Throws());
  EXPECT_THROW((void)loop.Run(group.Join()), std::runtime_error);
}

TEST(WithTimeout, EndsInTimeOrNot) {
  Loop loop;
  std::vector<std::string> log;
  EXPECT_EQ(loop.Run(WithTimeout(loop.clock(), absl::Seconds(2), "x",
                                 SleepThen(loop.clock(), absl::Seconds(1), absl::OkStatus(), &log, "a"))),
            absl::OkStatus());
  Status late = loop.Run(WithTimeout(loop.clock(), absl::Seconds(2), "x",
                                     SleepThen(loop.clock(), absl::Seconds(3), absl::OkStatus(), &log, "b")));
  EXPECT_EQ(late, absl::DeadlineExceededError("x took longer than 2s"));
  EXPECT_EQ(log, (std::vector<std::string>{"a done", "b cancelled"}));
}

TEST(WithTimeout, CallersCancelUnwindsAndAllowsCleanUp) {
  Loop loop;
  TaskGroup group(loop.executor());
  bool cleaned = false;
  std::vector<std::string> log;
  auto body = [](Clock& clock, bool* done, std::vector<std::string>* entries) -> Task<Status> {
    bool aborted = false;
    try {
      (void)co_await WithTimeout(clock, absl::Hours(1), "x",
                                 SleepThen(clock, absl::Hours(2), absl::OkStatus(), entries, "c"));
    } catch (const boost::system::system_error&) {
      aborted = true;
    }
    if (aborted) {
      co_await asio::this_coro::reset_cancellation_state();
      co_await clock.Sleep(absl::Seconds(5));
      *done = true;
    }
    co_return absl::OkStatus();
  };
  group.Spawn("body", body(loop.clock(), &cleaned, &log));
  loop.RunReady();
  group.Cancel();
  EXPECT_EQ(loop.Run(group.Join()), absl::OkStatus());
  EXPECT_TRUE(cleaned);
  EXPECT_EQ(loop.clock().Now().since_start, absl::Seconds(5));
}

TEST(Limiter, HighPriorityFirstAndCancelledWaitersLeave) {
  Loop loop;
  Limiter limiter(1);
  std::vector<std::string> log;
  TaskGroup group(loop.executor());
  auto use = [](Limiter& l, Clock& clock, Limiter::Priority p, std::string name,
                std::vector<std::string>* entries) -> Task<> {
    auto permit = co_await l.Acquire(p);
    entries->push_back(name);
    co_await clock.Sleep(absl::Seconds(1));
  };
  group.Spawn("1", use(limiter, loop.clock(), Limiter::Priority::kNormal, "first", &log));
  loop.RunReady();
  group.Spawn("2", use(limiter, loop.clock(), Limiter::Priority::kNormal, "normal", &log));
  loop.RunReady();
  group.Spawn("3", use(limiter, loop.clock(), Limiter::Priority::kHigh, "high", &log));
  loop.RunReady();
  TaskGroup doomed(loop.executor());
  doomed.Spawn("4", use(limiter, loop.clock(), Limiter::Priority::kHigh, "doomed", &log));
  loop.RunReady();
  EXPECT_EQ(limiter.waiting(), 3u);
  doomed.Cancel();
  EXPECT_EQ(loop.Run(doomed.Join()), absl::OkStatus());
  EXPECT_EQ(loop.Run(group.Join()), absl::OkStatus());
  EXPECT_EQ(log, (std::vector<std::string>{"first", "high", "normal"}));
  EXPECT_EQ(limiter.free(), 1);
}

TEST(RateLimiter, BurstThenSteady) {
  Loop loop;
  RateLimiter limiter(loop.clock(), 10, 2);
  for (int i = 0; i < 7; ++i) loop.Run(limiter.Acquire());
  EXPECT_EQ(loop.clock().Now().since_start, absl::Milliseconds(500));
}

TEST(Backoff, GrowsToItsCapAndStartsAgain) {
  Backoff backoff({.initial = absl::Seconds(1), .max = absl::Seconds(5), .factor = 2, .jitter = 0}, 1);
  std::vector<absl::Duration> delays;
  for (int i = 0; i < 100; ++i) delays.push_back(backoff.Next());
  EXPECT_EQ(delays[0], absl::Seconds(1));
  EXPECT_EQ(delays[2], absl::Seconds(4));
  EXPECT_EQ(delays[3], absl::Seconds(5));
  EXPECT_EQ(delays[99], absl::Seconds(5));
  backoff.Reset();
  EXPECT_EQ(backoff.Next(), absl::Seconds(1));
}

TEST(Offload, ReturnsOnTheLoop) {
  asio::io_context context;
  asio::thread_pool pool(1);
  int got = 0;
  asio::co_spawn(
      context,
      [](asio::thread_pool& p, int* out) -> Task<> { *out = co_await Offload(p, [] { return 42; }); }(pool, &got),
      [](std::exception_ptr e) { ASSERT_FALSE(e); });
  context.run();
  EXPECT_EQ(got, 42);
}

TEST(RealClock, SleepersWakeInOrder) {
  asio::io_context context;
  RealClock clock(context.get_executor());
  std::vector<std::string> log;
  TaskGroup group(context.get_executor());
  group.Spawn("b", SleepThen(clock, absl::Milliseconds(4), absl::OkStatus(), &log, "b"));
  group.Spawn("a", SleepThen(clock, absl::Milliseconds(1), absl::OkStatus(), &log, "a"));
  context.run();
  EXPECT_EQ(log, (std::vector<std::string>{"a done", "b done"}));
}

}  // namespace
}  // namespace vck
