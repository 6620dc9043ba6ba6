#include "async/task_group.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include "absl/log/check.h"
#include "async/timeout.h"

namespace vck {
namespace {

Task<Status> WithoutStatus(Task<> child) {
  co_await std::move(child);
  co_return absl::OkStatus();
}

}  // namespace

TaskGroup::TaskGroup(Executor executor) : executor_(executor) { empty_.Set(); }

TaskGroup::~TaskGroup() {
  CHECK(children_.empty()) << "a TaskGroup was destroyed while " << children_.front().name << " was running";
}

void TaskGroup::Spawn(std::string name, Task<> child) { Spawn(std::move(name), WithoutStatus(std::move(child))); }

void TaskGroup::Spawn(std::string name, Task<Status> child) {
  auto it = children_.emplace(children_.end());
  it->name = std::move(name);
  empty_.Reset();
  // Posted, so that no child runs inside the frame of its spawner.
  asio::post(executor_, [this, it, child = std::move(child)]() mutable {
    asio::co_spawn(executor_, internal::ShieldEnd(std::move(child)),
                   asio::bind_cancellation_slot(it->signal.slot(), [this, it](std::exception_ptr e, Status status) {
                     Finish(it, e, std::move(status));
                   }));
    if (cancelled_) Cancel();
  });
}

void TaskGroup::Cancel() {
  cancelled_ = true;
  for (auto it = children_.begin(); it != children_.end();) {
    auto next = std::next(it);
    it->signal.emit(asio::cancellation_type::terminal);
    it = next;
  }
}

void TaskGroup::Finish(std::list<Child>::iterator child, std::exception_ptr exception, Status status) {
  if (exception) {
    try {
      std::rethrow_exception(exception);
    } catch (const boost::system::system_error& e) {
      if (IsCancelled(e)) exception = nullptr;
    } catch (...) {
      // Kept for Join().
    }
  }
  if (exception && !first_exception_) first_exception_ = exception;
  if (!status.ok() && first_error_.ok()) first_error_ = Annotate(std::move(status), child->name);
  bool failed = exception || !first_error_.ok();
  children_.erase(child);
  if (failed && !cancelled_) Cancel();
  if (children_.empty()) empty_.Set();
}

Task<Status> TaskGroup::Join() {
  bool aborted = false;
  try {
    co_await empty_.Wait();
  } catch (const boost::system::system_error& e) {
    if (!IsCancelled(e)) throw;
    aborted = true;
  }
  if (aborted) {
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    Cancel();
    co_await empty_.Wait();
    co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
    ThrowCancelled();
  }
  if (first_exception_) std::rethrow_exception(first_exception_);
  co_return first_error_;
}

}  // namespace vck
