// DocumentCache: the last few objects that were parsed. Two reconcilers look at a pod one after the other, and again
// when what they did comes back.
#pragma once

#include <array>
#include <cstddef>
#include <memory>

#include "json/json.h"
#include "kube/object.h"

namespace vck::node {

class DocumentCache {
 public:
  // The parsed text of `object`, which is kept alive by it. InvalidArgument if it is no JSON.
  StatusOr<std::shared_ptr<const json::Document>> Get(const kube::ObjectPtr& object);

 private:
  struct Entry {
    kube::ObjectPtr object;
    std::shared_ptr<const json::Document> document;
  };
  std::array<Entry, 32> entries_;  // some 25 KiB each
  size_t next_ = 0;                // to be replaced: the oldest
};

}  // namespace vck::node
