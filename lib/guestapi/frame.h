// The frames of the channel: JSON objects with one member, each on a line. docs/guest-protocol.md describes them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "absl/functional/function_ref.h"
#include "base/status.h"
#include "guestapi/spec.h"
#include "guestapi/state.h"

namespace vck::guestapi {

// tether -> kubelet, the first frame.
struct Hello {
  int version = kVersion;
  std::string boot_id;
  std::string pod_uid;
  bool certify = false;  // the tether has no certificate of the VCH's key yet
};
// kubelet -> tether: the answer to a Hello that asks for it, for the key of the connection.
struct Certificate {
  std::string pem;
};
// kubelet -> tether: the snapshot with this number has arrived.
struct Ack {
  int64_t sequence = 0;
};
// kubelet -> tether: what was wanted of a finished pod has been saved.
struct PowerOff {};
// Of a later version: to be skipped.
struct UnknownFrame {};

using Frame = std::variant<UnknownFrame, Hello, Certificate, GuestSpec, StopRequest, Ack, PowerOff, GuestState>;

// With the newline.
std::string EncodeFrame(const Frame& frame);
std::string EncodeFrame(const GuestSpec& spec);
std::string EncodeFrame(const GuestState& state);
// A line without its newline. InvalidArgument when it is no object or a known member is wrong.
StatusOr<Frame> DecodeFrame(std::string_view line);

// Far above the largest spec with its ConfigMaps; a peer that sends more is not one of ours.
inline constexpr size_t kMaxFrameBytes = size_t{16} * 1024 * 1024;

// Cuts a byte stream into lines, wherever its pieces end. Holds nothing between frames.
class FrameSplitter {
 public:
  explicit FrameSplitter(size_t max_bytes = kMaxFrameBytes) : max_bytes_(max_bytes) {}
  // Calls `line` for each whole line, without its newline; empty lines are skipped. ResourceExhausted when one is
  // longer than allowed; an error of `line` ends it, too. After an error the stream is of no use.
  Status Feed(std::string_view data, absl::FunctionRef<Status(std::string_view)> line);
  [[nodiscard]] size_t held() const { return partial_.size(); }

 private:
  size_t max_bytes_;
  std::string partial_;
};

}  // namespace vck::guestapi
