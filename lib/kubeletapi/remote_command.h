// exec and attach: what is asked for, in which protocol, and what is said at the end. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "guestapi/stream.h"
#include "http/message.h"
#include "kubeletapi/channel_codec.h"
#include "kubeletapi/target.h"

namespace vck::kubeletapi {

struct CommandStreams {
  bool in = false, out = false, err = false;
  bool tty = false;
};
// input, output, error, tty ("1"). A TTY has no stderr. InvalidArgument when nothing is asked for.
StatusOr<CommandStreams> ParseCommandStreams(const Query& query);

// The tether's /v1/exec and /v1/attach.
std::string TetherExecTarget(const std::string& container, const std::vector<std::string>& command,
                             const CommandStreams& streams);
std::string TetherAttachTarget(const std::string& container, const CommandStreams& streams);

// ---- protocols ----
// Remote command over SPDY, by X-Stream-Protocol-Version.
enum class CommandVersion { kV1 = 1, kV2, kV3, kV4, kV5 };

struct Negotiation {
  std::string protocol;  // what is answered; "" when there is nothing in common
  int status = 0;        // then: the answer's
  std::string error;
  http::Headers headers;  // of the answer
};
// The first of the client's protocols (X-Stream-Protocol-Version, a list) that we have (httpstream.Handshake).
Negotiation Negotiate(const http::Request& request, const std::vector<std::string>& ours);
// True if the request asks for an upgrade to SPDY/3.1.
bool IsSpdyRequest(const http::Request& request);

const std::vector<std::string>& CommandProtocols();  // newest first
CommandVersion CommandVersionOf(std::string_view protocol);

// Of a WebSocket: the first of the client's that we have; "" when it offers none. nullopt: it offers others only.
struct WebSocketChoice {
  std::string protocol;
  ChannelProtocol channels;
  bool json_status = false;  // v4 and later
};
std::optional<WebSocketChoice> ChooseCommandProtocol(const http::Request& request);

// ---- the end ----
// The metav1.Status of a command that ended: Success, NonZeroExitCode or InternalError. `what` begins the message of an
// error: "error executing command in container".
std::string CommandStatusJson(const guestapi::StreamStatus& status, std::string_view what);
// What protocols before v4 say: the message of a failure, or nothing.
std::string CommandStatusText(const guestapi::StreamStatus& status, std::string_view what);

// ---- resize ----
// Takes the JSON objects {"Width":w,"Height":h} of the resize stream, one after another.
class ResizeDecoder {
 public:
  // The last size that is whole now. InvalidArgument for what is no such object.
  StatusOr<std::optional<guestapi::TerminalSize>> Feed(std::string_view data);

 private:
  std::string text_;
};

}  // namespace vck::kubeletapi
