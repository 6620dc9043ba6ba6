#include "spdy/connection.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

namespace vck::spdy {
namespace {

// Of answers that nobody has taken yet: a peer that pings without reading is cut off.
constexpr size_t kMaxAnswers = size_t{64} * 1024;

// Of all readers: nothing that waits holds a buffer.
std::span<char> ReadBuffer() {
  thread_local std::array<char, size_t{64} * 1024> buffer;
  return buffer;
}

}  // namespace

// Wakes senders that wait for a window.
class Connection::Windows : public Events {
 public:
  Windows(Signal* window, Events* events) : window_(window), events_(events) {}
  void OnStream(uint32_t id, http::Headers headers) override { events_->OnStream(id, std::move(headers)); }
  void OnReply(uint32_t id, http::Headers headers) override { events_->OnReply(id, std::move(headers)); }
  void OnHeaders(uint32_t id, http::Headers headers) override { events_->OnHeaders(id, std::move(headers)); }
  void OnData(uint32_t id, std::string_view piece) override { events_->OnData(id, piece); }
  void OnEnd(uint32_t id) override { events_->OnEnd(id); }
  void OnReset(uint32_t id, ResetStatus status) override {
    window_->NotifyAll();
    events_->OnReset(id, status);
  }
  void OnGoAway(GoAwayStatus status) override { events_->OnGoAway(status); }
  void OnPong(uint32_t id) override { events_->OnPong(id); }
  void OnWindow() override {
    window_->NotifyAll();
    events_->OnWindow();
  }

 private:
  Signal* window_;
  Events* events_;
};

Connection::Connection(std::unique_ptr<http::Stream> stream, std::string leftover, SessionOptions options)
    : stream_(std::move(stream)),
      leftover_(std::move(leftover)),
      session_(options),
      queue_(*stream_, session_.output()) {}

Task<StatusOr<bool>> Connection::Receive(Events& events) {
  const std::string text = std::exchange(leftover_, {});
  std::string_view data = text;
  if (data.empty()) {
    CO_RETURN_IF_ERROR(co_await stream_->WaitReadable());
    std::span<char> buffer = ReadBuffer();
    CO_ASSIGN_OR_RETURN(size_t n, co_await stream_->ReadSome(buffer));
    if (n == 0) co_return false;
    data = {buffer.data(), n};
  }
  received_ += data.size();
  std::string& output = session_.output();
  if (output.empty()) answers_ = 0;
  const size_t before = output.size();
  Windows windows(&window_, &events);
  Status status = session_.Feed(data, windows);
  if (finished_) output.resize(before);
  if (output.size() > before) {
    answers_ += output.size() - before;
    if (answers_ > kMaxAnswers) co_return absl::ResourceExhaustedError("SPDY: the peer does not take its answers");
    Status written = co_await queue_.FlushUnlessBusy();
    if (status.ok()) status = written;
  }
  if (!status.ok()) {
    window_.NotifyAll();
    co_return status;
  }
  co_return true;
}

Task<Status> Connection::Send(uint32_t id, std::string_view data, bool fin) {
  do {
    size_t most = session_.Sendable(id);
    while (most == 0 && !data.empty()) {
      if (!session_.Writable(id)) co_return absl::OkStatus();
      co_await window_.Wait();
      CO_RETURN_IF_ERROR(queue_.status());
      most = session_.Sendable(id);
    }
    const std::string_view part = data.substr(0, most);
    data.remove_prefix(part.size());
    session_.Send(id, part, fin && data.empty());
    CO_RETURN_IF_ERROR(co_await queue_.Flush());
  } while (!data.empty());
  co_return absl::OkStatus();
}

Task<Status> Connection::Finish() {
  CO_RETURN_IF_ERROR(co_await queue_.Flush());
  finished_ = true;
  co_await stream_->ShutdownWrite();
  co_return absl::OkStatus();
}

}  // namespace vck::spdy
