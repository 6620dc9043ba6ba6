#include "kubeletapi/websocket_stream.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "http/websocket.h"

namespace vck::kubeletapi {
namespace {

class WebSocketStream : public http::Stream, private http::WebSocketEvents {
 public:
  WebSocketStream(std::unique_ptr<http::Stream> stream, std::string leftover)
      : socket_(std::move(stream), std::move(leftover)) {}

  Task<StatusOr<size_t>> ReadSome(std::span<char> buffer) override {
    CO_RETURN_IF_ERROR(co_await WaitReadable());
    const size_t n = std::min(buffer.size(), pending_.size());
    std::memcpy(buffer.data(), pending_.data(), n);
    pending_.erase(0, n);
    if (pending_.empty()) pending_.shrink_to_fit();
    co_return n;
  }
  Task<Status> WaitReadable() override {
    while (pending_.empty() && !ended_) {
      CO_ASSIGN_OR_RETURN(bool more, co_await socket_.Receive(*this));
      ended_ = !more;
    }
    co_return absl::OkStatus();
  }
  Task<Status> Write(std::string_view data) override { return socket_.Send(http::WebSocketOp::kBinary, data); }
  Task<> ShutdownWrite() override {
    (void)co_await socket_.Close(http::kCloseNormal, "");
    co_await socket_.stream().ShutdownWrite();
  }
  void Close() override { socket_.stream().Close(); }
  [[nodiscard]] bool ReadableNow() const override { return !pending_.empty() || ended_; }
  [[nodiscard]] bool HungUp() const override { return socket_.stream().HungUp(); }
  [[nodiscard]] std::string PeerKeyHash() const override { return socket_.stream().PeerKeyHash(); }
  [[nodiscard]] PeerName Peer() const override { return socket_.stream().Peer(); }
  [[nodiscard]] std::string alpn() const override { return ""; }
  [[nodiscard]] std::string remote_address() const override { return socket_.stream().remote_address(); }

 private:
  void OnMessage(http::WebSocketOp, std::string_view piece, bool, bool) override { pending_.append(piece); }

  http::WebSocket socket_;
  std::string pending_;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<http::Stream> MakeWebSocketStream(std::unique_ptr<http::Stream> stream, std::string leftover) {
  return std::make_unique<WebSocketStream>(std::move(stream), std::move(leftover));
}

}  // namespace vck::kubeletapi
