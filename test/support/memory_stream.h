// A stream in memory, so that sessions can be tested on fake time.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "async/wait.h"
#include "http/stream.h"

namespace vck::testing {

// The other end, which the test holds.
struct Wire {
  std::string in;         // what the stream will read
  bool in_ended = false;  // and then its end
  std::string out;        // what was written to it
  bool takes = true;      // false: writes wait
  bool hung_up = false;
  bool half_closed = false, closed = false;  // by the stream
  bool destroyed = false;
  Signal changed;

  void Say(std::string_view text) {
    in.append(text);
    changed.NotifyAll();
  }
  void End() {
    in_ended = hung_up = true;
    changed.NotifyAll();
  }
  void Take(bool on) {
    takes = on;
    changed.NotifyAll();
  }
};

class MemoryStream : public http::Stream {
 public:
  explicit MemoryStream(std::shared_ptr<Wire> wire) : wire_(std::move(wire)) {}
  MemoryStream(const MemoryStream&) = delete;
  MemoryStream& operator=(const MemoryStream&) = delete;
  ~MemoryStream() override {
    MemoryStream::Close();
    wire_->destroyed = true;
  }

  Task<StatusOr<size_t>> ReadSome(std::span<char> buffer) override {
    CO_RETURN_IF_ERROR(co_await WaitReadable());
    const size_t n = std::min(buffer.size(), wire_->in.size());
    std::memcpy(buffer.data(), wire_->in.data(), n);
    wire_->in.erase(0, n);
    co_return n;
  }
  Task<Status> WaitReadable() override {
    while (!wire_->closed && wire_->in.empty() && !wire_->in_ended) co_await wire_->changed.Wait();
    if (wire_->closed) co_return absl::UnavailableError("closed");
    co_return absl::OkStatus();
  }
  Task<Status> Write(std::string_view data) override {
    while (!wire_->closed && !wire_->takes) co_await wire_->changed.Wait();
    if (wire_->closed || wire_->half_closed) co_return absl::UnavailableError("closed");
    wire_->out.append(data);
    co_return absl::OkStatus();
  }
  Task<> ShutdownWrite() override {
    wire_->half_closed = true;
    co_return;
  }
  void Close() override {
    wire_->closed = true;
    wire_->changed.NotifyAll();
  }
  [[nodiscard]] bool HungUp() const override { return wire_->closed || wire_->hung_up; }
  [[nodiscard]] std::string PeerKeyHash() const override { return ""; }
  [[nodiscard]] PeerName Peer() const override { return {}; }
  [[nodiscard]] std::string alpn() const override { return ""; }
  [[nodiscard]] std::string remote_address() const override { return ""; }

 private:
  std::shared_ptr<Wire> wire_;
};

}  // namespace vck::testing
