// Blocking or CPU-heavy work on a thread pool, as something to await.
#pragma once

#include <exception>
#include <optional>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include "async/task.h"
#include "async/wait.h"

namespace vck {

// Runs `fn` on the pool and returns its result on the caller's executor. `fn` may touch only what it owns. It cannot be
// stopped: a cancelled caller still waits for it, then unwinds.
template <class Fn>
Task<std::invoke_result_t<Fn>> Offload(asio::thread_pool& pool, Fn fn) {
  using Result = std::invoke_result_t<Fn>;
  auto executor = co_await asio::this_coro::executor;
  Waiter done;
  std::optional<Result> result;
  std::exception_ptr exception;
  // The loop must not run dry while the pool works for it.
  auto keep = asio::require(executor, asio::execution::outstanding_work.tracked);
  asio::post(pool, [&, keep]() mutable {
    try {
      result.emplace(fn());
    } catch (...) {
      exception = std::current_exception();
    }
    asio::post(keep, [&done] { done.Wake(); });
  });
  bool aborted = false;
  try {
    co_await done.Wait();
  } catch (const boost::system::system_error&) {
    aborted = true;
  }
  if (aborted) {
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    co_await done.Wait();
    co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
    ThrowCancelled();
  }
  if (exception) std::rethrow_exception(exception);
  co_return std::move(*result);
}

}  // namespace vck
