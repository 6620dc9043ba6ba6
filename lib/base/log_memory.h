// The newest lines of a log, for whoever asks the process itself for them. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <mutex>
#include <string>

namespace vck {

class LogMemory {
 public:
  // `capacity`: bytes of lines that are kept; the oldest go first. A line longer than that is kept alone.
  explicit LogMemory(size_t capacity) : capacity_(capacity) {}

  // `line` ends with a newline. `unix_micros`: when it was written.
  void Add(int64_t unix_micros, std::string line);

  struct Wanted {
    // Lines written at `since` or later, and at `until` or earlier: microseconds since 1970.
    int64_t since = std::numeric_limits<int64_t>::min(), until = std::numeric_limits<int64_t>::max();
    size_t tail = std::numeric_limits<size_t>::max();  // the last of those
  };
  // Oldest first.
  [[nodiscard]] std::string Text(const Wanted& wanted) const;
  [[nodiscard]] std::string Text() const { return Text(Wanted()); }

 private:
  struct Line {
    int64_t unix_micros;
    std::string text;
  };
  const size_t capacity_;
  mutable std::mutex mutex_;
  std::deque<Line> lines_;
  size_t bytes_ = 0;
};

}  // namespace vck
