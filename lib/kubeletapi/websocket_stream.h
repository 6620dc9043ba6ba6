// A byte stream in the binary messages of a WebSocket: SPDY tunnelled through it.
#pragma once

#include <memory>
#include <string>

#include "http/stream.h"

namespace vck::kubeletapi {

std::unique_ptr<http::Stream> MakeWebSocketStream(std::unique_ptr<http::Stream> stream, std::string leftover);

}  // namespace vck::kubeletapi
