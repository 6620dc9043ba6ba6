#include "kubeapi/timestamp.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace vck::kubeapi {
namespace {

// Days since 1970-01-01 of a proleptic Gregorian date, and back (Howard Hinnant's algorithms).
int64_t DaysFromCivil(int64_t y, int64_t m, int64_t d) {
  y -= m <= 2 ? 1 : 0;
  const int64_t era = (y >= 0 ? y : y - 399) / 400;
  const int64_t yoe = y - era * 400;
  const int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
  const int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
  return era * 146097 + doe - 719468;
}

void CivilFromDays(int64_t z, int64_t* y, int64_t* m, int64_t* d) {
  z += 719468;
  const int64_t era = (z >= 0 ? z : z - 146096) / 146097;
  const int64_t doe = z - era * 146097;
  const int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  const int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  const int64_t mp = (5 * doy + 2) / 153;
  *d = doy - (153 * mp + 2) / 5 + 1;
  *m = mp + (mp < 10 ? 3 : -9);
  *y = yoe + era * 400 + (*m <= 2 ? 1 : 0);
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
int64_t Number(std::string_view text) {
  int64_t value = 0;
  for (char c : text) value = value * 10 + (c - '0');
  return value;
}

}  // namespace

std::optional<absl::Time> ParseTime(std::string_view text) {
  // The form that every API object has; the rest goes the slow way.
  if (text.size() == 20 && text[4] == '-' && text[7] == '-' && text[10] == 'T' && text[13] == ':' && text[16] == ':' &&
      text[19] == 'Z') {
    constexpr std::array kDigits = {0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18};
    if (std::all_of(kDigits.begin(), kDigits.end(), [text](int i) { return IsDigit(text[static_cast<size_t>(i)]); })) {
      const int64_t y = Number(text.substr(0, 4)), mo = Number(text.substr(5, 2)), d = Number(text.substr(8, 2));
      const int64_t h = Number(text.substr(11, 2)), mi = Number(text.substr(14, 2)), s = Number(text.substr(17, 2));
      if (mo >= 1 && mo <= 12 && d >= 1 && d <= 28 && h < 24 && mi < 60 && s < 60) {
        return absl::FromUnixSeconds(DaysFromCivil(y, mo, d) * 86400 + h * 3600 + mi * 60 + s);
      }
    }
  }
  absl::Time time;
  std::string error;
  if (text.empty() || !absl::ParseTime(absl::RFC3339_full, text, &time, &error)) return std::nullopt;
  if (time == absl::InfiniteFuture() || time == absl::InfinitePast()) return std::nullopt;
  return time;
}

std::string FormatTime(absl::Time time) {
  if (time == absl::InfiniteFuture() || time == absl::InfinitePast()) return {};
  const int64_t seconds = absl::ToUnixSeconds(time);  // floors
  const int64_t days = (seconds >= 0 ? seconds : seconds - 86399) / 86400;
  const int64_t rest = seconds - days * 86400;
  int64_t y = 0, mo = 0, d = 0;
  CivilFromDays(days, &y, &mo, &d);
  if (y < 0 || y > 9999) return {};
  std::string out = "0000-00-00T00:00:00Z";
  auto put = [&out](size_t at, int width, int64_t value) {
    for (int i = width - 1; i >= 0; --i, value /= 10)
      out[at + static_cast<size_t>(i)] = static_cast<char>('0' + value % 10);
  };
  put(0, 4, y);
  put(5, 2, mo);
  put(8, 2, d);
  put(11, 2, rest / 3600);
  put(14, 2, rest / 60 % 60);
  put(17, 2, rest % 60);
  return out;
}

}  // namespace vck::kubeapi
