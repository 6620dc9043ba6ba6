#include "flow/work_queue.h"

#include <algorithm>

namespace vck::flow {

// Names and meanings: k8s.io/component-base/metrics/prometheus/workqueue.
WorkQueue::WorkQueue(Clock& clock, metrics::Registry& registry, WorkQueueOptions options)
    : clock_(clock),
      options_(std::move(options)),
      retry_limit_(clock, options_.retries_per_second, options_.retry_burst),
      jitter_state_(RandomSeed()),
      adds_(registry.counter("workqueue_adds_total", "Total number of adds handled by workqueue",
                             {{"name", options_.name}})),
      retries_(registry.counter("workqueue_retries_total", "Total number of retries handled by workqueue",
                                {{"name", options_.name}})),
      queue_duration_(registry.histogram("workqueue_queue_duration_seconds",
                                         "How long in seconds an item stays in workqueue before being requested.",
                                         metrics::WorkqueueBuckets(), {{"name", options_.name}})),
      work_duration_(registry.histogram("workqueue_work_duration_seconds",
                                        "How long in seconds processing an item from workqueue takes.",
                                        metrics::WorkqueueBuckets(), {{"name", options_.name}})) {
  metrics::Labels labels{{"name", options_.name}};
  registry.callback("workqueue_depth", "Current depth of workqueue", labels, false,
                    [this] { return static_cast<double>(queue_.size()); });
  registry.callback("workqueue_unfinished_work_seconds",
                    "How many seconds of work has done that is in progress and hasn't been observed by work_duration.",
                    labels, false, [this] { return UnfinishedSeconds(); });
  registry.callback("workqueue_longest_running_processor_seconds",
                    "How many seconds has the longest running processor for workqueue been running.", labels, false,
                    [this] { return LongestRunningSeconds(); });
}

void WorkQueue::Add(const std::string& key) {
  if (shut_down_) return;
  delayed_.erase(key);
  if (!dirty_.emplace(key, clock_.Now()).second) return;
  adds_.Increment();
  if (!processing_.contains(key)) Push(key);
}

void WorkQueue::Push(const std::string& key) {
  queue_.push_back(key);
  ready_.NotifyOne();
}

void WorkQueue::AddAfter(const std::string& key, absl::Duration delay) {
  if (shut_down_) return;
  if (delay <= absl::ZeroDuration()) return Add(key);
  Instant when = clock_.Now() + delay;
  auto [it, inserted] = delayed_.try_emplace(key);
  if (!inserted && it->second.when <= when) return;
  it->second.when = when;
  // A copy: Add() erases the entry that owns this callback.
  it->second.timer = clock_.Schedule(when, [this, key] { Add(std::string(key)); });
}

void WorkQueue::AddRateLimited(const std::string& key) {
  if (shut_down_) return;
  retries_.Increment();
  int failures = ++failures_[key];
  absl::Duration own = Backoff::Delay(options_.backoff, failures);
  own *= 1.0 - options_.backoff.jitter + 2.0 * options_.backoff.jitter * NextRandom(jitter_state_);
  AddAfter(key, std::max(own, retry_limit_.Reserve()));
}

void WorkQueue::Forget(const std::string& key) { failures_.erase(key); }

int WorkQueue::Failures(const std::string& key) const {
  auto it = failures_.find(key);
  return it == failures_.end() ? 0 : it->second;
}

Task<std::optional<std::string>> WorkQueue::Get() {
  while (queue_.empty()) {
    if (shut_down_) co_return std::nullopt;
    co_await ready_.Wait();
  }
  std::string key = std::move(queue_.front());
  queue_.pop_front();
  // A worker that was woken may have been cancelled, or come late: pass the wake-up on.
  if (!queue_.empty()) ready_.NotifyOne();
  auto it = dirty_.find(key);
  Instant now = clock_.Now();
  queue_duration_.Observe(absl::ToDoubleSeconds(now - it->second));
  dirty_.erase(it);
  processing_.emplace(key, now);
  co_return key;
}

void WorkQueue::Done(const std::string& key) {
  auto it = processing_.find(key);
  if (it == processing_.end()) return;
  work_duration_.Observe(absl::ToDoubleSeconds(clock_.Now() - it->second));
  processing_.erase(it);
  if (dirty_.contains(key)) Push(key);
}

void WorkQueue::ShutDown() {
  shut_down_ = true;
  delayed_.clear();
  ready_.NotifyAll();
}

double WorkQueue::UnfinishedSeconds() const {
  double sum = 0;
  for (const auto& [key, since] : processing_) sum += absl::ToDoubleSeconds(clock_.Now() - since);
  return sum;
}

double WorkQueue::LongestRunningSeconds() const {
  double longest = 0;
  for (const auto& [key, since] : processing_) {
    longest = std::max(longest, absl::ToDoubleSeconds(clock_.Now() - since));
  }
  return longest;
}

}  // namespace vck::flow
