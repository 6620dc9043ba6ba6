// The API's Status objects as absl::Status: a code for callers that only retry or not, and a typed payload.
//
//   HTTP  reason                absl code
//   400   BadRequest            kInvalidArgument
//   401   Unauthorized          kUnauthenticated
//   403   Forbidden             kPermissionDenied
//   404   NotFound              kNotFound
//   409   AlreadyExists         kAlreadyExists
//   409   Conflict and others   kAborted
//   410   Gone, Expired         kOutOfRange
//   413   RequestEntityTooLarge kResourceExhausted
//   422   Invalid               kInvalidArgument
//   405, 406, 415               kUnimplemented
//   429, 502, 503               kUnavailable
//   504   Timeout               kUnavailable (with reason Timeout)
//   500   InternalError         kInternal; ServerTimeout: kUnavailable
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "base/status.h"

namespace vck::kube {

// Type URL of the payload on every Status that the API server answered (not on those of the connection).
inline constexpr std::string_view kStatusPayload = "vck/kube/status";

struct ApiError {
  int code = 0;        // the HTTP status
  std::string reason;  // metav1.StatusReason, e.g. "AlreadyExists"; "" if the server gave none
  std::optional<absl::Duration> retry_after;
  std::string message = {};  // the server's alone, without what was asked: for people who look at an object
};

// The payload, if the server answered.
std::optional<ApiError> GetApiError(const Status& status);
// The server's message, or else that of the status.
std::string ServerMessage(const Status& status);
// The error for a response of 400 and above; `body` may be a metav1.Status or anything else; `what` begins the message.
// `retry_after` is what the header of that name asks for, which wins over details.retryAfterSeconds.
Status ErrorFromResponse(int code, std::string_view body, std::optional<absl::Duration> retry_after,
                         std::string_view what);
// The same from the object of an ERROR event of a watch.
Status ErrorFromStatusObject(std::string_view json, std::string_view what);

// True when the call may succeed if it is repeated later with the same arguments.
bool IsRetriable(const Status& status);

}  // namespace vck::kube
