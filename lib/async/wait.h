// The primitives that coroutines wait on: Waiter (one-shot), Event (level), Signal (edge). One thread; not thread-safe.
#pragma once

#include <list>
#include <optional>

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/cancellation_signal.hpp>

#include "async/task.h"

namespace vck {

// One coroutine waits, somebody wakes it. Must outlive the wait. Not movable.
class Waiter {
 public:
  Waiter() = default;
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;
  ~Waiter();

  // Returns once Wake() was called, at once if it was called before. Throws operation_aborted when cancelled.
  Task<> Wait();
  // Resumes the waiter through the executor (never inline). Further calls change nothing.
  void Wake();
  [[nodiscard]] bool woken() const { return woken_; }

 private:
  void Complete(ErrorCode ec);

  std::optional<Executor> executor_;
  asio::any_completion_handler<void(ErrorCode)> handler_;
  asio::cancellation_slot slot_;
  bool woken_ = false;
};

// Wakes all that wait now, and nobody who comes later.
class Signal {
 public:
  Signal() = default;
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;

  Task<> Wait();
  void NotifyAll();
  // Wakes the one that waits longest; false if nobody waits.
  bool NotifyOne();
  [[nodiscard]] bool has_waiters() const { return !waiters_.empty(); }

 private:
  std::list<Waiter*> waiters_;
};

// A condition that is set or not; Wait() returns while it is set.
class Event {
 public:
  void Set() {
    set_ = true;
    signal_.NotifyAll();
  }
  void Reset() { set_ = false; }
  [[nodiscard]] bool IsSet() const { return set_; }
  Task<> Wait();

 private:
  bool set_ = false;
  Signal signal_;
};

// Suspends and goes to the back of the ready queue: long loops call it to let others run.
Task<> Yield();

}  // namespace vck
