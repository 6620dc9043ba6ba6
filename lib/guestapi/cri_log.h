// Container logs in CRI format, and what `kubectl logs` shows of them. A machine without I/O in constant memory.
//
//   2016-10-06T00:17:09.669794202Z stdout P a part of a line
//   2016-10-06T00:17:09.669794203Z stderr F a line, or its last part
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace vck::guestapi {

enum class LogStream { kAll, kStdout, kStderr };

// As v1.PodLogOptions; the tail is the caller's: it skips lines.
struct CriLogOptions {
  bool timestamps = false;
  absl::Time since = absl::InfinitePast();
  std::optional<int64_t> limit_bytes;
  LogStream stream = LogStream::kAll;
  int64_t skip_lines = 0;            // of the file, parts of lines count
  std::optional<int64_t> max_lines;  // likewise; what the file has grown by since its end was looked at is left out
};

// The rules are cri-client's (pkg/logs): lines that are not of the format are skipped; a time is shown where a line
// begins; parts are joined.
class CriLogFilter {
 public:
  explicit CriLogFilter(CriLogOptions options);
  // Takes the file's bytes as they come, and appends what is to be shown.
  void Feed(std::string_view raw, std::string* out);
  // Nothing more will be shown.
  [[nodiscard]] bool done() const { return done_; }

 private:
  enum class State { kSkipped, kHeader, kContent };
  void BeginLine();
  // The header is whole: decides what becomes of the line.
  void OnHeader(std::string* out);
  void OnContent(std::string_view part, std::string* out);
  void OnLineEnd(std::string* out);
  void Show(std::string_view text, std::string* out);

  CriLogOptions options_;
  State state_;
  std::string header_;
  int spaces_ = 0;
  bool shown_ = false;         // this line
  bool partial_ = false;       // this line
  bool has_content_ = false;   // this line
  bool at_line_start_ = true;  // the next line begins one for the reader
  int64_t lines_ = 0;
  bool done_ = false;
};

// The time of a log line: RFC 3339 with up to nine digits after the point.
std::optional<absl::Time> ParseLogTime(std::string_view text);
// "2016-10-06T00:17:09.669794202Z", always nine digits.
std::string FormatLogTime(absl::Time time);

}  // namespace vck::guestapi
