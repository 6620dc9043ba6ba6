#include "guestapi/expand.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace vck::guestapi {
namespace {

// `on_text` gets what stays as it is, with $$ already as $; `on_name` gets the NAME of each $(NAME).
template <class OnText, class OnName>
void Walk(std::string_view text, const OnText& on_text, const OnName& on_name) {
  while (!text.empty()) {
    const size_t dollar = text.find('$');
    if (dollar != 0) on_text(text.substr(0, dollar));
    if (dollar == std::string_view::npos) return;
    text.remove_prefix(dollar + 1);
    if (text.empty()) {
      on_text("$");
    } else if (text.front() == '$') {
      on_text("$");
      text.remove_prefix(1);
    } else if (const size_t end = text.find(')'); text.front() == '(' && end != std::string_view::npos) {
      on_name(text.substr(1, end - 1));
      text.remove_prefix(end + 1);
    } else {
      on_text("$");
      on_text(text.substr(0, 1));
      text.remove_prefix(1);
    }
  }
}

}  // namespace

std::string Expand(std::string_view text, const Lookup& env) {
  std::string out;
  out.reserve(text.size());
  Walk(
      text, [&out](std::string_view piece) { out += piece; },
      [&](std::string_view name) {
        if (const std::string* value = env(name)) {
          out += *value;
        } else {
          absl::StrAppend(&out, "$(", name, ")");
        }
      });
  return out;
}

std::string ExpandExcept(std::string_view text, const NameSet& later, const Lookup& env) {
  std::string out;
  Walk(
      text, [&out](std::string_view piece) { out += EscapeDollars(piece); },
      [&](std::string_view name) {
        if (later(name)) {
          absl::StrAppend(&out, "$(", name, ")");
        } else if (const std::string* value = env(name)) {
          out += EscapeDollars(*value);
        } else {
          absl::StrAppend(&out, "$$(", EscapeDollars(name), ")");
        }
      });
  return out;
}

bool RefersTo(std::string_view text, const NameSet& names) {
  bool found = false;
  Walk(text, [](std::string_view) {}, [&](std::string_view name) { found |= names(name); });
  return found;
}

std::string EscapeDollars(std::string_view text) { return absl::StrReplaceAll(text, {{"$", "$$"}}); }

}  // namespace vck::guestapi
