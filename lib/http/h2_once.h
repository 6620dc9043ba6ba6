// One HTTP/2 request on a connection that is used for nothing else.
#pragma once

#include <string>

#include "async/task.h"
#include "base/status.h"
#include "http/message.h"
#include "http/stream.h"

namespace vck::http {

struct TrailedResponse {
  Response response;
  Headers trailers;
};

// With prior knowledge (RFC 9113 §3.3): the stream is plain, or has agreed upon h2. `request.headers` are sent as they
// are, in lower case, with Host as :authority; a te field too. Unavailable when the connection or the stream broke,
// ResourceExhausted when body and fields are larger than `max_bytes`. No deadline of its own.
Task<StatusOr<TrailedResponse>> RequestH2(Stream& stream, std::string scheme, Request request, size_t max_bytes);

}  // namespace vck::http
