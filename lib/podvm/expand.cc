#include "podvm/resolve_spec.h"

namespace vck::podvm {

std::string Expand(std::string_view text, const std::function<const std::string*(std::string_view)>& env) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t dollar = text.find('$');
    out += text.substr(0, dollar);
    if (dollar == std::string_view::npos) break;
    text.remove_prefix(dollar + 1);
    if (text.empty()) {
      out += '$';
    } else if (text.front() == '$') {
      out += '$';
      text.remove_prefix(1);
    } else if (const size_t end = text.find(')'); text.front() == '(' && end != std::string_view::npos) {
      const std::string_view name = text.substr(1, end - 1);
      if (const std::string* value = env(name)) {
        out += *value;
      } else {
        out += "$(";
        out += name;
        out += ')';
      }
      text.remove_prefix(end + 1);
    } else {
      out += '$';
      out += text.front();
      text.remove_prefix(1);
    }
  }
  return out;
}

}  // namespace vck::podvm
