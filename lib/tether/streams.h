// Requests of the kubelet that are not for the channel: exec, attach, logs, port-forward. The tether checks who asks
// and hands them on.
#pragma once

#include <string_view>

#include "async/task.h"
#include "base/status.h"
#include "http/server.h"

namespace vck::tether {

class Streams {
 public:
  virtual ~Streams() = default;
  // Serves one request, of whatever path but the channel's. Runs as the connection's coroutine (see http::Handler) and
  // is cancelled with the tether; both arguments outlive it.
  virtual Task<Status> Serve(http::Exchange* exchange) = 0;
};

// The body that every error of the tether has (docs/guest-protocol.md).
http::Response ErrorResponse(int status, std::string_view code, std::string_view message);

}  // namespace vck::tether
