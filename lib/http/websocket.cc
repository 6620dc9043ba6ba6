#include "http/websocket.h"

#include <algorithm>
#include <array>
#include <utility>

#include <openssl/evp.h>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "http/socket_stream.h"

namespace vck::http {
namespace {

constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // §1.3
constexpr size_t kMaxControl = 125;
constexpr uint16_t kNoCode = 1005;
// Of answers that nobody has taken yet: a peer that pings without reading is cut off.
constexpr size_t kMaxAnswers = size_t{64} * 1024;

// A list of tokens, in one field or several (RFC 9110 §5.6.1).
std::vector<std::string> Tokens(const Headers& headers, std::string_view name) {
  std::vector<std::string> out;
  for (const auto& [key, value] : headers.fields()) {
    if (!absl::EqualsIgnoreCase(key, name)) continue;
    for (std::string_view token : absl::StrSplit(value, ',')) {
      token = absl::StripAsciiWhitespace(token);
      if (!token.empty()) out.emplace_back(token);
    }
  }
  return out;
}

bool HasToken(const Headers& headers, std::string_view name, std::string_view token) {
  for (const std::string& text : Tokens(headers, name)) {
    if (absl::EqualsIgnoreCase(text, token)) return true;
  }
  return false;
}

bool ValidCloseCode(uint16_t code) {
  return (code >= 1000 && code <= 1014 && code != 1004 && code != kNoCode && code != 1006) ||
         (code >= 3000 && code <= 4999);
}

}  // namespace

bool IsWebSocketRequest(const Request& request) {
  return HasToken(request.headers, "Connection", "upgrade") && HasToken(request.headers, "Upgrade", "websocket");
}

std::vector<std::string> WebSocketProtocols(const Request& request) {
  return Tokens(request.headers, "Sec-WebSocket-Protocol");
}

StatusOr<Headers> AcceptWebSocket(const Request& request, std::string_view protocol) {
  if (!IsWebSocketRequest(request)) return absl::InvalidArgumentError("not a WebSocket handshake");
  if (request.method != "GET") return absl::InvalidArgumentError("a WebSocket handshake is a GET");
  if (request.headers.Get("Sec-WebSocket-Version") != "13") {
    return absl::FailedPreconditionError("only version 13 of WebSocket is spoken here");
  }
  const std::string key(absl::StripAsciiWhitespace(request.headers.Get("Sec-WebSocket-Key").value_or("")));
  std::string nonce;
  if (!absl::Base64Unescape(key, &nonce) || nonce.size() != 16) {
    return absl::InvalidArgumentError("Sec-WebSocket-Key: expected 16 bytes in base64");
  }
  const std::string text = absl::StrCat(key, kGuid);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  if (EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr) != 1) {
    return absl::InternalError("SHA-1 failed");
  }
  Headers out;
  out.Add("Upgrade", "websocket");
  out.Add("Connection", "Upgrade");
  out.Add("Sec-WebSocket-Accept",
          absl::Base64Escape(std::string_view(reinterpret_cast<const char*>(digest.data()), size)));
  if (!protocol.empty()) out.Add("Sec-WebSocket-Protocol", std::string(protocol));
  return out;
}

// ---- frames ----

void AppendWebSocketHeader(std::string* out, WebSocketOp op, size_t payload_bytes, bool fin) {
  out->push_back(static_cast<char>((fin ? 0x80 : 0) | static_cast<int>(op)));
  if (payload_bytes < 126) {
    out->push_back(static_cast<char>(payload_bytes));
    return;
  }
  const bool small = payload_bytes <= 0xffff;
  out->push_back(small ? 126 : 127);
  for (int shift = small ? 8 : 56; shift >= 0; shift -= 8) {
    out->push_back(static_cast<char>((uint64_t{payload_bytes} >> shift) & 0xff));
  }
}

void AppendWebSocketFrame(std::string* out, WebSocketOp op, std::string_view payload, bool fin) {
  AppendWebSocketHeader(out, op, payload.size(), fin);
  out->append(payload);
}

std::string WebSocketClosePayload(uint16_t code, std::string_view reason) {
  std::string out;
  out.push_back(static_cast<char>(code >> 8));
  out.push_back(static_cast<char>(code & 0xff));
  out.append(reason.substr(0, kMaxControl - 2));
  return out;
}

Status WebSocketReceiver::Fail(uint16_t code, std::string_view why) {
  closed_ = true;
  close_code_ = code;
  const std::string text = absl::StrCat("WebSocket: ", why);
  return code == kCloseTooBig ? absl::ResourceExhaustedError(text) : absl::InvalidArgumentError(text);
}

