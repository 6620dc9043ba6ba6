// Deadlines for tasks, and races between them.
#pragma once

#include <exception>
#include <optional>
#include <string>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>

#include "async/clock.h"
#include "async/task.h"
#include "async/wait.h"
#include "base/status.h"

namespace vck {
namespace internal {

template <class T>
struct TimedChild {
  asio::cancellation_signal signal;
  Waiter done;
  std::exception_ptr exception;
  std::optional<T> value;
};

// Runs `body`; once it has ended no cancellation reaches it. A task that ended without ever waiting is posted by
// co_spawn before its handler is called, and a cancellation that hits it there would escape from the io_context as an
// exception.
template <class T>
Task<T> ShieldEnd(Task<T> body) {
  std::exception_ptr exception;
  std::optional<T> value;
  try {
    value.emplace(co_await std::move(body));
  } catch (...) {
    exception = std::current_exception();
  }
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  if (exception) std::rethrow_exception(exception);
  co_return std::move(*value);
}

Status TimeoutError(const std::string& what, absl::Duration limit);

}  // namespace internal

// Awaits `task`. If it has not ended at `deadline` it is cancelled, waited for, and the result is DeadlineExceeded
// ("`what` took longer than …"). T is Status or StatusOr<X>. A cancel of the caller cancels the task and unwinds.
template <class T>
Task<T> WithDeadline(Clock& clock, Instant deadline, std::string what, Task<T> task) {
  internal::TimedChild<T> child;
  absl::Duration limit = deadline - clock.Now();
  bool timed_out = false;
  auto executor = co_await asio::this_coro::executor;
  asio::co_spawn(executor, internal::ShieldEnd(std::move(task)),
                 asio::bind_cancellation_slot(child.signal.slot(), [&child](std::exception_ptr e, T value) {
                   child.exception = e;
                   if (!e) child.value.emplace(std::move(value));
                   child.done.Wake();
                 }));
  bool aborted = false;
  {
    Clock::Timer timer;
    if (!child.done.woken() && deadline < Instant::Never()) {
      timer = clock.Schedule(deadline, [&child, &timed_out] {
        timed_out = true;
        child.signal.emit(asio::cancellation_type::terminal);
      });
    }
    try {
      co_await child.done.Wait();
    } catch (const boost::system::system_error& e) {
      if (!IsCancelled(e)) throw;
      aborted = true;
    }
  }
  if (aborted) {
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    child.signal.emit(asio::cancellation_type::terminal);
    co_await child.done.Wait();
    co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
    ThrowCancelled();
  }
  if (child.exception) {
    try {
      std::rethrow_exception(child.exception);
    } catch (const boost::system::system_error& e) {
      if (!IsCancelled(e) || !timed_out) throw;
    }
    co_return internal::TimeoutError(what, limit);
  }
  co_return std::move(*child.value);
}

template <class T>
Task<T> WithTimeout(Clock& clock, absl::Duration limit, std::string what, Task<T> task) {
  return WithDeadline(clock, clock.Now() + limit, std::move(what), std::move(task));
}

}  // namespace vck
