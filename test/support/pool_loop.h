// Runs coroutines that use Offload in a test on fake time: time stands still while the pool works.
#pragma once

#include <exception>
#include <functional>
#include <future>
#include <optional>
#include <utility>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include "async/clock.h"
#include "async/task.h"
#include "gtest/gtest.h"

namespace vck::testing {

class PoolLoop {
 public:
  PoolLoop() : pool_(1) {}
  asio::io_context& context() { return context_; }
  Executor executor() { return context_.get_executor(); }
  FakeClock& clock() { return clock_; }
  asio::thread_pool& pool() { return pool_; }  // one thread

  // Pools of others that are waited for, too: `fence` returns when all that was posted before has been done.
  void AddFence(std::function<void()> fence) { fences_.push_back(std::move(fence)); }

  // Runs what is ready, and what the pool makes ready, without moving time.
  void RunReady() {
    while (true) {
      context_.restart();
      size_t ran = 0;
      while (context_.poll() > 0) ++ran;
      Fence(pool_);
      for (const auto& fence : fences_) fence();
      context_.restart();
      if (context_.poll() == 0 && ran == 0) return;
    }
  }
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
  // Runs `task` to its end; time moves on by itself, to `limit` at most.
  template <class T>
  T Run(Task<T> task, absl::Duration limit = absl::Hours(24)) {
    std::exception_ptr exception;
    std::optional<T> value;
    bool done = false;
    asio::co_spawn(context_, std::move(task), [&](std::exception_ptr e, T v) {
      exception = e, done = true;
      if (!e) value.emplace(std::move(v));
    });
    Instant end = clock_.Now() + limit;
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
    return std::move(*value);
  }

  static void Fence(asio::thread_pool& pool) {
    std::promise<void> reached;
    asio::post(pool, [&reached] { reached.set_value(); });
    reached.get_future().wait();
  }

 private:
  asio::io_context context_;
  FakeClock clock_;
  asio::thread_pool pool_;
  std::vector<std::function<void()>> fences_;
};

}  // namespace vck::testing
