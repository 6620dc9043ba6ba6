#include "http/retry_after.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"

namespace vck::http {
namespace {

std::optional<absl::Time> ParseDate(std::string_view text) {
  // IMF-fixdate, and the obsolete forms of RFC 850 and of C's asctime.
  for (const char* form : {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"}) {
    absl::Time time;
    // absl also reads "infinite-future".
    if (absl::ParseTime(form, text, &time, nullptr) && time < absl::InfiniteFuture() && time > absl::InfinitePast())
      return time;
  }
  return std::nullopt;
}

}  // namespace

std::optional<absl::Duration> RetryAfter(const Headers& headers, absl::Time now) {
  auto field = headers.Get("Retry-After");
  if (!field) return std::nullopt;
  std::string_view text = absl::StripAsciiWhitespace(*field);
  int64_t seconds = 0;
  if (absl::SimpleAtoi(text, &seconds)) {
    if (seconds < 0) return std::nullopt;
    return absl::Seconds(seconds);
  }
  auto date = ParseDate(text);
  if (!date) return std::nullopt;
  auto sent = headers.Get("Date");
  const absl::Time from = sent ? ParseDate(absl::StripAsciiWhitespace(*sent)).value_or(now) : now;
  return std::max(*date - from, absl::ZeroDuration());
}

}  // namespace vck::http
