#include <map>
#include <set>
#include <string>
#include <vector>

#include "async/task_group.h"
#include "flow/runner.h"
#include "flow/store.h"
#include "flow/work_queue.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/loop.h"

namespace vck::flow {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;
using vck::testing::Loop;

std::shared_ptr<const int> Int(int i) { return std::make_shared<const int>(i); }

TEST(Store, ReplaceIsAtomicForSubscribersAndTellsWhatChanged) {
  Store<std::string, int> store;
  std::vector<std::string> told;
  std::vector<size_t> sizes;
  store.Subscribe([&](const std::string& key) {
    told.push_back(key);
    sizes.push_back(store.size());
  });
  store.Put("a", Int(1));
  store.Put("b", Int(2));
  store.Put("c", Int(3));
  EXPECT_FALSE(store.Synced());
  told.clear();
  sizes.clear();
  auto same = [](const int& x, const int& y) { return x == y; };
  store.Replace({{"a", Int(1)}, {"b", Int(20)}, {"d", Int(4)}}, same);
  EXPECT_THAT(told, UnorderedElementsAre("b", "c", "d"));
  EXPECT_THAT(sizes, ElementsAre(3, 3, 3)) << "a subscriber saw a half-made set";
  EXPECT_TRUE(store.Synced());
  EXPECT_EQ(*store.Get("b"), 20);
  EXPECT_EQ(store.Get("c"), nullptr);
}

TEST(Store, ErasingWhatIsNotThereTellsNobody) {
  Store<std::string, int> store;
  int told = 0;
  store.Subscribe([&](const std::string&) { ++told; });
  store.Erase("x");
  EXPECT_EQ(told, 0);
}

class QueueTest : public ::testing::Test {
 protected:
  std::string Next() {
    auto key = loop.Run(queue.Get());
    return key ? *key : "(shut down)";
  }
  Loop loop;
  metrics::Registry registry;
  WorkQueue queue{loop.clock(),
                  registry,
                  {.name = "test", .backoff = {.initial = absl::Seconds(1), .max = absl::Seconds(8), .jitter = 0}}};
};

TEST_F(QueueTest, DedupesWhatWaits) {
  queue.Add("a");
  queue.Add("b");
  queue.Add("a");
  EXPECT_EQ(queue.depth(), 2u);
  EXPECT_EQ(Next(), "a");
  EXPECT_EQ(Next(), "b");
}

TEST_F(QueueTest, KeyAddedWhileProcessedComesBackOnceAndBehindOthers) {
  queue.Add("hot");
  EXPECT_EQ(Next(), "hot");
  queue.Add("hot");
  queue.Add("hot");
  queue.Add("cold");
  EXPECT_EQ(queue.depth(), 1u) << "a key in work must not be handed out again";
  queue.Done("hot");
  EXPECT_EQ(Next(), "cold");
  EXPECT_EQ(Next(), "hot");
  queue.Done("hot");
  EXPECT_EQ(queue.depth(), 0u);
}

TEST_F(QueueTest, EarliestDelayedAddCounts) {
  queue.AddAfter("a", absl::Seconds(10));
  queue.AddAfter("a", absl::Seconds(3));
  queue.AddAfter("a", absl::Seconds(7));
  EXPECT_EQ(Next(), "a");
  EXPECT_EQ(loop.clock().Now().since_start, absl::Seconds(3));
  queue.Done("a");
  loop.Advance(absl::Seconds(20));
  EXPECT_EQ(queue.depth(), 0u);
}

TEST_F(QueueTest, PlainAddOvertakesADelayedOne) {
  queue.AddAfter("a", absl::Seconds(10));
  queue.Add("a");
  EXPECT_EQ(Next(), "a");
  EXPECT_EQ(queue.delayed(), 0u);
}

TEST_F(QueueTest, BackoffGrowsPerKeyAndForgets) {
  std::vector<absl::Duration> waits;
  for (int i = 0; i < 5; ++i) {
    Instant before = loop.clock().Now();
    queue.AddRateLimited("a");
    EXPECT_EQ(Next(), "a");
    waits.push_back(loop.clock().Now() - before);
    queue.Done("a");
  }
  EXPECT_THAT(waits,
              ElementsAre(absl::Seconds(1), absl::Seconds(2), absl::Seconds(4), absl::Seconds(8), absl::Seconds(8)));
  EXPECT_EQ(queue.Failures("a"), 5);
  queue.Forget("a");
  EXPECT_EQ(queue.Failures("a"), 0);
}

TEST_F(QueueTest, RetriesOfAllKeysTogetherAreLimited) {
  WorkQueue slow(loop.clock(), registry,
                 {.name = "slow",
                  .backoff = {.initial = absl::Milliseconds(1), .jitter = 0},
                  .retries_per_second = 10,
                  .retry_burst = 1});
  for (int i = 0; i < 11; ++i) slow.AddRateLimited("k" + std::to_string(i));
  loop.Advance(absl::Milliseconds(999));
  EXPECT_EQ(slow.depth(), 10u);
  loop.Advance(absl::Milliseconds(2));
  EXPECT_EQ(slow.depth(), 11u);
}

TEST_F(QueueTest, ShutDownHandsOutWhatIsQueuedThenEnds) {
  queue.Add("a");
  queue.AddAfter("b", absl::Seconds(1));
  queue.ShutDown();
  queue.Add("c");
  EXPECT_EQ(Next(), "a");
  EXPECT_EQ(Next(), "(shut down)");
}

TEST_F(QueueTest, MetricsHaveClientGosNames) {
  queue.Add("a");
  std::string text = registry.Text();
  for (const char* name :
       {"workqueue_depth{name=\"test\"} 1", "workqueue_adds_total{name=\"test\"} 1",
        "workqueue_queue_duration_seconds_count{name=\"test\"} 0",
        "workqueue_work_duration_seconds_count{name=\"test\"} 0", "workqueue_unfinished_work_seconds{name=\"test\"} 0",
        "workqueue_longest_running_processor_seconds{name=\"test\"} 0", "workqueue_retries_total{name=\"test\"} 0"}) {
    EXPECT_THAT(text, ::testing::HasSubstr(name));
  }
}

struct Trace {
  std::map<std::string, int> running;
  std::multiset<std::string> runs;
  int most = 0;
  int now = 0;
  bool overlapped = false;
};

TEST_F(QueueTest, RunnerNeverRunsOneKeyTwiceAtATime) {
  Trace trace;
  Reconcile reconcile = [&](std::string key) {
    return [](Trace& t, Clock& clock, std::string k) -> Task<StatusOr<Result>> {
      if (++t.running[k] > 1) t.overlapped = true;
      t.most = std::max(t.most, ++t.now);
      t.runs.insert(k);
      co_await clock.Sleep(absl::Seconds(1));
      --t.now;
      --t.running[k];
      co_return Result{};
    }(trace, loop.clock(), std::move(key));
  };
  TaskGroup group(loop.executor());
  group.Spawn("runner", RunWorkers(loop.clock(), queue, {.workers = 3}, reconcile));
  for (int round = 0; round < 4; ++round) {
    for (const char* key : {"a", "b", "c", "d", "e"}) queue.Add(key);
    loop.Advance(absl::Milliseconds(500));
  }
  loop.Advance(absl::Seconds(30));
  queue.ShutDown();
  EXPECT_TRUE(loop.Run(group.Join()).ok());
  EXPECT_FALSE(trace.overlapped);
  EXPECT_EQ(trace.most, 3);
  for (const char* key : {"a", "b", "c", "d", "e"}) EXPECT_GE(trace.runs.count(key), 2u) << key;
}

TEST_F(QueueTest, RunnerRetriesForeverAndResetsOnSuccess) {
  int calls = 0;
  Reconcile reconcile = [&](std::string) {
    return [](int* n) -> Task<StatusOr<Result>> {
      if (++*n < 30) co_return absl::UnavailableError("not yet");
      co_return Result{.requeue_after = absl::Hours(1)};
    }(&calls);
  };
  TaskGroup group(loop.executor());
  group.Spawn("runner", RunWorkers(loop.clock(), queue, {.workers = 1}, reconcile));
  queue.Add("a");
  loop.Advance(absl::Minutes(10));
  EXPECT_EQ(calls, 30);
  EXPECT_EQ(queue.Failures("a"), 0);
  loop.Advance(absl::Hours(1));
  EXPECT_EQ(calls, 31);
  group.Cancel();
  EXPECT_TRUE(loop.Run(group.Join()).ok());
}

TEST_F(QueueTest, RunnerCancelsAReconcileThatHangs) {
  int calls = 0;
  Reconcile reconcile = [&](std::string) {
    return [](int* n, Clock& clock) -> Task<StatusOr<Result>> {
      ++*n;
      co_await clock.Sleep(absl::Hours(100));
      co_return Result{};
    }(&calls, loop.clock());
  };
  TaskGroup group(loop.executor());
  group.Spawn("runner", RunWorkers(loop.clock(), queue, {.workers = 1, .deadline = absl::Minutes(1)}, reconcile));
  queue.Add("a");
  loop.Advance(absl::Minutes(3));
  EXPECT_GE(calls, 2);
  group.Cancel();
  EXPECT_TRUE(loop.Run(group.Join()).ok());
}

}  // namespace
}  // namespace vck::flow
