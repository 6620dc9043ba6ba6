#include "guestapi/cri_log.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_format.h"
#include "absl/time/civil_time.h"

namespace vck::guestapi {
namespace {

// Time, stream and tags; longer is no header.
constexpr size_t kMaxHeader = 256;

// `digits` digits at `at`, or -1.
int Number(std::string_view text, size_t at, size_t digits) {
  if (text.size() < at + digits) return -1;
  int out = 0;
  for (char c : text.substr(at, digits)) {
    if (c < '0' || c > '9') return -1;
    out = out * 10 + (c - '0');
  }
  return out;
}

}  // namespace

std::optional<absl::Time> ParseLogTime(std::string_view text) {
  // YYYY-MM-DDTHH:MM:SS
  if (text.size() < 20 || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':') {
    return std::nullopt;
  }
  const std::array<int, 6> fields = {Number(text, 0, 4),  Number(text, 5, 2),  Number(text, 8, 2),
                                     Number(text, 11, 2), Number(text, 14, 2), Number(text, 17, 2)};
  if (*std::min_element(fields.begin(), fields.end()) < 0) return std::nullopt;
  const absl::CivilSecond civil(fields[0], fields[1], fields[2], fields[3], fields[4], fields[5]);
  // 31 February and 25 o'clock would become other days.
  if (civil.month() != fields[1] || civil.day() != fields[2] || civil.hour() != fields[3] ||
      civil.minute() != fields[4] || civil.second() != fields[5]) {
    return std::nullopt;
  }
  text.remove_prefix(19);
  int64_t nanos = 0;
  if (text.front() == '.') {
    text.remove_prefix(1);
    size_t digits = 0;
    while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') ++digits;
    if (digits == 0 || digits > 9) return std::nullopt;
    for (size_t i = 0; i < 9; ++i) nanos = nanos * 10 + (i < digits ? text[i] - '0' : 0);
    text.remove_prefix(digits);
  }
  absl::Duration zone;
  if (text != "Z") {
    // +HH:MM
    if (text.size() != 6 || (text[0] != '+' && text[0] != '-') || text[3] != ':') return std::nullopt;
    const int hours = Number(text, 1, 2), minutes = Number(text, 4, 2);
    if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return std::nullopt;
    zone = absl::Hours(hours) + absl::Minutes(minutes);
    if (text[0] == '-') zone = -zone;
  }
  return absl::FromCivil(civil, absl::UTCTimeZone()) - zone + absl::Nanoseconds(nanos);
}

std::string FormatLogTime(absl::Time time) {
  const absl::CivilSecond civil = absl::ToCivilSecond(time, absl::UTCTimeZone());
  const int64_t nanos = absl::ToInt64Nanoseconds(time - absl::FromCivil(civil, absl::UTCTimeZone()));
  return absl::StrFormat("%04d-%02d-%02dT%02d:%02d:%02d.%09dZ", civil.year(), civil.month(), civil.day(), civil.hour(),
                         civil.minute(), civil.second(), nanos);
}

CriLogFilter::CriLogFilter(CriLogOptions options) : options_(options) {
  done_ = (options_.max_lines && *options_.max_lines <= 0) || (options_.limit_bytes && *options_.limit_bytes <= 0);
  BeginLine();
}

void CriLogFilter::BeginLine() {
  state_ = lines_ < options_.skip_lines ? State::kSkipped : State::kHeader;
  ++lines_;
  header_.clear();
  spaces_ = 0;
  has_content_ = false;
}

void CriLogFilter::Feed(std::string_view raw, std::string* out) {
  while (!raw.empty() && !done_) {
    if (state_ == State::kHeader) {
      const char c = raw.front();
      raw.remove_prefix(1);
      if (c == '\n') {
        BeginLine();  // cut short: not of the format
        continue;
      }
      header_.push_back(c);
      if (c == ' ' && ++spaces_ == 3) {
        OnHeader(out);
      } else if (header_.size() > kMaxHeader) {
        state_ = State::kSkipped;
      }
      continue;
    }
    const size_t end = raw.find('\n');
    const std::string_view part = raw.substr(0, end);
    raw.remove_prefix(end == std::string_view::npos ? raw.size() : end + 1);
    if (state_ == State::kContent) OnContent(part, out);
    if (end == std::string_view::npos || done_) continue;
    if (state_ == State::kContent) OnLineEnd(out);
    BeginLine();
  }
}

void CriLogFilter::OnHeader(std::string* out) {
  std::string_view rest = header_;
  const auto word = [&rest] {
    const std::string_view text = rest.substr(0, rest.find(' '));
    rest.remove_prefix(text.size() + 1);
    return text;
  };
  const auto time = ParseLogTime(word());
  const std::string_view stream = word();
  const std::string_view tags = word();
  if (!time || (stream != "stdout" && stream != "stderr")) {
    state_ = State::kSkipped;
    return;
  }
  state_ = State::kContent;
  partial_ = tags.substr(0, tags.find(':')) == "P";
  shown_ = *time >= options_.since &&
           (options_.stream == LogStream::kAll || (options_.stream == LogStream::kStdout) == (stream == "stdout"));
  if (shown_ && options_.timestamps && at_line_start_) Show(FormatLogTime(*time) + " ", out);
}

void CriLogFilter::OnContent(std::string_view part, std::string* out) {
  if (part.empty()) return;
  has_content_ = true;
  at_line_start_ = false;
  if (shown_) Show(part, out);
}

void CriLogFilter::OnLineEnd(std::string* out) {
  if (!partial_) {
    if (shown_) Show("\n", out);
    at_line_start_ = true;
  } else if (!has_content_) {
    at_line_start_ = true;
  }
  if (options_.max_lines && --*options_.max_lines <= 0) done_ = true;
}

void CriLogFilter::Show(std::string_view text, std::string* out) {
  if (!options_.limit_bytes) {
    out->append(text);
    return;
  }
  text = text.substr(0, static_cast<size_t>(std::max<int64_t>(0, *options_.limit_bytes)));
  out->append(text);
  *options_.limit_bytes -= static_cast<int64_t>(text.size());
  if (*options_.limit_bytes <= 0) done_ = true;
}

}  // namespace vck::guestapi
