#include "kube/errors.h"

#include <boost/json/monotonic_resource.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "json/json.h"

namespace vck::kube {
namespace {

absl::StatusCode CodeOf(int code, std::string_view reason) {
  switch (code) {
    case 400:
    case 422:
      return absl::StatusCode::kInvalidArgument;
    case 401:
      return absl::StatusCode::kUnauthenticated;
    case 403:
      return absl::StatusCode::kPermissionDenied;
    case 404:
      return absl::StatusCode::kNotFound;
    case 409:
      return reason == "AlreadyExists" ? absl::StatusCode::kAlreadyExists : absl::StatusCode::kAborted;
    case 410:
      return absl::StatusCode::kOutOfRange;
    case 413:
      return absl::StatusCode::kResourceExhausted;
    case 405:
    case 406:
    case 415:
      return absl::StatusCode::kUnimplemented;
    case 429:
    case 502:
    case 503:
    case 504:
      return absl::StatusCode::kUnavailable;
    default:
      if (reason == "ServerTimeout") return absl::StatusCode::kUnavailable;
      return code >= 500 ? absl::StatusCode::kInternal : absl::StatusCode::kUnknown;
  }
}

Status Make(ApiError error, std::string_view what, std::string_view message) {
  std::string text = absl::StrCat(what, ": ", message, " (HTTP ", error.code,
                                  error.reason.empty() ? "" : absl::StrCat(", ", error.reason), ")");
  Status status(CodeOf(error.code, error.reason), text);
  int64_t wait = error.retry_after ? absl::ToInt64Milliseconds(*error.retry_after) : -1;
  status.SetPayload(kStatusPayload, absl::Cord(absl::StrCat(error.code, " ", wait, " ", error.reason, " ", message)));
  return status;
}

// The proxy's HTML page or whatever it was, short and printable.
std::string Excerpt(std::string_view body) {
  constexpr size_t kMost = 200;
  std::string text = absl::CHexEscape(absl::StripAsciiWhitespace(body.substr(0, kMost)));
  return body.size() > kMost ? text + "…" : text;
}

}  // namespace

std::optional<ApiError> GetApiError(const Status& status) {
  auto payload = status.GetPayload(kStatusPayload);
  if (!payload) return std::nullopt;
  std::vector<std::string> parts = absl::StrSplit(std::string(*payload), absl::MaxSplits(' ', 3));
  ApiError error;
  int64_t wait = -1;
  if (parts.size() != 4 || !absl::SimpleAtoi(parts[0], &error.code) || !absl::SimpleAtoi(parts[1], &wait)) {
    return std::nullopt;
  }
  if (wait >= 0) error.retry_after = absl::Milliseconds(wait);
  error.reason = parts[2];
  error.message = parts[3];
  return error;
}

std::string ServerMessage(const Status& status) {
  auto error = GetApiError(status);
  return error && !error->message.empty() ? error->message : std::string(status.message());
}

Status ErrorFromResponse(int code, std::string_view body, std::optional<absl::Duration> retry_after,
                         std::string_view what) {
  ApiError error{.code = code};
  std::string message;
  boost::json::monotonic_resource arena(4096);
  auto parsed = json::Parse(body, &arena);
  if (parsed.ok() && json::String(*parsed, "kind") == "Status") {
    error.reason = json::String(*parsed, "reason");
    message = json::String(*parsed, "message");
    int64_t seconds = json::Int(json::Get(*parsed, "details"), "retryAfterSeconds", 0);
    if (seconds > 0) error.retry_after = absl::Seconds(seconds);
    if (error.code == 0) error.code = static_cast<int>(json::Int(*parsed, "code", 500));
  }
  if (error.code == 0) error.code = 500;
  if (message.empty()) message = body.empty() ? "no message" : Excerpt(body);
  if (retry_after) error.retry_after = retry_after;
  return Make(std::move(error), what, message);
}

Status ErrorFromStatusObject(std::string_view json, std::string_view what) {
  return ErrorFromResponse(0, json, std::nullopt, what);
}

bool IsRetriable(const Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kInternal:
      return true;
    default:
      return false;
  }
}

}  // namespace vck::kube
