#include "guestos/query.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace vck::guestos {
namespace {

StatusOr<std::string> Decode(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    uint32_t byte = 0;
    if (i + 2 >= text.size() || !absl::SimpleHexAtoi(text.substr(i + 1, 2), &byte)) {
      return absl::InvalidArgumentError("the request's target has a broken percent-encoding");
    }
    out.push_back(static_cast<char>(byte));
    i += 2;
  }
  return out;
}

}  // namespace

StatusOr<Query> Query::Parse(std::string_view target) {
  Query out;
  const size_t mark = target.find('?');
  ASSIGN_OR_RETURN(out.path_, Decode(target.substr(0, mark)));
  if (mark == std::string_view::npos) return out;
  for (std::string_view field : absl::StrSplit(target.substr(mark + 1), '&', absl::SkipEmpty())) {
    const std::pair<std::string_view, std::string_view> parts = absl::StrSplit(field, absl::MaxSplits('=', 1));
    ASSIGN_OR_RETURN(std::string name, Decode(parts.first));
    ASSIGN_OR_RETURN(std::string value, Decode(parts.second));
    out.fields_.emplace_back(std::move(name), std::move(value));
  }
  return out;
}

std::string_view Query::Get(std::string_view name) const {
  for (const auto& [key, value] : fields_) {
    if (key == name) return value;
  }
  return {};
}

std::vector<std::string> Query::All(std::string_view name) const {
  std::vector<std::string> out;
  for (const auto& [key, value] : fields_) {
    if (key == name) out.push_back(value);
  }
  return out;
}

bool Query::Flag(std::string_view name) const {
  const std::string_view value = Get(name);
  return value == "1" || value == "true";
}

StatusOr<std::optional<int64_t>> Query::Number(std::string_view name, int64_t min) const {
  const std::string_view value = Get(name);
  if (value.empty()) return std::nullopt;
  int64_t number = 0;
  if (!absl::SimpleAtoi(value, &number) || number < min) {
    return absl::InvalidArgumentError(absl::StrCat(name, "=", value, ": not a number from ", min, " on"));
  }
  return number;
}

}  // namespace vck::guestos
