// Runs coroutines in a test on fake time.
#pragma once

#include <exception>
#include <functional>
#include <optional>
#include <utility>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "async/clock.h"
#include "async/task.h"
#include "gtest/gtest.h"

namespace vck::testing {

// An io_context and a FakeClock. Run() drives one task to its end, moving time on whenever everything waits.
class Loop {
 public:
  asio::io_context& context() { return context_; }
  Executor executor() { return context_.get_executor(); }
  FakeClock& clock() { return clock_; }

  // Runs what is ready, without moving time.
  void RunReady() {
    context_.restart();
    while (context_.poll() > 0) {
    }
  }
  // Lets `d` of fake time pass, in steps from one timer to the next, running what wakes up.
  void Advance(absl::Duration d) {
    RunReady();
    Instant end = clock_.Now() + d;
    while (clock_.Now() + clock_.UntilNext() <= end) {
      clock_.Advance(clock_.UntilNext());
      RunReady();
    }
    clock_.Advance(end - clock_.Now());
    RunReady();
  }
  // Runs `task` to its end; time moves on by itself, to `limit` at most. Fails the test if it does not end.
  template <class T>
  T Run(Task<T> task, absl::Duration limit = absl::Hours(24)) {
    std::exception_ptr exception;
    bool done = false;
    Instant end = clock_.Now() + limit;
    auto drive = [&] {
      RunReady();
      while (!done && clock_.Now() + clock_.UntilNext() <= end && clock_.UntilNext() < absl::InfiniteDuration()) {
        clock_.Advance(clock_.UntilNext());
        RunReady();
      }
      if (!done) {
        ADD_FAILURE() << "the task still waits, and no timer would wake it";
        std::abort();
      }
      if (exception) std::rethrow_exception(exception);
    };
    if constexpr (std::is_void_v<T>) {
      asio::co_spawn(context_, std::move(task), [&](std::exception_ptr e) { exception = e, done = true; });
      drive();
    } else {
      std::optional<T> value;
      asio::co_spawn(context_, std::move(task), [&](std::exception_ptr e, T v) {
        exception = e, done = true;
        if (!e) value.emplace(std::move(v));
      });
      drive();
      return std::move(*value);
    }
  }

 private:
  asio::io_context context_;
  FakeClock clock_;
};

}  // namespace vck::testing
