// The messages of grpc.health.v1.Health/Check, without I/O.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "http/message.h"

namespace vck::tether {

// HealthCheckRequest with its length prefix.
std::string GrpcHealthRequest(std::string_view service);
// What the answer says: OK is SERVING. The message of anything else is the kubelet's: "service unhealthy (responded
// with "NOT_SERVING")" and so on. `headers` and `trailers` may both hold grpc-status.
Status GrpcHealthAnswer(int http_status, const http::Headers& headers, const http::Headers& trailers,
                        std::string_view body);

}  // namespace vck::tether
