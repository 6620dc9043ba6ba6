#include "async/wait.h"

#include <algorithm>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include "absl/log/check.h"

namespace vck {

Waiter::~Waiter() { CHECK(!handler_) << "a Waiter was destroyed under its coroutine"; }

Task<> Waiter::Wait() {
  if (woken_) co_return;
  executor_.emplace(co_await asio::this_coro::executor);
  auto initiate = [this](auto handler) {
    handler_ = std::move(handler);
    // The erased handler puts a slot of its own before the coroutine's.
    slot_ = asio::get_associated_cancellation_slot(handler_);
    if (slot_.is_connected()) {
      slot_.assign([this](asio::cancellation_type) { Complete(asio::error::operation_aborted); });
    }
  };
  co_await asio::async_initiate<const asio::use_awaitable_t<Executor>, void(ErrorCode)>(initiate, kUseTask);
}

void Waiter::Wake() {
  if (woken_) return;
  woken_ = true;
  Complete({});
}

void Waiter::Complete(ErrorCode ec) {
  if (!handler_) return;
  auto handler = std::move(handler_);
  handler_ = nullptr;
  // Clearing the slot destroys the lambda that may be running this, so `ec` and `this` are not used after it.
  auto slot = std::exchange(slot_, {});
  Executor executor = *executor_;
  asio::post(executor, [h = std::move(handler), ec]() mutable { std::move(h)(ec); });
  if (!ec && slot.is_connected()) slot.clear();
}

Task<> Signal::Wait() {
  Waiter waiter;
  waiters_.push_back(&waiter);
  struct Remove {
    Signal* self;
    Waiter* waiter;
    ~Remove() {
      if (waiter->woken()) return;  // taken out by the notifier
      auto it = std::find(self->waiters_.begin(), self->waiters_.end(), waiter);
      if (it != self->waiters_.end()) self->waiters_.erase(it);
    }
  } remove{this, &waiter};
  co_await waiter.Wait();
}

void Signal::NotifyAll() {
  while (NotifyOne()) {
  }
}

bool Signal::NotifyOne() {
  if (waiters_.empty()) return false;
  Waiter* waiter = waiters_.front();
  waiters_.pop_front();
  waiter->Wake();
  return true;
}

Task<> Event::Wait() {
  while (!set_) co_await signal_.Wait();
}

Task<> Yield() { co_await asio::post(co_await asio::this_coro::executor, kUseTask); }

}  // namespace vck
