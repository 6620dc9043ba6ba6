// Container logs in the CRI's format, a line each:  <RFC 3339 with nanoseconds> <stdout|stderr> <F|P> <content>
// P: the line goes on in the next entry of that stream. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace vck::guestos {

enum class LogStream { kStdout, kStderr };
inline constexpr size_t kMaxLogContent = size_t{16} * 1024;  // of one entry, as containerd cuts them

struct LogEntry {
  absl::Time time;
  std::string_view stamp;  // as it is written
  LogStream stream = LogStream::kStdout;
  bool partial = false;
  std::string_view content;
};
// A line without its newline; nothing when it is not of the form.
std::optional<LogEntry> ParseLogEntry(std::string_view line);

// Makes entries of what a container writes to one stream.
class LogLines {
 public:
  explicit LogLines(LogStream stream) : stream_(stream) {}
  // Appends to `out` what is a whole line now, or too long to wait for its end.
  void Feed(std::string_view data, absl::Time now, std::string* out);
  // The stream has ended: what is left has no newline, and is P.
  void Finish(absl::Time now, std::string* out);

 private:
  void Append(std::string_view content, bool partial, const std::string& stamp, std::string* out);
  LogStream stream_;
  std::string held_;
};

struct LogQuery {
  bool timestamps = false;
  absl::Time since = absl::InfinitePast();
  std::optional<int64_t> limit_bytes;
  std::optional<LogStream> stream;  // absent: both
};

// Makes of a log file's bytes what a reader of /containerLogs is shown. Holds at most one entry.
class LogFilter {
 public:
  explicit LogFilter(LogQuery query) : query_(query) {}
  // Lines that are not of the form are skipped: the guest may have died while it wrote.
  void Feed(std::string_view data, std::string* out);
  // limit_bytes is used up.
  [[nodiscard]] bool done() const { return query_.limit_bytes && *query_.limit_bytes <= 0; }

 private:
  void Line(std::string_view line, std::string* out);
  LogQuery query_;
  std::string held_;
  bool skip_ = false;  // the rest of a line that is too long to be one
  bool at_start_ = true;
};

}  // namespace vck::guestos
