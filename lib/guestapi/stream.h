// The frames of exec and attach: several channels in one byte stream. docs/guest-protocol.md describes them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "base/status.h"

namespace vck::guestapi {

inline constexpr std::string_view kStreamProtocol = "vch-stream/1";
inline constexpr std::string_view kTunnelProtocol = "vch-tunnel/1";

enum class StreamChannel : uint8_t {
  kStdin = 0,  // an empty frame is its end
  kStdout = 1,
  kStderr = 2,
  kStatus = 3,  // tether -> kubelet, the last frame: StreamStatus
  kResize = 4,  // kubelet -> tether: TerminalSize
};

inline constexpr size_t kStreamHeaderBytes = 5;
inline constexpr size_t kMaxStreamPayload = size_t{64} * 1024;

// Channel, length (big-endian), payload. `payload` is at most kMaxStreamPayload.
std::string EncodeStreamFrame(StreamChannel channel, std::string_view payload);
// The header alone, for writers that send a payload from where it is.
void AppendStreamHeader(std::string* out, StreamChannel channel, size_t payload_bytes);

// Cuts a byte stream into frames. Payloads are handed on as they come: a frame may arrive in several pieces, of which
// only the first of an empty frame is empty.
class StreamDecoder {
 public:
  // InvalidArgument for an unknown channel or a frame that is too long; an error of `piece` ends it, too.
  // Frames of kStatus and kResize arrive whole.
  Status Feed(std::string_view data, absl::FunctionRef<Status(StreamChannel, std::string_view)> piece);

 private:
  std::string header_;
  std::string whole_;
  StreamChannel channel_ = StreamChannel::kStdin;
  size_t left_ = 0;
};

struct TerminalSize {
  int width = 0, height = 0;
};
std::string Encode(const TerminalSize& size);
StatusOr<TerminalSize> DecodeTerminalSize(std::string_view text);

// How a command ended: its exit code, or why there is none.
struct StreamStatus {
  int exit_code = 0;
  std::string error;
};
std::string Encode(const StreamStatus& status);
StatusOr<StreamStatus> DecodeStreamStatus(std::string_view text);

}  // namespace vck::guestapi
