// What a request asks for: its path and query, decoded once. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace vck::kubeletapi {

// Parameters in order of appearance.
class Query {
 public:
  void Add(std::string name, std::string value) { values_[std::move(name)].push_back(std::move(value)); }
  // Behind those that are here.
  void AddAll(const Query& other) {
    for (const auto& [name, values] : other.values_) {
      for (const std::string& value : values) Add(name, value);
    }
  }
  // The first value, or "".
  [[nodiscard]] std::string_view Get(std::string_view name) const;
  [[nodiscard]] bool Has(std::string_view name) const { return values_.contains(name); }
  [[nodiscard]] const std::vector<std::string>& All(std::string_view name) const;

 private:
  std::map<std::string, std::vector<std::string>, std::less<>> values_;
};

struct Target {
  // Percent-decoded; begins with '/'. What is authorized is what is served.
  std::string path;
  // Of the path, between its slashes; without the empty one behind a slash at the end.
  std::vector<std::string> segments;
  Query query;
  // The path has segments that could make another path of it: empty, ".", "..", with an encoded slash, or with a
  // control character. Nothing is served under it.
  bool devious = false;
  // Where a client is sent whose path has such segments unencoded (with the query); else "".
  std::string cleaned;
};

// A request's target in origin form (RFC 9112 §3.2.1). InvalidArgument for other forms and wrong percent-encoding.
StatusOr<Target> ParseTarget(std::string_view target);
// application/x-www-form-urlencoded, into `query`. Malformed pairs are left out, as Go's url.ParseQuery does.
void ParseForm(std::string_view text, Query* query);

}  // namespace vck::kubeletapi
