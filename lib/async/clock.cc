#include "async/clock.h"

#include <chrono>
#include <vector>

#include <boost/asio/basic_waitable_timer.hpp>

#include "absl/time/clock.h"
#include "async/wait.h"

namespace vck {

Clock::Timer& Clock::Timer::operator=(Timer&& other) noexcept {
  if (this != &other) {
    Cancel();
    clock_ = std::exchange(other.clock_, nullptr);
    key_ = other.key_;
  }
  return *this;
}

void Clock::Timer::Cancel() {
  if (clock_ == nullptr) return;
  // The kernel's timer is left as it is: a wake-up too many costs less than resetting it at every cancel.
  clock_->pending_.erase(key_);
  clock_ = nullptr;
}

Clock::Timer Clock::Schedule(Instant when, absl::AnyInvocable<void()> fn) {
  Instant before = Earliest();
  std::pair<Instant, uint64_t> key{when, next_++};
  pending_.emplace(key, std::move(fn));
  if (when < before) Rearm(when);
  return {this, key};
}

Task<> Clock::SleepUntil(Instant when) {
  Waiter waiter;
  Timer timer = Schedule(when, [&waiter] { waiter.Wake(); });
  co_await waiter.Wait();
}

void Clock::Fire(Instant now) {
  while (!pending_.empty() && pending_.begin()->first.first <= now) {
    auto node = pending_.extract(pending_.begin());
    node.mapped()();
  }
}

struct RealClock::Impl {
  explicit Impl(Executor executor, RealClock* owner) : timer(executor), clock(owner) {}
  asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor> timer;
  RealClock* clock;  // null once the clock is gone
  Instant armed = Instant::Never();
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
};

RealClock::RealClock(Executor executor) : impl_(std::make_shared<Impl>(executor, this)) {}
RealClock::~RealClock() { impl_->clock = nullptr; }

Instant RealClock::Now() const { return {absl::FromChrono(std::chrono::steady_clock::now() - impl_->start)}; }

absl::Time RealClock::WallNow() const { return absl::Now(); }

void RealClock::Rearm(Instant earliest) {
  if (earliest == Instant::Never()) return;
  impl_->armed = earliest;
  // Rounded up: a timer that fires a moment early would only be armed again.
  auto since = absl::ToChronoNanoseconds(absl::Ceil(earliest.since_start, absl::Milliseconds(1)));
  impl_->timer.expires_at(impl_->start + since);
  impl_->timer.async_wait([impl = impl_](ErrorCode ec) {
    if (ec || impl->clock == nullptr) return;
    impl->armed = Instant::Never();
    RealClock* clock = impl->clock;
    clock->Fire(clock->Now());
    // A callback may have armed it for its own sake; the earliest of all counts.
    if (impl->clock != nullptr && clock->Earliest() < impl->armed) clock->Rearm(clock->Earliest());
  });
}

absl::Time FakeClock::WallNow() const { return absl::FromUnixSeconds(1767225600) + now_.since_start; }

void FakeClock::Advance(absl::Duration d) {
  Instant target = now_ + d;
  while (Earliest() <= target) {
    now_ = std::max(now_, Earliest());
    Fire(now_);
  }
  now_ = target;
}

}  // namespace vck
