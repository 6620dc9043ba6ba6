#include "guestos/log_format.h"

#include "absl/strings/str_cat.h"

namespace vck::guestos {

void LogLines::Append(std::string_view content, bool partial, const std::string& stamp, std::string* out) {
  absl::StrAppend(out, stamp, stream_ == guestapi::LogStream::kStdout ? " stdout " : " stderr ", partial ? "P " : "F ",
                  content, "\n");
}

void LogLines::Feed(std::string_view data, absl::Time now, std::string* out) {
  const std::string stamp = guestapi::FormatLogTime(now);
  while (!data.empty()) {
    const size_t newline = data.find('\n');
    const std::string_view rest = data.substr(0, newline);
    const std::string_view part = rest.substr(0, kMaxLogContent - held_.size());
    const bool whole = newline != std::string_view::npos && part.size() == rest.size();
    if (!whole && held_.size() + part.size() < kMaxLogContent) {
      held_.append(part);
      return;
    }
    if (held_.empty()) {
      Append(part, !whole, stamp, out);
    } else {
      held_.append(part);
      Append(held_, !whole, stamp, out);
      held_.clear();
    }
    data.remove_prefix(part.size() + (whole ? 1 : 0));
  }
}

void LogLines::Finish(absl::Time now, std::string* out) {
  if (held_.empty()) return;
  Append(held_, true, guestapi::FormatLogTime(now), out);
  held_.clear();
}

}  // namespace vck::guestos
