#include "kubeletapi/log_options.h"

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "http/message.h"
#include "kubeapi/timestamp.h"

namespace vck::kubeletapi {
namespace {

// conversion of url.Values in apimachinery: present and not false.
bool Flag(const Query& query, std::string_view name) {
  if (!query.Has(name)) return false;
  const std::string text = absl::AsciiStrToLower(query.Get(name));
  return text != "false" && text != "0";
}

bool Number(const Query& query, std::string_view name, std::optional<int64_t>* out) {
  if (!query.Has(name)) return true;
  int64_t value = 0;
  const std::string_view text = query.Get(name);
  if (text.empty() || absl::ascii_isspace(static_cast<unsigned char>(text.front())) ||
      absl::ascii_isspace(static_cast<unsigned char>(text.back())) || !absl::SimpleAtoi(text, &value)) {
    return false;
  }
  *out = value;
  return true;
}

std::string_view StreamName(guestapi::LogStream stream) {
  switch (stream) {
    case guestapi::LogStream::kStdout:
      return "Stdout";
    case guestapi::LogStream::kStderr:
      return "Stderr";
    default:
      return "All";
  }
}

}  // namespace

StatusOr<LogOptions> ParseLogOptions(const Query& query) {
  Status undecodable = absl::InvalidArgumentError(R"({"message": "Unable to decode query."})");
  Status invalid = absl::FailedPreconditionError(R"({"message": "Invalid request."})");
  LogOptions out;
  out.follow = Flag(query, "follow");
  out.previous = Flag(query, "previous");
  out.timestamps = Flag(query, "timestamps");
  if (!Number(query, "limitBytes", &out.limit_bytes) || !Number(query, "sinceSeconds", &out.since_seconds)) {
    return undecodable;
  }
  // The kubelet's older parameter wins.
  const std::string_view tail = query.Get("tail");
  if (tail != "all" && !Number(query, tail.empty() ? "tailLines" : "tail", &out.tail_lines)) return undecodable;
  if (const std::string_view text = query.Get("sinceTime"); !text.empty() && text != "null") {
    out.since_time = kubeapi::ParseTime(text);
    if (!out.since_time) return undecodable;
  }
  const std::string_view stream = query.Has("stream") ? query.Get("stream") : "All";
  if (stream == "Stdout") {
    out.stream = guestapi::LogStream::kStdout;
  } else if (stream == "Stderr") {
    out.stream = guestapi::LogStream::kStderr;
  } else if (stream != "All") {
    return invalid;
  }
  if (out.tail_lines && *out.tail_lines < 0) return invalid;
  if (out.limit_bytes && *out.limit_bytes < 1) return invalid;
  if (out.since_seconds && (out.since_time || *out.since_seconds < 1)) return invalid;
  if (out.stream != guestapi::LogStream::kAll && out.tail_lines) return invalid;
  return out;
}

std::string TetherLogsTarget(const std::string& container, const LogOptions& options, absl::Time now) {
  std::string out = absl::StrCat("/v1/logs?container=", http::PercentEncode(container));
  if (options.follow) out += "&follow=1";
  if (options.previous) out += "&previous=1";
  if (options.timestamps) out += "&timestamps=1";
  if (options.tail_lines) absl::StrAppend(&out, "&tailLines=", *options.tail_lines);
  if (options.limit_bytes) absl::StrAppend(&out, "&limitBytes=", *options.limit_bytes);
  std::optional<absl::Time> since = options.since_time;
  if (options.since_seconds) since = now - absl::Seconds(*options.since_seconds);
  if (since) absl::StrAppend(&out, "&sinceTime=", absl::ToUnixNanos(*since));
  if (options.stream != guestapi::LogStream::kAll) absl::StrAppend(&out, "&stream=", StreamName(options.stream));
  return out;
}

}  // namespace vck::kubeletapi