Status WebSocketReceiver::Feed(std::span<char> data, WebSocketEvents& events) {
  while (!data.empty() && !closed_) {
    if (!in_frame_) {
      header_.push_back(data.front());
      data = data.subspan(1);
      RETURN_IF_ERROR(OnHeader());
      // A frame without payload has nothing to wait for.
      if (!in_frame_ || left_ > 0) continue;
    }
    const auto take = static_cast<size_t>(std::min<uint64_t>(data.size(), left_));
    const std::span<char> part = data.first(take);
    data = data.subspan(take);
    for (char& c : part) c = static_cast<char>(c ^ mask_[mask_at_++ & 3]);
    left_ -= take;
    RETURN_IF_ERROR(OnPayload(part, left_ == 0, events));
    if (left_ == 0) {
      in_frame_ = false;
      header_.clear();
    }
  }
  return absl::OkStatus();
}

// Looks whether the header is whole; then in_frame_ is set.
Status WebSocketReceiver::OnHeader() {
  const auto byte = [this](size_t i) { return static_cast<uint8_t>(header_[i]); };
  if (header_.size() < 2) return absl::OkStatus();
  const size_t short_length = byte(1) & 0x7f;
  const size_t length_bytes = short_length < 126 ? 0 : short_length == 126 ? 2 : 8;
  if (header_.size() == 2) {
    fin_ = (byte(0) & 0x80) != 0;
    if ((byte(0) & 0x70) != 0) return Fail(kCloseProtocolError, "a reserved bit is set");
    const int op = byte(0) & 0x0f;
    const bool control = op >= 8;
    if ((op > 2 && op < 8) || op > 10) return Fail(kCloseProtocolError, absl::StrCat("unknown opcode ", op));
    if ((byte(1) & 0x80) == 0) return Fail(kCloseProtocolError, "a client's frame is not masked");
    if (control && (!fin_ || short_length > kMaxControl))
      return Fail(kCloseProtocolError, "a control frame is too long");
    if (!control && (op == 0) != in_message_) {
      return Fail(kCloseProtocolError, op == 0 ? "a continuation of nothing" : "a message within another");
    }
    op_ = static_cast<WebSocketOp>(op);
  }
  if (header_.size() < 2 + length_bytes + 4) return absl::OkStatus();
  left_ = short_length;
  if (length_bytes > 0) {
    left_ = 0;
    for (size_t i = 0; i < length_bytes; ++i) left_ = left_ << 8 | byte(2 + i);
    if (left_ >> 63 != 0) return Fail(kCloseProtocolError, "a length with its highest bit set");
  }
  std::copy_n(header_.end() - 4, 4, mask_);
  mask_at_ = 0;
  in_frame_ = true;
  if (static_cast<int>(op_) >= 8) {
    control_.clear();
    return absl::OkStatus();
  }
  if (op_ != WebSocketOp::kContinuation) {
    kind_ = op_;
    in_message_ = true;
    begun_ = false;
    message_bytes_ = 0;
    utf8_left_ = 0;
  }
  if (max_message_bytes_ > 0 && left_ > max_message_bytes_ - message_bytes_) {
    return Fail(kCloseTooBig, absl::StrCat("a message of more than ", max_message_bytes_, " bytes"));
  }
  message_bytes_ += left_;
  return absl::OkStatus();
}

Status WebSocketReceiver::OnPayload(std::span<char> part, bool last, WebSocketEvents& events) {
  const std::string_view text(part.data(), part.size());
  if (static_cast<int>(op_) >= 8) {
    control_.append(text);
    return last ? OnControl(events) : absl::OkStatus();
  }
  const bool end = last && fin_;
  if (kind_ == WebSocketOp::kText && !CheckUtf8(text, end)) return Fail(kCloseNotUtf8, "text that is not UTF-8");
  if (end) in_message_ = false;
  events.OnMessage(kind_, text, !std::exchange(begun_, true), end);
  return absl::OkStatus();
}

Status WebSocketReceiver::OnControl(WebSocketEvents& events) {
  const std::string payload = std::exchange(control_, {});
  if (op_ == WebSocketOp::kPing) {
    events.OnPing(payload);
  } else if (op_ == WebSocketOp::kPong) {
    events.OnPong(payload);
  } else {
    if (payload.size() == 1) return Fail(kCloseProtocolError, "half a close code");
    uint16_t code = kNoCode;
    std::string_view reason;
    if (!payload.empty()) {
      code = static_cast<uint16_t>(static_cast<uint8_t>(payload[0]) << 8 | static_cast<uint8_t>(payload[1]));
      reason = std::string_view(payload).substr(2);
      if (!ValidCloseCode(code)) return Fail(kCloseProtocolError, absl::StrCat("close code ", code));
      utf8_left_ = 0;
      if (!CheckUtf8(reason, true)) return Fail(kCloseNotUtf8, "a reason that is not UTF-8");
    }
    closed_ = true;
    close_code_ = code;
    events.OnClose(code, reason);
  }
  return absl::OkStatus();
}

