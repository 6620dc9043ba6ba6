#include "flag_set.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <set>

#include <yaml-cpp/yaml.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace vck {
namespace {

Status Expected(std::string_view text, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is not ", what));
}

std::string Dashed(std::string_view name) { return absl::StrCat(name.size() == 1 ? "-" : "--", name); }

// How many letters it takes to make one of the other.
size_t Distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({change, row[j] + 1, row[j - 1] + 1}));
    }
  }
  return row.back();
}

const char* KindOf(const YAML::Node& node) {
  if (node.IsSequence()) return "a list";
  if (node.IsMap()) return "a map";
  return node.IsScalar() ? "text" : "nothing";
}

StatusOr<std::string> Scalar(const YAML::Node& node, std::string_view what) {
  if (!node.IsScalar()) return absl::InvalidArgumentError(absl::StrCat("expected ", what, ", got ", KindOf(node)));
  return node.Scalar();
}

StatusOr<std::string> TaintText(const YAML::Node& node) {
  constexpr std::string_view kWhat = "taints as key=value:effect or {key: …, value: …, effect: …}";
  if (!node.IsMap()) return Scalar(node, kWhat);
  std::map<std::string, std::string> fields{{"key", ""}, {"value", ""}, {"effect", ""}};
  for (const auto& field : node) {
    ASSIGN_OR_RETURN(std::string name, Scalar(field.first, kWhat));
    auto known = fields.find(name);
    if (known == fields.end()) return absl::InvalidArgumentError(absl::StrCat("a taint has no \"", name, "\""));
    ASSIGN_OR_RETURN(known->second, Scalar(field.second, kWhat));
  }
  const std::string& value = fields["value"];
  return absl::StrCat(fields["key"], value.empty() ? "" : "=", value, ":", fields["effect"]);
}

// The text that the flag takes on the command line.
StatusOr<std::string> TextOf(const YAML::Node& node, FlagSet::Form form) {
  using Form = FlagSet::Form;
  if (node.IsScalar()) return node.Scalar();
  std::vector<std::string> parts;
  if (form == Form::kMap && node.IsMap()) {
    for (const auto& entry : node) {
      ASSIGN_OR_RETURN(std::string key, Scalar(entry.first, "a map of text to text"));
      ASSIGN_OR_RETURN(std::string value, Scalar(entry.second, "a map of text to text"));
      parts.push_back(absl::StrCat(key, "=", value));
    }
  } else if (form != Form::kScalar && node.IsSequence()) {
    for (const auto& item : node) {
      ASSIGN_OR_RETURN(std::string text, form == Form::kTaints ? TaintText(item) : Scalar(item, "a list of texts"));
      parts.push_back(std::move(text));
    }
  } else {
    std::string_view what = form == Form::kScalar ? "one value" : form == Form::kMap ? "a map, a list" : "a list";
    return Scalar(node, absl::StrCat(what, form == Form::kScalar ? "" : " or text"));
  }
  return absl::StrJoin(parts, ",");
}

// Words of `text` in lines of up to `width`, those after the first indented.
std::string Wrap(std::string_view text, size_t indent, size_t width) {
  std::string out;
  size_t column = indent;
  for (std::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    if (column > indent && column + 1 + word.size() > width) {
      absl::StrAppend(&out, "\n", std::string(indent, ' '));
      column = indent;
    } else if (column > indent) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
  }
  return out;
}

}  // namespace

FlagSet::Flag& FlagSet::New(std::string_view name, std::string_view type, std::string_view help,
                            std::function<std::string()> get) {
  Flag& flag = flags_[std::string(name)];
  flag.group = group_;
  flag.type = std::string(type);
  flag.help = std::string(help);
  flag.initial = get();
  flag.get = std::move(get);
  order_.emplace_back(name);
  return flag;
}

void FlagSet::Add(std::string_view name, std::string& value, std::string_view help, Form form) {
  Flag& flag = New(name, "TEXT", help, [&value] { return value; });
  flag.form = form;
  flag.set = [&value](const std::string& text) {
    value = text;
    return absl::OkStatus();
  };
}

void FlagSet::Add(std::string_view name, int& value, std::string_view help) {
  New(name, "N", help, [&value] { return absl::StrCat(value); }).set = [&value](const std::string& text) {
    int number = 0;
    if (!absl::SimpleAtoi(text, &number)) return Expected(text, "a whole number");
    value = number;
    return absl::OkStatus();
  };
}

void FlagSet::Add(std::string_view name, double& value, std::string_view help) {
  New(name, "NUMBER", help, [&value] { return absl::StrCat(value); }).set = [&value](const std::string& text) {
    double number = 0;
    if (!absl::SimpleAtod(text, &number) || !std::isfinite(number)) return Expected(text, "a number");
    value = number;
    return absl::OkStatus();
  };
}

void FlagSet::Add(std::string_view name, absl::Duration& value, std::string_view help) {
  New(name, "TIME", help, [&value] { return absl::FormatDuration(value); }).set = [&value](const std::string& text) {
    absl::Duration time;
    if (!absl::ParseDuration(text, &time) || time == absl::InfiniteDuration() || time == -absl::InfiniteDuration()) {
      return Expected(text, "a time, such as 30s, 5m or 1h30m");
    }
    value = time;
    return absl::OkStatus();
  };
}

void FlagSet::Switch(std::string_view name, bool& value, std::string_view help) {
  Flag& flag = New(name, "", help, [&value] { return std::string(value ? "true" : "false"); });
  flag.is_switch = true;
  flag.set = [&value](const std::string& text) {
    for (const auto& [word, truth] : {std::pair{"true", true},
                                      {"yes", true},
                                      {"on", true},
                                      {"1", true},
                                      {"false", false},
                                      {"no", false},
                                      {"off", false},
                                      {"0", false}}) {
      if (absl::EqualsIgnoreCase(text, word)) {
        value = truth;
        return absl::OkStatus();
      }
    }
    return Expected(text, "true or false");
  };
}

