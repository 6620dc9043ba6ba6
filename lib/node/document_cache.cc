#include "node/document_cache.h"

#include <utility>

namespace vck::node {

StatusOr<std::shared_ptr<const json::Document>> DocumentCache::Get(const kube::ObjectPtr& object) {
  for (const Entry& entry : entries_) {
    if (entry.object == object) return entry.document;
  }
  ASSIGN_OR_RETURN(json::Document parsed, json::Document::Parse(object->json()));
  Entry& entry = entries_[next_];
  next_ = (next_ + 1) % entries_.size();
  entry = {.object = object, .document = std::make_shared<const json::Document>(std::move(parsed))};
  return entry.document;
}

}  // namespace vck::node
