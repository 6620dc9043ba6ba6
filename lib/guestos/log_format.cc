#include "guestos/log_format.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace vck::guestos {
namespace {

constexpr char kStampFormat[] = "%Y-%m-%dT%H:%M:%E9SZ";
constexpr size_t kMaxLine = kMaxLogContent + 128;

std::string_view TakeWord(std::string_view* text) {
  const size_t space = text->find(' ');
  std::string_view word = text->substr(0, space);
  text->remove_prefix(space == std::string_view::npos ? text->size() : space + 1);
  return word;
}

}  // namespace

std::optional<LogEntry> ParseLogEntry(std::string_view line) {
  LogEntry out;
  out.stamp = TakeWord(&line);
  if (!absl::ParseTime(absl::RFC3339_full, out.stamp, &out.time, nullptr)) return std::nullopt;
  const std::string_view stream = TakeWord(&line);
  if (stream == "stderr") {
    out.stream = LogStream::kStderr;
  } else if (stream != "stdout") {
    return std::nullopt;
  }
  // Tags may be followed by others after colons.
  const std::string_view tags = TakeWord(&line);
  if (tags.empty() || (tags[0] != 'F' && tags[0] != 'P') || (tags.size() > 1 && tags[1] != ':')) return std::nullopt;
  out.partial = tags[0] == 'P';
  out.content = line;
  return out;
}

void LogLines::Append(std::string_view content, bool partial, const std::string& stamp, std::string* out) {
  absl::StrAppend(out, stamp, stream_ == LogStream::kStdout ? " stdout " : " stderr ", partial ? "P " : "F ", content,
                  "\n");
}

void LogLines::Feed(std::string_view data, absl::Time now, std::string* out) {
  const std::string stamp = absl::FormatTime(kStampFormat, now, absl::UTCTimeZone());
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
  Append(held_, true, absl::FormatTime(kStampFormat, now, absl::UTCTimeZone()), out);
  held_.clear();
}

void LogFilter::Feed(std::string_view data, std::string* out) {
  while (!data.empty() && !done()) {
    const size_t newline = data.find('\n');
    const std::string_view part = data.substr(0, newline);
    data.remove_prefix(newline == std::string_view::npos ? data.size() : newline + 1);
    if (!skip_ && held_.size() + part.size() > kMaxLine) {
      skip_ = true;
      held_.clear();
    }
    if (newline == std::string_view::npos) {
      if (!skip_) held_.append(part);
      return;
    }
    if (!skip_ && held_.empty()) {
      Line(part, out);
    } else if (!skip_) {
      held_.append(part);
      Line(held_, out);
    }
    skip_ = false;
    held_.clear();
  }
}

void LogFilter::Line(std::string_view line, std::string* out) {
  auto entry = ParseLogEntry(line);
  if (!entry || entry->time < query_.since) return;
  if (query_.stream && entry->stream != *query_.stream) return;
  const size_t before = out->size();
  if (query_.timestamps && at_start_) absl::StrAppend(out, entry->stamp, " ");
  out->append(entry->content);
  if (!entry->partial) out->push_back('\n');
  at_start_ = !entry->partial;
  if (!query_.limit_bytes) return;
  const auto added = static_cast<int64_t>(out->size() - before);
  if (added > *query_.limit_bytes) out->resize(before + static_cast<size_t>(*query_.limit_bytes));
  *query_.limit_bytes -= std::min(added, *query_.limit_bytes);
}

}  // namespace vck::guestos
