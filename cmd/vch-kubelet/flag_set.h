// Flags by name: from the command line and from a YAML file. Mistakes are collected, not thrown, so that all of them
// are told at once.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"

namespace vck {

class FlagSet {
 public:
  // What YAML may say of a flag besides a scalar; it becomes the text that the flag takes on the command line.
  enum class Form {
    kScalar,
    kList,    // [a, b]: "a,b"
    kMap,     // {a: b}: "a=b"
    kTaints,  // [{key: a, value: b, effect: c}]: "a=b:c", as in a KubeletConfiguration
  };

  // Heading in Help() of what is added from now on.
  void Group(std::string name) { group_ = std::move(name); }
  // `name` is without dashes; one letter is given with one dash. The value, which outlives the set, is the default.
  void Add(std::string_view name, std::string& value, std::string_view help, Form form = Form::kScalar);
  void Add(std::string_view name, int& value, std::string_view help);
  void Add(std::string_view name, double& value, std::string_view help);
  void Add(std::string_view name, absl::Duration& value, std::string_view help);
  void Switch(std::string_view name, bool& value, std::string_view help);

  // "--a=b", "--a b", "-v2"; for switches "--a" and "--a=false". The last one counts. To be called after ParseYaml(),
  // so that the command line wins.
  void ParseArguments(const std::vector<std::string>& arguments);
  // Keys are the flags' names, but for those that belong to the command line alone. `file` is what messages call it.
  void ParseYaml(const std::string& text, const std::string& file, const std::vector<std::string>& not_here);
  void AddProblem(std::string problem) { problems_.push_back(std::move(problem)); }

  // "--max-pods: expected at least 1" with the place in the file in front, if what counts stands there.
  [[nodiscard]] std::string Locate(std::string_view problem) const;
  [[nodiscard]] const std::vector<std::string>& problems() const { return problems_; }
  // What the flags have come to, by name.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> Values() const;
  [[nodiscard]] std::string Help() const;

 private:
  struct Flag {
    std::string group, type, help, initial;
    Form form = Form::kScalar;
    bool is_switch = false;
    std::function<Status(const std::string&)> set;
    std::function<std::string()> get;
    std::string place;  // FILE:LINE
  };
  Flag& New(std::string_view name, std::string_view type, std::string_view help, std::function<std::string()> get);
  [[nodiscard]] std::string Unknown(std::string_view name) const;
  void Set(const std::string& name, const std::string& text, std::string place);

  std::string group_;
  std::map<std::string, Flag, std::less<>> flags_;
  std::vector<std::string> order_;
  std::vector<std::string> problems_;
};

}  // namespace vck
