#include "async/limiter.h"

#include <algorithm>

namespace vck {

Limiter::Permit& Limiter::Permit::operator=(Permit&& other) noexcept {
  if (this != &other) {
    Release();
    owner_ = std::exchange(other.owner_, nullptr);
  }
  return *this;
}

void Limiter::Permit::Release() {
  if (owner_ != nullptr) std::exchange(owner_, nullptr)->Put();
}

Task<Limiter::Permit> Limiter::Acquire(Priority priority) {
  if (free_ > 0) {
    --free_;
    co_return Permit(this);
  }
  auto& queue = queues_[priority == Priority::kHigh ? 0 : 1];
  Waiter waiter;
  auto it = queue.insert(queue.end(), &waiter);
  bool aborted = false;
  try {
    co_await waiter.Wait();
  } catch (const boost::system::system_error&) {
    aborted = true;
  }
  // Put() takes the entry out and hands its place over: a waiter that was woken owns one, cancelled or not.
  if (!waiter.woken()) queue.erase(it);
  if (aborted) {
    if (waiter.woken()) Put();
    ThrowCancelled();
  }
  co_return Permit(this);
}

void Limiter::Put() {
  for (auto& queue : queues_) {
    if (queue.empty()) continue;
    Waiter* next = queue.front();
    queue.pop_front();
    next->Wake();
    return;
  }
  ++free_;
}

RateLimiter::RateLimiter(Clock& clock, double per_second, double burst)
    : clock_(clock), per_second_(per_second), burst_(std::max(1.0, burst)), tokens_(burst_), last_(clock.Now()) {}

absl::Duration RateLimiter::Reserve() {
  if (per_second_ <= 0) return absl::ZeroDuration();
  Instant now = clock_.Now();
  tokens_ = std::min(burst_, tokens_ + absl::ToDoubleSeconds(now - last_) * per_second_);
  last_ = now;
  tokens_ -= 1;
  return tokens_ >= 0 ? absl::ZeroDuration() : absl::Seconds(-tokens_ / per_second_);
}

Task<> RateLimiter::Acquire() {
  absl::Duration wait = Reserve();
  if (wait > absl::ZeroDuration()) co_await clock_.Sleep(wait);
}

}  // namespace vck
