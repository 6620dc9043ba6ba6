// Variables of an environment: a list that keeps its order, with an index of the names.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace vck::guestapi {

class Variables {
 public:
  using List = std::vector<std::pair<std::string, std::string>>;

  Variables() = default;
  explicit Variables(List list) : list_(std::move(list)) {
    for (size_t i = 0; i < list_.size(); ++i) index_[list_[i].first] = i;
  }

  // A name that comes again takes the place of the first.
  void Set(std::string_view name, std::string value) {
    auto [it, fresh] = index_.try_emplace(name, list_.size());
    if (fresh) {
      list_.emplace_back(name, std::move(value));
    } else {
      list_[it->second].second = std::move(value);
    }
  }
  // Null: there is none. Until the next Set().
  [[nodiscard]] const std::string* Find(std::string_view name) const {
    auto it = index_.find(name);
    return it == index_.end() ? nullptr : &list_[it->second].second;
  }
  [[nodiscard]] const List& list() const { return list_; }
  // Leaves nothing behind.
  List Take() {
    index_.clear();
    return std::exchange(list_, {});
  }

 private:
  List list_;
  absl::flat_hash_map<std::string, size_t> index_;
};

}  // namespace vck::guestapi
