// Store: what is known of a set of objects. One writer, many readers, immutable values.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "async/wait.h"

namespace vck::flow {

// Readers get shared immutable values; subscribers are told keys only and read the store when their turn comes, so
// that nobody depends on having seen every change. A value is replaced, never changed. One thread.
template <class K, class V>
class Store {
 public:
  using Ptr = std::shared_ptr<const V>;
  using Callback = std::function<void(const K&)>;
  using Map = absl::flat_hash_map<K, Ptr>;

  // Null if there is none.
  [[nodiscard]] Ptr Get(const K& key) const {
    auto it = items_.find(key);
    return it == items_.end() ? nullptr : it->second;
  }
  [[nodiscard]] bool Contains(const K& key) const { return items_.contains(key); }
  [[nodiscard]] size_t size() const { return items_.size(); }
  // Valid until the next write.
  [[nodiscard]] const Map& items() const { return items_; }

  // True once the writer has shown the whole set (Replace or MarkSynced).
  [[nodiscard]] bool Synced() const { return synced_.IsSet(); }
  Task<> WaitSynced() { return synced_.Wait(); }

  // `fn` is called with each changed key, within the write; it must only note the key. Lives as long as the store.
  void Subscribe(Callback fn) { subscribers_.push_back(std::move(fn)); }

  // ---- the writer's ----
  void Put(const K& key, Ptr value) {
    items_[key] = std::move(value);
    Notify(key);
  }
  void Erase(const K& key) {
    if (items_.erase(key) > 0) Notify(key);
  }
  // The whole set at once: readers see the old set or the new one. Keys that are new, gone or have another value
  // (`same(old, new)` false; by default another pointer) are told afterwards. Marks the store synced.
  void Replace(std::vector<std::pair<K, Ptr>> all, const std::function<bool(const V&, const V&)>& same = {}) {
    Map next;
    next.reserve(all.size());
    std::vector<K> changed;
    for (auto& [key, value] : all) {
      auto old = items_.find(key);
      if (old == items_.end()) {
        changed.push_back(key);
      } else if (same && same(*old->second, *value)) {
        value = old->second;
      } else if (old->second != value) {
        changed.push_back(key);
      }
      next.insert_or_assign(key, std::move(value));
    }
    for (const auto& [key, value] : items_) {
      if (!next.contains(key)) changed.push_back(key);
    }
    items_ = std::move(next);
    MarkSynced();
    for (const K& key : changed) Notify(key);
  }
  void MarkSynced() { synced_.Set(); }
  // What is here may be out of date until the next Replace (readers that need certainty wait).
  void MarkUnsynced() { synced_.Reset(); }

 private:
  void Notify(const K& key) {
    for (const Callback& fn : subscribers_) fn(key);
  }

  Map items_;
  Event synced_;
  std::vector<Callback> subscribers_;
};

}  // namespace vck::flow
