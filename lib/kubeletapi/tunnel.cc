#include "kubeletapi/tunnel.h"

#include <array>
#include <span>
#include <utility>

#include "async/task_group.h"

namespace vck::kubeletapi::internal {
namespace {

// Of all readers: nothing that waits holds a buffer.
std::span<char> ReadBuffer() {
  thread_local std::array<char, size_t{64} * 1024> buffer;
  return buffer;
}

}  // namespace

void Tunnel::Push(std::string_view data) {
  if (ended_ || closed_) return;
  pending_.append(data);
  changed_.NotifyAll();
}

void Tunnel::PushEnd() {
  ended_ = true;
  changed_.NotifyAll();
}

void Tunnel::Close() {
  closed_ = true;
  pending_ = {};
  changed_.NotifyAll();
  drained_->NotifyAll();
}

void Tunnel::Abort() {
  aborted_ = true;
  if (guest_ != nullptr) guest_->Close();
  Close();
}

Task<Status> Tunnel::Run(guestlink::OpenedStream guest, Write write) {
  guest_ = std::move(guest.stream);
  struct Closed {
    Tunnel* tunnel;
    ~Closed() {
      tunnel->Close();
      tunnel->guest_.reset();
    }
  } closed{this};
  if (aborted_) co_return absl::CancelledError("the client gave the connection up");
  TaskGroup group(co_await asio::this_coro::executor);
  group.Spawn("to pod", ToPod(this));
  group.Spawn("from pod", FromPod(this, std::move(guest.leftover), std::move(write)));
  Status status = co_await group.Join();
  if (aborted_) co_return absl::CancelledError("the client gave the connection up");
  co_return status;
}

// A pod that takes no more may still have something to say: how it ends is for the other direction to tell.
Task<> Tunnel::ToPod(Tunnel* self) {
  while (!self->closed_) {
    const std::string text = std::exchange(self->pending_, {});
    if (!text.empty()) {
      self->drained_->NotifyAll();
      if (!(co_await self->guest_->Write(text)).ok()) break;
      self->moved_ += text.size();
      continue;
    }
    if (self->ended_) {
      co_await self->guest_->ShutdownWrite();
      break;
    }
    co_await self->changed_.Wait();
  }
  self->Close();
}

Task<Status> Tunnel::FromPod(Tunnel* self, std::string leftover, Write write) {
  if (!leftover.empty()) CO_RETURN_IF_ERROR(co_await write(leftover, false));
  while (true) {
    CO_RETURN_IF_ERROR(co_await self->guest_->WaitReadable());
    std::span<char> buffer = ReadBuffer();
    CO_ASSIGN_OR_RETURN(size_t n, co_await self->guest_->ReadSome(buffer));
    if (n == 0) break;
    self->moved_ += n;
    const std::string text(buffer.data(), n);
    CO_RETURN_IF_ERROR(co_await write(text, false));
  }
  // A server that has closed takes no more, whatever the client still says.
  Status status = co_await write("", true);
  self->Close();
  self->guest_->Close();
  co_return status;
}

}  // namespace vck::kubeletapi::internal