std::string FlagSet::Unknown(std::string_view name) const {
  std::string_view nearest;
  size_t least = name.size() / 3 + 1;
  for (const std::string& known : order_) {
    size_t distance = Distance(name, known);
    if (distance < least) {
      least = distance;
      nearest = known;
    }
  }
  return nearest.empty() ? "there is no such flag"
                         : absl::StrCat("there is no such flag; did you mean ", Dashed(nearest), "?");
}

void FlagSet::Set(const std::string& name, const std::string& text, std::string place) {
  Flag& flag = flags_.at(name);
  flag.place = std::move(place);
  if (Status status = flag.set(text); !status.ok()) {
    problems_.push_back(Locate(absl::StrCat(Dashed(name), ": ", status.message())));
  }
}

void FlagSet::ParseArguments(const std::vector<std::string>& arguments) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string_view argument = arguments[i];
    const bool one_dash = argument.size() > 1 && argument[0] == '-' && argument[1] != '-';
    if (!argument.starts_with("--") && !one_dash) {
      problems_.push_back(
          absl::StrCat("\"", argument, "\": expected a flag, such as --node-name=vch1 or --leader-elect=false"));
      continue;
    }
    std::string_view name = argument.substr(one_dash ? 1 : 2);
    std::optional<std::string> text;
    if (size_t at = name.find('='); at != std::string_view::npos) {
      text = std::string(name.substr(at + 1));
      name = name.substr(0, at);
    } else if (one_dash && name.size() > 1) {
      text = std::string(name.substr(1));
      name = name.substr(0, 1);
    }
    auto flag = flags_.find(name);
    if (flag == flags_.end() || (one_dash && name.size() != 1)) {
      problems_.push_back(absl::StrCat(argument.substr(0, argument.find('=')), ": ", Unknown(name)));
      // Its value is no mistake of its own.
      if (!text && i + 1 < arguments.size() && !arguments[i + 1].starts_with('-')) ++i;
      continue;
    }
    if (!text && flag->second.is_switch) text = "true";
    if (!text) {
      if (i + 1 == arguments.size() || arguments[i + 1].starts_with("--")) {
        problems_.push_back(absl::StrCat(Dashed(name), ": expected a value"));
        continue;
      }
      text = arguments[++i];
    }
    Set(flag->first, *text, "");
  }
}

void FlagSet::ParseYaml(const std::string& text, const std::string& file, const std::vector<std::string>& not_here) {
  YAML::Node root;
  try {
    root = YAML::Load(text);
  } catch (const YAML::Exception& e) {
    problems_.push_back(absl::StrCat(file, ":", e.mark.line + 1, ": not YAML: ", e.msg));
    return;
  }
  if (root.IsNull()) return;
  if (!root.IsMap()) {
    problems_.push_back(absl::StrCat(
        file, ": expected a map of flag names to values, such as \"node-name: vch1\", got ", KindOf(root)));
    return;
  }
  std::set<std::string> seen;
  for (const auto& entry : root) {
    const YAML::Node& key = entry.first;
    std::string place = absl::StrCat(file, ":", key.Mark().line + 1);
    if (!key.IsScalar()) {
      problems_.push_back(absl::StrCat(place, ": expected the name of a flag, got ", KindOf(key)));
      continue;
    }
    const std::string& name = key.Scalar();
    auto flag = flags_.find(name);
    if (std::find(not_here.begin(), not_here.end(), name) != not_here.end()) {
      problems_.push_back(absl::StrCat(place, ": ", name, ": for the command line only"));
    } else if (flag == flags_.end()) {
      problems_.push_back(absl::StrCat(place, ": ", name, ": ", Unknown(name)));
    } else if (!seen.insert(name).second) {
      problems_.push_back(absl::StrCat(place, ": ", name, ": stands there twice"));
    } else if (!entry.second.IsNull()) {
      StatusOr<std::string> value = TextOf(entry.second, flag->second.form);
      if (value.ok()) {
        Set(name, *value, std::move(place));
      } else {
        problems_.push_back(absl::StrCat(place, ": ", Dashed(name), ": ", value.status().message()));
      }
    }
  }
}

std::string FlagSet::Locate(std::string_view problem) const {
  std::string_view name = problem.substr(0, problem.find_first_of(":, "));
  while (name.starts_with('-')) name.remove_prefix(1);
  auto flag = flags_.find(name);
  if (flag == flags_.end() || flag->second.place.empty()) return std::string(problem);
  return absl::StrCat(flag->second.place, ": ", problem);
}

std::vector<std::pair<std::string, std::string>> FlagSet::Values() const {
  std::vector<std::pair<std::string, std::string>> out;
  out.reserve(flags_.size());
  for (const auto& [name, flag] : flags_) out.emplace_back(name, flag.get());
  return out;
}

std::string FlagSet::Help() const {
  constexpr size_t kIndent = 12, kWidth = 100;
  std::string out, group;
  for (const std::string& name : order_) {
    const Flag& flag = flags_.at(name);
    if (flag.group != group) absl::StrAppend(&out, "\n", flag.group, ":\n");
    group = flag.group;
    absl::StrAppend(&out, "  ", Dashed(name), flag.is_switch ? "" : absl::StrCat(" ", flag.type));
    if (!flag.initial.empty()) absl::StrAppend(&out, " (", flag.initial, ")");
    absl::StrAppend(&out, "\n", std::string(kIndent, ' '), Wrap(flag.help, kIndent, kWidth), "\n");
  }
  return out;
}

}  // namespace vck