// Unicode, table 3-7: which bytes may follow which.
bool WebSocketReceiver::CheckUtf8(std::string_view text, bool end) {
  for (char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (utf8_left_ > 0) {
      if (byte < utf8_low_ || byte > utf8_high_) return false;
      --utf8_left_;
      utf8_low_ = 0x80;
      utf8_high_ = 0xbf;
      continue;
    }
    if (byte < 0x80) continue;
    if (byte < 0xc2 || byte > 0xf4) return false;
    utf8_left_ = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    utf8_low_ = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
    utf8_high_ = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
  }
  return !end || utf8_left_ == 0;
}

// ---- on a stream ----

// Answers what has to be answered, and hands the rest on.
class WebSocket::Answers : public WebSocketEvents {
 public:
  Answers(WebSocket* socket, WebSocketEvents* events) : socket_(socket), events_(events) {}
  void OnMessage(WebSocketOp kind, std::string_view piece, bool begin, bool end) override {
    events_->OnMessage(kind, piece, begin, end);
  }
  void OnPing(std::string_view payload) override {
    // Nothing may follow our close frame (§5.5.1), and the stream may be half-closed.
    if (!socket_->close_sent_) AppendWebSocketFrame(&socket_->output_, WebSocketOp::kPong, payload);
    events_->OnPing(payload);
  }
  void OnPong(std::string_view payload) override { events_->OnPong(payload); }
  void OnClose(uint16_t code, std::string_view reason) override {
    if (!std::exchange(socket_->close_sent_, true)) {
      AppendWebSocketFrame(&socket_->output_, WebSocketOp::kClose,
                           code == kNoCode ? "" : WebSocketClosePayload(code, ""));
    }
    events_->OnClose(code, reason);
  }

 private:
  WebSocket* socket_;
  WebSocketEvents* events_;
};

WebSocket::WebSocket(std::unique_ptr<Stream> stream, std::string leftover, uint64_t max_message_bytes)
    : stream_(std::move(stream)),
      leftover_(std::move(leftover)),
      receiver_(max_message_bytes),
      queue_(*stream_, output_) {}

Task<StatusOr<bool>> WebSocket::Receive(WebSocketEvents& events) {
  if (receiver_.closed()) co_return false;
  std::string text = std::exchange(leftover_, {});
  std::span<char> data(text);
  if (data.empty()) {
    CO_RETURN_IF_ERROR(co_await stream_->WaitReadable());
    data = internal::SharedReadBuffer();
    CO_ASSIGN_OR_RETURN(size_t n, co_await stream_->ReadSome(data));
    if (n == 0) co_return false;
    data = data.first(n);
  }
  received_ += data.size();
  if (output_.empty()) answers_ = 0;
  const size_t before = output_.size();
  Answers answers(this, &events);
  Status status = receiver_.Feed(data, answers);
  if (!status.ok() && !std::exchange(close_sent_, true)) {
    AppendWebSocketFrame(&output_, WebSocketOp::kClose,
                         WebSocketClosePayload(receiver_.close_code(), status.message()));
  }
  if (output_.size() > before) {
    answers_ += output_.size() - before;
    if (answers_ > kMaxAnswers) co_return absl::ResourceExhaustedError("WebSocket: the peer does not take its answers");
    Status written = co_await queue_.FlushUnlessBusy();
    if (status.ok()) status = written;
  }
  if (!status.ok()) co_return status;
  co_return true;
}

Task<Status> WebSocket::Send(WebSocketOp op, std::string_view payload, bool fin) {
  if (close_sent_) co_return absl::FailedPreconditionError("WebSocket: closed");
  AppendWebSocketFrame(&output_, op, payload, fin);
  co_return co_await queue_.Flush();
}

Task<Status> WebSocket::Close(uint16_t code, std::string_view reason) {
  if (!std::exchange(close_sent_, true)) {
    AppendWebSocketFrame(&output_, WebSocketOp::kClose, WebSocketClosePayload(code, reason));
  }
  co_return co_await queue_.Flush();
}

}  // namespace vck::http
