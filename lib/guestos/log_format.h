// Makes a container's log, in the CRI's format (guestapi/cri_log.h), of what its process writes. Pure.
#pragma once

#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "guestapi/cri_log.h"

namespace vck::guestos {

inline constexpr size_t kMaxLogContent = size_t{16} * 1024;  // of one entry, as containerd cuts them

// Makes entries of what a container writes to one stream.
class LogLines {
 public:
  explicit LogLines(guestapi::LogStream stream) : stream_(stream) {}
  // Appends to `out` what is a whole line now, or too long to wait for its end.
  void Feed(std::string_view data, absl::Time now, std::string* out);
  // The stream has ended: what is left has no newline, and is a part of a line.
  void Finish(absl::Time now, std::string* out);

 private:
  void Append(std::string_view content, bool partial, const std::string& stamp, std::string* out);
  guestapi::LogStream stream_;
  std::string held_;
};

}  // namespace vck::guestos
