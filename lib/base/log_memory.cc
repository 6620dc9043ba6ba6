#include "base/log_memory.h"

#include <utility>

namespace vck {

void LogMemory::Add(int64_t unix_micros, std::string line) {
  const std::lock_guard lock(mutex_);
  bytes_ += line.size();
  lines_.push_back({unix_micros, std::move(line)});
  while (bytes_ > capacity_ && lines_.size() > 1) {
    bytes_ -= lines_.front().text.size();
    lines_.pop_front();
  }
}

std::string LogMemory::Text(const Wanted& wanted) const {
  const std::lock_guard lock(mutex_);
  // From the end, because the tail is counted from there.
  size_t count = 0, bytes = 0;
  auto first = lines_.end();
  while (first != lines_.begin() && count < wanted.tail) {
    --first;
    if (first->unix_micros > wanted.until || first->unix_micros < wanted.since) continue;
    ++count;
    bytes += first->text.size();
  }
  std::string out;
  out.reserve(bytes);
  for (; first != lines_.end(); ++first) {
    if (first->unix_micros <= wanted.until && first->unix_micros >= wanted.since) out += first->text;
  }
  return out;
}

}  // namespace vck
