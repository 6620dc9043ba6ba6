// The query of /containerLogs. Pure.
#pragma once

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "base/status.h"
#include "guestapi/cri_log.h"
#include "kubeletapi/target.h"

namespace vck::kubeletapi {

struct LogOptions {
  bool follow = false;
  bool previous = false;
  bool timestamps = false;
  std::optional<int64_t> tail_lines;
  std::optional<int64_t> limit_bytes;
  std::optional<int64_t> since_seconds;
  std::optional<absl::Time> since_time;
  guestapi::LogStream stream = guestapi::LogStream::kAll;
};

// v1.PodLogOptions and its validation, with the kubelet's words: InvalidArgument for what cannot be decoded (400),
// FailedPrecondition for what is not allowed (422).
StatusOr<LogOptions> ParseLogOptions(const Query& query);

// The tether's /v1/logs. `now` is the guest's clock.
std::string TetherLogsTarget(const std::string& container, const LogOptions& options, absl::Time now);

}  // namespace vck::kubeletapi
