// The coroutine type, and the one executor that everything runs on.
//
// A Task starts when it is awaited. Cancellation unwinds it with boost::system::system_error(operation_aborted); every
// other failure is a value. Parameters are taken by value or outlive the task; no string_view crosses a suspension;
// a lambda that captures is never a coroutine.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

namespace vck {

namespace asio = boost::asio;
using Executor = asio::io_context::executor_type;
template <class T = void>
using Task = asio::awaitable<T, Executor>;
inline constexpr asio::use_awaitable_t<Executor> kUseTask;

using ErrorCode = boost::system::error_code;
// What a cancelled task throws, and how to recognise it.
[[noreturn]] inline void ThrowCancelled() { throw boost::system::system_error(asio::error::operation_aborted); }
inline bool IsCancelled(const boost::system::system_error& e) { return e.code() == asio::error::operation_aborted; }

}  // namespace vck
