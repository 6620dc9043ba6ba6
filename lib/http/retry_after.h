// The field Retry-After (RFC 9110 §10.2.3).
#pragma once

#include <optional>

#include "absl/time/time.h"
#include "http/message.h"

namespace vck::http {

// How long the server asks to wait: its seconds, or the time until its date, in any of the three forms of §5.6.7. A
// date counts from the response's Date, so that the two clocks need not agree; without one, from `now`. One that is
// over is zero. Absent if there is no such field, or one that is neither.
std::optional<absl::Duration> RetryAfter(const Headers& headers, absl::Time now);

}  // namespace vck::http
