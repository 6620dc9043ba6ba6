#include "kubeletapi/target.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace vck::kubeletapi {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = absl::ascii_tolower(static_cast<unsigned char>(c));
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// nullopt when an escape is malformed.
std::optional<std::string> Decode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      out.push_back(' ');
    } else if (text[i] != '%') {
      out.push_back(text[i]);
    } else {
      const int high = i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? HexDigit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return std::nullopt;
      out.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    }
  }
  return out;
}

// As Go's path.Clean with a slash at the end kept.
std::string Clean(std::string_view path) {
  std::vector<std::string_view> kept;
  for (std::string_view segment : absl::StrSplit(path, '/', absl::SkipEmpty())) {
    if (segment == ".") continue;
    if (segment != "..") {
      kept.push_back(segment);
    } else if (!kept.empty()) {
      kept.pop_back();
    }
  }
  std::string out;
  for (std::string_view segment : kept) absl::StrAppend(&out, "/", segment);
  if (out.empty() || path.back() == '/') out.push_back('/');
  return out;
}

bool Devious(std::string_view segment) {
  if (segment.empty() || segment == "." || segment == "..") return true;
  for (char c : segment) {
    if (c == '/' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return true;
  }
  return false;
}

}  // namespace

std::string_view Query::Get(std::string_view name) const {
  auto found = values_.find(name);
  return found == values_.end() ? std::string_view() : std::string_view(found->second.front());
}

const std::vector<std::string>& Query::All(std::string_view name) const {
  static const std::vector<std::string> none;
  auto found = values_.find(name);
  return found == values_.end() ? none : found->second;
}

void ParseForm(std::string_view text, Query* query) {
  for (std::string_view pair : absl::StrSplit(text, '&', absl::SkipEmpty())) {
    if (pair.find(';') != std::string_view::npos) continue;
    const size_t equals = pair.find('=');
    auto name = Decode(pair.substr(0, equals), true);
    auto value = Decode(equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1), true);
    if (name && value) query->Add(*std::move(name), *std::move(value));
  }
}

StatusOr<Target> ParseTarget(std::string_view target) {
  if (target.empty() || target.front() != '/') return absl::InvalidArgumentError("expected a path");
  Target out;
  const size_t mark = target.find('?');
  const std::string_view raw = target.substr(0, mark);
  if (mark != std::string_view::npos) ParseForm(target.substr(mark + 1), &out.query);
  auto path = Decode(raw, false);
  if (!path) return absl::InvalidArgumentError("wrong percent-encoding");
  out.path = *std::move(path);
  // Split before decoding: an encoded slash separates nothing.
  std::string_view rest = raw.substr(1);
  while (!rest.empty()) {
    const std::string_view segment = rest.substr(0, rest.find('/'));
    rest.remove_prefix(std::min(rest.size(), segment.size() + 1));
    out.segments.push_back(*Decode(segment, false));
    out.devious = out.devious || Devious(out.segments.back());
  }
  if (std::string clean = Clean(raw); clean != raw) {
    out.devious = true;
    out.cleaned = std::move(clean);
    if (mark != std::string_view::npos) out.cleaned.append(target.substr(mark));
  }
  return out;
}

}  // namespace vck::kubeletapi
