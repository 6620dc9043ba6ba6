#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "tether/grpc_health.h"
#include "tether/http_get.h"

// What containers answer to probes: a Location header, and a gRPC health response.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace vck;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  tether::GetTarget from{.host = "10.0.0.1", .port = 80, .path = "/a/b?c"};
  if (auto to = tether::Redirect(from, text); to.ok()) {
    if (to->path.empty() || to->path.front() != '/' || to->port < 1 || to->port > 65535 || to->host.empty())
      std::abort();
    for (char c : to->path) {
      if (c <= ' ' || c >= 0x7f) std::abort();
    }
  }
  (void)tether::TargetOf({.port = 1, .path = std::string(text)}, "h");
  http::Headers trailers;
  if (size > 0 && (data[0] & 1) != 0) trailers.Add("grpc-message", std::string(text));
  trailers.Add("grpc-status", size > 0 ? std::to_string(data[0] % 20 / 2) : "0");
  (void)tether::GrpcHealthAnswer(200, {}, trailers, text);
  (void)tether::GrpcHealthAnswer(200, {}, {{"grpc-status", "0"}}, text);
  return 0;
}
