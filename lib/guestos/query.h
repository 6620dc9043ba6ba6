// The target of a request to the tether, taken apart. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace vck::guestos {

class Query {
 public:
  // InvalidArgument for a broken percent-encoding.
  static StatusOr<Query> Parse(std::string_view target);
  [[nodiscard]] const std::string& path() const { return path_; }
  // The first value, or "".
  [[nodiscard]] std::string_view Get(std::string_view name) const;
  [[nodiscard]] std::vector<std::string> All(std::string_view name) const;
  // "1" and "true" are.
  [[nodiscard]] bool Flag(std::string_view name) const;
  // Absent: nothing. InvalidArgument for what is no number from `min` on.
  StatusOr<std::optional<int64_t>> Number(std::string_view name, int64_t min) const;

 private:
  std::string path_;
  std::vector<std::pair<std::string, std::string>> fields_;
};

}  // namespace vck::guestos
