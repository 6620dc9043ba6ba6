// WebSocket (RFC 6455), the server's side: handshake and frames without I/O, and both on a stream. No extensions.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "async/task.h"
#include "base/status.h"
#include "http/message.h"
#include "http/stream.h"
#include "http/write_queue.h"

namespace vck::http {

// ---- handshake ----
// True if the request asks for an upgrade to WebSocket, well-formed or not.
bool IsWebSocketRequest(const Request& request);
// The subprotocols that the client offers, in its order.
std::vector<std::string> WebSocketProtocols(const Request& request);
// The fields of the 101 response. `protocol` "" chooses none. InvalidArgument when the request is no handshake
// (§4.2.1), FailedPrecondition for another version (answer 426 with Sec-WebSocket-Version: 13).
StatusOr<Headers> AcceptWebSocket(const Request& request, std::string_view protocol);

// ---- frames ----
enum class WebSocketOp : uint8_t { kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10 };

// Close codes (§7.4.1).
inline constexpr uint16_t kCloseNormal = 1000;
inline constexpr uint16_t kCloseGoingAway = 1001;
inline constexpr uint16_t kCloseProtocolError = 1002;
inline constexpr uint16_t kCloseNotUtf8 = 1007;
inline constexpr uint16_t kCloseTooBig = 1009;
inline constexpr uint16_t kCloseInternalError = 1011;

// A frame of a server (not masked). Payloads of control frames have at most 125 bytes.
void AppendWebSocketFrame(std::string* out, WebSocketOp op, std::string_view payload, bool fin = true);
// The header alone, for a payload that follows.
void AppendWebSocketHeader(std::string* out, WebSocketOp op, size_t payload_bytes, bool fin = true);
std::string WebSocketClosePayload(uint16_t code, std::string_view reason);

class WebSocketEvents {
 public:
  virtual ~WebSocketEvents() = default;
  // A piece of a message, as it comes: `begin` with its first one and `end` with its last. Pieces may be empty.
  virtual void OnMessage(WebSocketOp kind, std::string_view piece, bool begin, bool end) = 0;
  virtual void OnPing(std::string_view payload) {}
  virtual void OnPong(std::string_view payload) {}
  // Nothing follows. `code` 1005: there was none.
  virtual void OnClose(uint16_t code, std::string_view reason) {}
};

// Takes what a client sends: masked frames.
class WebSocketReceiver {
 public:
  // `max_message_bytes` 0: any size; nothing of a message is held here.
  explicit WebSocketReceiver(uint64_t max_message_bytes = 0) : max_message_bytes_(max_message_bytes) {}
  // Unmasks in place. Errors end the connection, with close_code(): InvalidArgument against the protocol,
  // ResourceExhausted for a message that is too long. What follows a close frame is ignored.
  Status Feed(std::span<char> data, WebSocketEvents& events);
  [[nodiscard]] uint16_t close_code() const { return close_code_; }
  [[nodiscard]] bool closed() const { return closed_; }

 private:
  Status Fail(uint16_t code, std::string_view why);
  Status OnHeader();
  Status OnPayload(std::span<char> part, bool last, WebSocketEvents& events);
  Status OnControl(WebSocketEvents& events);
  // Takes on text that must be UTF-8; false when it is not.
  bool CheckUtf8(std::string_view text, bool end);

  uint64_t max_message_bytes_;
  std::string header_;
  std::string control_;  // payload of a control frame
  bool in_frame_ = false;
  bool fin_ = false;
  WebSocketOp op_ = WebSocketOp::kContinuation;
  uint64_t left_ = 0;
  uint32_t mask_at_ = 0;
  char mask_[4] = {};
  // Of the message.
  bool in_message_ = false;
  bool begun_ = false;  // its first piece was handed on
  WebSocketOp kind_ = WebSocketOp::kBinary;
  uint64_t message_bytes_ = 0;
  uint32_t utf8_left_ = 0, utf8_low_ = 0x80,
           utf8_high_ = 0xbf;  // continuation bytes that are still to come, and of the next
  bool closed_ = false;
  uint16_t close_code_ = kCloseProtocolError;
};

// A stream after the handshake. One reader, any number of writers.
class WebSocket {
 public:
  // `leftover`: what was read past the request.
  WebSocket(std::unique_ptr<Stream> stream, std::string leftover, uint64_t max_message_bytes = 0);

  // Reads once and hands on what came; answers pings and closes. False at the end, after a close frame too. After an
  // error a close frame with the right code has been sent. Waiting holds no buffer.
  Task<StatusOr<bool>> Receive(WebSocketEvents& events);
  // One message, or with `fin` false a part of one whose other parts follow as kContinuation.
  Task<Status> Send(WebSocketOp op, std::string_view payload, bool fin = true);
  // For what was put into output() by hand.
  Task<Status> Flush() { return queue_.Flush(); }
  std::string& output() { return output_; }
  // Sends a close frame, once.
  Task<Status> Close(uint16_t code, std::string_view reason);

  [[nodiscard]] Stream& stream() const { return *stream_; }
  // Bytes that were written and read: what moves is alive.
  [[nodiscard]] uint64_t moved() const { return queue_.written() + received_; }

 private:
  class Answers;
  std::unique_ptr<Stream> stream_;
  std::string leftover_;
  WebSocketReceiver receiver_;
  std::string output_;
  WriteQueue queue_;
  size_t answers_ = 0;  // bytes in the output that the peer has caused
  uint64_t received_ = 0;
  bool close_sent_ = false;
};

}  // namespace vck::http
