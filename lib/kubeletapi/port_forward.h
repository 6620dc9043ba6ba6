// port-forward: TCP connections to ports of a pod, over SPDY (portforward.k8s.io, two streams for each connection) or a
// WebSocket (two channels for each port, or SPDY within its messages).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/clock.h"
#include "async/task.h"
#include "guestlink/links.h"
#include "http/stream.h"
#include "kubeletapi/channel_codec.h"

namespace vck::kubeletapi {

struct PortForwardOptions {
  // Opens a connection to that port in the pod's network; the tether's tunnel.
  std::function<Task<StatusOr<guestlink::OpenedStream>>(uint16_t port)> open;
  std::string pod, uid;  // for messages
  absl::Duration idle_timeout = absl::Hours(4);
  absl::Duration creation_timeout = absl::Seconds(30);  // from the first to the second stream of a connection
  absl::Duration linger = absl::Minutes(15);            // for a WebSocket's client to take the end and to close
};

// Serves until the client or (WebSocket) the last port's connection has ended. Of each connection at most 64 KiB wait
// for the pod; then the client is not read.
Task<> RunSpdyPortForward(Clock& clock, std::unique_ptr<http::Stream> stream, std::string leftover,
                          PortForwardOptions options);
Task<> RunWebSocketPortForward(Clock& clock, std::unique_ptr<http::Stream> stream, std::string leftover,
                               ChannelProtocol protocol, std::vector<uint16_t> ports, PortForwardOptions options);

// "80", as a client writes a port. Nothing for 0 and for what is no port.
std::optional<uint16_t> ParsePort(std::string_view text);

}  // namespace vck::kubeletapi
