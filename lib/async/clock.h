// Time is injected: all waits go through a Clock, and tests advance a fake one.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "async/task.h"

namespace vck {

// A point of monotonic time; comparable only with others of the same Clock.
struct Instant {
  absl::Duration since_start;
  friend auto operator<=>(const Instant&, const Instant&) = default;
  friend Instant operator+(Instant t, absl::Duration d) { return {t.since_start + d}; }
  friend Instant operator-(Instant t, absl::Duration d) { return {t.since_start - d}; }
  friend absl::Duration operator-(Instant a, Instant b) { return a.since_start - b.since_start; }
  static constexpr Instant Never() { return {absl::InfiniteDuration()}; }
};

class Clock {
 public:
  // Owns one pending callback; destruction cancels it. Must not outlive the Clock.
  class Timer {
   public:
    Timer() = default;
    Timer(Timer&& other) noexcept : clock_(std::exchange(other.clock_, nullptr)), key_(other.key_) {}
    Timer& operator=(Timer&& other) noexcept;
    ~Timer() { Cancel(); }
    void Cancel();
    [[nodiscard]] bool armed() const { return clock_ != nullptr && clock_->pending_.contains(key_); }

   private:
    friend class Clock;
    Timer(Clock* clock, std::pair<Instant, uint64_t> key) : clock_(clock), key_(key) {}
    Clock* clock_ = nullptr;
    std::pair<Instant, uint64_t> key_;
  };

  virtual ~Clock() = default;
  [[nodiscard]] virtual Instant Now() const = 0;
  // For stamps only, never for waits.
  [[nodiscard]] virtual absl::Time WallNow() const = 0;

  // Calls `fn` on the executor at `when` or soon after, never inline. Equal times run in order of scheduling.
  [[nodiscard]] Timer Schedule(Instant when, absl::AnyInvocable<void()> fn);
  // Throws operation_aborted when cancelled. Past times return after one turn of the loop.
  Task<> SleepUntil(Instant when);
  Task<> Sleep(absl::Duration d) { return SleepUntil(Now() + d); }

 protected:
  // The earliest pending time changed (Never: nothing is pending).
  virtual void Rearm(Instant earliest) = 0;
  // Runs what is due at `now`.
  void Fire(Instant now);
  [[nodiscard]] Instant Earliest() const { return pending_.empty() ? Instant::Never() : pending_.begin()->first.first; }

 private:
  std::map<std::pair<Instant, uint64_t>, absl::AnyInvocable<void()>> pending_;
  uint64_t next_ = 0;
};

// The system's clocks, on an io_context, with a single timer of the kernel's however many sleepers there are.
class RealClock : public Clock {
 public:
  explicit RealClock(Executor executor);
  ~RealClock() override;
  [[nodiscard]] Instant Now() const override;
  [[nodiscard]] absl::Time WallNow() const override;

 protected:
  void Rearm(Instant earliest) override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// Time that stands still until Advance(). Wall time starts at 2026-01-01T00:00:00Z and moves along.
class FakeClock : public Clock {
 public:
  [[nodiscard]] Instant Now() const override { return now_; }
  [[nodiscard]] absl::Time WallNow() const override;
  // Moves on by `d`, firing what falls due, each at its own time. Callbacks run inline here; coroutines resume when the
  // io_context runs (see test/support/loop.h, which does both).
  void Advance(absl::Duration d);
  // Time until the next callback; infinite if there is none.
  [[nodiscard]] absl::Duration UntilNext() const { return Earliest() - now_; }

 protected:
  void Rearm(Instant) override {}

 private:
  Instant now_{absl::ZeroDuration()};
};

}  // namespace vck
