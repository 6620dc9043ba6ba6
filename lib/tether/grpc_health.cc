#include "tether/grpc_health.h"

#include <array>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace vck::tether {
namespace {

constexpr int kUnimplemented = 12, kDeadlineExceeded = 4;
// google.golang.org/grpc/codes
constexpr std::array<std::string_view, 17> kCodes = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

bool Varint(std::string_view* text, uint64_t* out) {
  *out = 0;
  for (int shift = 0; shift < 64 && !text->empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(text->front());
    text->remove_prefix(1);
    *out |= uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

// HealthCheckResponse.status; absent means UNKNOWN (0).
StatusOr<uint64_t> ParseResponse(std::string_view message) {
  uint64_t status = 0;
  while (!message.empty()) {
    uint64_t key = 0, value = 0;
    const auto malformed = [] { return absl::InvalidArgumentError("the health response is no protobuf"); };
    if (!Varint(&message, &key) || key >> 3 == 0) return malformed();
    switch (key & 7) {
      case 0:
        if (!Varint(&message, &value)) return malformed();
        if (key >> 3 == 1) status = value;
        continue;
      case 1:
        value = 8;
        break;
      case 2:
        if (!Varint(&message, &value)) return malformed();
        break;
      case 5:
        value = 4;
        break;
      default:
        return malformed();
    }
    if (value > message.size()) return malformed();
    message.remove_prefix(value);
  }
  return status;
}

std::string StatusName(uint64_t status) {
  constexpr std::array<std::string_view, 4> kNames = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
  return status < kNames.size() ? std::string(kNames[status]) : absl::StrCat(status);
}

bool IsHexDigit(char c) { return absl::ascii_isxdigit(static_cast<unsigned char>(c)); }

// gRPC over HTTP2: percent-encoded.
std::string Message(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    std::string byte;
    // Abseil indexes a table with what it is given, whatever that is.
    if (text[i] == '%' && i + 2 < text.size() && IsHexDigit(text[i + 1]) && IsHexDigit(text[i + 2]) &&
        absl::HexStringToBytes(text.substr(i + 1, 2), &byte)) {
      out += byte;
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

Status RpcError(std::string_view code, std::string_view message) {
  return absl::UnavailableError(
      absl::StrCat("error: health rpc probe failed: rpc error: code = ", code, " desc = ", message));
}

}  // namespace

std::string GrpcHealthRequest(std::string_view service) {
  std::string message;
  if (!service.empty()) {
    message += '\x0a';
    uint64_t size = service.size();
    for (; size >= 0x80; size >>= 7) message += static_cast<char>(size | 0x80);
    message += static_cast<char>(size);
    message += service;
  }
  std::string out(1, '\0');  // not compressed
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(message.size() >> shift);
  return out + message;
}

Status GrpcHealthAnswer(int http_status, const http::Headers& headers, const http::Headers& trailers,
                        std::string_view body) {
  auto code_text = trailers.Get("grpc-status");
  auto message = trailers.Get("grpc-message");
  if (!code_text) {
    code_text = headers.Get("grpc-status");
    message = headers.Get("grpc-message");
  }
  if (!code_text && http_status != 200) {
    return RpcError("Unknown", absl::StrCat("unexpected HTTP status code received from server: ", http_status));
  }
  int code = -1;
  if (!code_text || !absl::SimpleAtoi(*code_text, &code) || code < 0) {
    return RpcError("Internal", "the server sent no grpc-status");
  }
  const std::string text = Message(message.value_or(""));
  if (code == kUnimplemented) {
    return absl::UnimplementedError(
        absl::StrCat("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ", text));
  }
  if (code == kDeadlineExceeded) return absl::DeadlineExceededError("timeout: health rpc did not complete in time");
  if (code != 0) {
    const auto known = static_cast<size_t>(code);
    return RpcError(known < kCodes.size() ? std::string(kCodes[known]) : absl::StrCat("Code(", code, ")"), text);
  }
  // One message: a byte that says whether it is compressed, four of length.
  if (body.size() < 5 || body[0] != 0) return RpcError("Internal", "the health response cannot be read");
  uint32_t size = 0;
  for (int i = 1; i <= 4; ++i) size = size << 8 | static_cast<unsigned char>(body[static_cast<size_t>(i)]);
  if (body.size() - 5 != size) return RpcError("Internal", "the health response has another length than it says");
  auto status = ParseResponse(body.substr(5));
  if (!status.ok()) return RpcError("Internal", status.status().message());
  if (*status == 1) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("service unhealthy (responded with \"", StatusName(*status), "\")"));
}

}  // namespace vck::tether
