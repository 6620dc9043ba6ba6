#include "kubeletapi/channel_codec.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace vck::kubeletapi {
namespace {

constexpr uint8_t kCloseSignal = 255;
constexpr size_t kGroup = 4;  // characters of base64 that make whole bytes

// Abseil skips blanks and takes a dot for padding: then groups of four would not be what they look like.
bool IsBase64(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '+' || c == '/' || c == '=';
  });
}

}  // namespace

Status ChannelDecoder::Feed(std::string_view piece, bool begin, bool end, ChannelEvents& events) {
  if (begin) {
    have_channel_ = false;
    padded_ = false;
    rest_.clear();
  }
  if (!have_channel_) {
    if (piece.empty()) return absl::OkStatus();  // an empty message is none
    have_channel_ = true;
    channel_ = static_cast<uint8_t>(piece.front());
    if (protocol_.base64) channel_ = static_cast<uint8_t>(channel_ - '0');
    piece.remove_prefix(1);
  }
  if (protocol_.close_signal && channel_ == kCloseSignal) {
    rest_.append(piece.substr(0, 2 - std::min<size_t>(rest_.size(), 2)));
    if (!end) return absl::OkStatus();
    if (rest_.size() != 1) return absl::InvalidArgumentError("a close signal names one channel");
    events.OnChannelEnd(static_cast<uint8_t>(rest_.front()));
    return absl::OkStatus();
  }
  if (!protocol_.base64) {
    if (!piece.empty()) events.OnChannel(channel_, piece);
    return absl::OkStatus();
  }
  std::string text = std::exchange(rest_, {});
  text.append(piece);
  const size_t whole = end ? text.size() : text.size() / kGroup * kGroup;
  rest_ = text.substr(whole);
  text.resize(whole);
  if (text.empty()) return absl::OkStatus();
  // Padding ends the text.
  std::string data;
  if (padded_ || text.size() % kGroup != 0 || !IsBase64(text) || !absl::Base64Unescape(text, &data)) {
    return absl::InvalidArgumentError("a message that is not base64");
  }
  padded_ = text.back() == '=';
  if (!data.empty()) events.OnChannel(channel_, data);
  return absl::OkStatus();
}

void AppendChannelMessage(std::string* out, ChannelProtocol protocol, uint8_t channel, std::string_view data) {
  if (protocol.base64) {
    const std::string text = absl::Base64Escape(data);
    http::AppendWebSocketHeader(out, http::WebSocketOp::kText, text.size() + 1);
    out->push_back(static_cast<char>('0' + channel));
    out->append(text);
  } else {
    http::AppendWebSocketHeader(out, http::WebSocketOp::kBinary, data.size() + 1);
    out->push_back(static_cast<char>(channel));
    out->append(data);
  }
}

}  // namespace vck::kubeletapi
