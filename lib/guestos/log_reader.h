// Reads the log of a container's run, while it is written or afterwards, with as much memory for a long one as for a
// short one.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <boost/asio/thread_pool.hpp>

#include "async/task.h"
#include "base/status.h"
#include "guestapi/cri_log.h"
#include "guestos/log_writer.h"

namespace vck::guestos {

struct LogReadOptions {
  guestapi::CriLogOptions query;
  std::optional<int64_t> tail_lines;  // entries at the end
  bool follow = false;                // until the log is finished
  bool raw = false;                   // the files' bytes as they are; `query` does not count
};

class LogSink {
 public:
  virtual ~LogSink() = default;
  // The text must stay alive meanwhile. An error ends the reading.
  virtual Task<Status> Write(std::string_view text) = 0;
};

// `live` is null for a log that is not being written. NotFound when there is no such log (any more).
Task<Status> ReadLog(asio::thread_pool* pool, std::string log, std::shared_ptr<LiveLog> live, LogReadOptions options,
                     LogSink* sink);

// Blocking: where the last `lines` lines of a log begin. NotFound when there is none.
struct LogPosition {
  int64_t piece = 0, offset = 0;
  friend bool operator==(const LogPosition&, const LogPosition&) = default;
};
StatusOr<LogPosition> FindTail(const std::string& log, int64_t lines);
// Blocking: the end of the log as a reader is shown it: at most so many lines and bytes.
std::string ReadTail(const std::string& log, int64_t lines, size_t max_bytes);

}  // namespace vck::guestos
