// Several byte streams in the messages of one WebSocket: channel.k8s.io and its relatives. Pure.
//
// A message is a channel's number, as a byte or (base64 forms) as a digit, and what is sent on it, as it is or in
// base64. In v5 a message of 255 and a channel's number says that nothing more is sent on that channel.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "http/websocket.h"

namespace vck::kubeletapi {

struct ChannelProtocol {
  bool base64 = false;
  bool close_signal = false;  // v5
};

class ChannelEvents {
 public:
  virtual ~ChannelEvents() = default;
  // A piece of what is sent on a channel; never empty.
  virtual void OnChannel(uint8_t channel, std::string_view piece) = 0;
  virtual void OnChannelEnd(uint8_t channel) {}
};

class ChannelDecoder {
 public:
  explicit ChannelDecoder(ChannelProtocol protocol) : protocol_(protocol) {}
  // A piece of a message (as WebSocketEvents hands them on). InvalidArgument for what is not base64, and for a close
  // signal without channel.
  Status Feed(std::string_view piece, bool begin, bool end, ChannelEvents& events);

 private:
  ChannelProtocol protocol_;
  bool have_channel_ = false;
  uint8_t channel_ = 0;
  std::string rest_;  // of base64: what makes no whole group yet; of a close signal: its channel
  bool padded_ = false;
};

// One whole message.
void AppendChannelMessage(std::string* out, ChannelProtocol protocol, uint8_t channel, std::string_view data);

}  // namespace vck::kubeletapi
