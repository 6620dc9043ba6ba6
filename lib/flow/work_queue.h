// WorkQueue: keys that need a look. client-go's semantics: a key is queued at most once, never handed to two workers at
// a time, and one that is added while it is worked on comes back afterwards, behind all others.
#pragma once

#include <deque>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "async/backoff.h"
#include "async/clock.h"
#include "async/limiter.h"
#include "async/wait.h"
#include "metrics/metrics.h"

namespace vck::flow {

struct WorkQueueOptions {
  std::string name;  // label of the metrics
  BackoffPolicy backoff{.initial = absl::Milliseconds(50), .max = absl::Minutes(2), .factor = 2, .jitter = 0.2};
  double retries_per_second = 50;  // over all keys, with this burst
  double retry_burst = 500;
};

class WorkQueue {
 public:
  WorkQueue(Clock& clock, metrics::Registry& registry, WorkQueueOptions options);

  // Queues `key` now. A pending delayed add of it is dropped: the look happens sooner.
  void Add(const std::string& key);
  // Queues `key` after `delay`; of several delayed adds the earliest counts.
  void AddAfter(const std::string& key, absl::Duration delay);
  // Queues a failed key after its own backoff, and under the overall limit.
  void AddRateLimited(const std::string& key);
  // The key succeeded: its backoff starts anew.
  void Forget(const std::string& key);
  [[nodiscard]] int Failures(const std::string& key) const;

  // The next key; nothing after ShutDown() when the queue is empty. Done(key) must follow.
  Task<std::optional<std::string>> Get();
  void Done(const std::string& key);
  // Adds are ignored from now on; what is queued is still handed out, delayed adds are dropped.
  void ShutDown();

  [[nodiscard]] size_t depth() const { return queue_.size(); }
  [[nodiscard]] size_t processing() const { return processing_.size(); }
  [[nodiscard]] size_t delayed() const { return delayed_.size(); }

 private:
  struct Delayed {
    Instant when;
    Clock::Timer timer;
  };
  void Push(const std::string& key);
  [[nodiscard]] double UnfinishedSeconds() const;
  [[nodiscard]] double LongestRunningSeconds() const;

  Clock& clock_;
  WorkQueueOptions options_;
  RateLimiter retry_limit_;
  uint64_t jitter_state_;
  std::deque<std::string> queue_;
  absl::flat_hash_map<std::string, Instant> dirty_;       // waiting to be worked on, since when
  absl::flat_hash_map<std::string, Instant> processing_;  // being worked on, since when
  absl::flat_hash_map<std::string, Delayed> delayed_;
  absl::flat_hash_map<std::string, int> failures_;
  Signal ready_;
  bool shut_down_ = false;

  metrics::Counter& adds_;
  metrics::Counter& retries_;
  metrics::Histogram& queue_duration_;
  metrics::Histogram& work_duration_;
};

}  // namespace vck::flow
