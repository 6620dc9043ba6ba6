#include "kubeletapi/metric_text.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace vck::kubeletapi {
namespace {

constexpr int64_t kGiga = 1'000'000'000;

}  // namespace

void AppendHeader(std::string_view name, std::string_view type, std::string_view help, std::string* out) {
  absl::StrAppend(out, "# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
}

void AppendLine(std::string_view name, std::span<const Label> labels, std::string_view value, absl::Time time,
                std::string* out) {
  out->append(name);
  char before = '{';
  for (const auto& [key, text] : labels) {
    out->push_back(before);
    absl::StrAppend(out, key, "=\"", EscapeLabel(text), "\"");
    before = ',';
  }
  if (before == ',') out->push_back('}');
  absl::StrAppend(out, " ", value);
  if (time != absl::InfinitePast()) absl::StrAppend(out, " ", absl::ToUnixMillis(time));
  out->push_back('\n');
}

std::string Number(const MetricFamily& family, int64_t value) {
  return family.name.find("_seconds") != std::string_view::npos ? FromNanos(value) : absl::StrCat(value);
}

std::string FromNanos(int64_t nanos) {
  std::string out = absl::StrCat(nanos / kGiga);
  if (nanos % kGiga == 0) return out;
  absl::StrAppendFormat(&out, ".%09d", nanos % kGiga);
  out.erase(out.find_last_not_of('0') + 1);
  return out;
}

std::string EscapeLabel(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (c == '\n') {
      out.append("\\n");
    } else if (static_cast<unsigned char>(c) >= 0x20) {
      out.push_back(c);
    }
  }
  return out;
}

}  // namespace vck::kubeletapi
