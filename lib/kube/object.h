// An API object as the stores keep it: its JSON text and a small index. Whoever needs more parses the text into an
// arena of its own (json/json.h, kubeapi/).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"

namespace vck::kube {

class Object;
using ObjectPtr = std::shared_ptr<const Object>;

// Immutable. The index is offsets into the text, so views live as long as the object.
class Object {
 public:
  // From the JSON of one object, in one pass and without a DOM: metadata.managedFields is left out; everything else
  // is kept as it was written. InvalidArgument for what is not a JSON object, has no metadata, or has
  // escapes in the indexed fields. Values are checked only as far as needed to find their ends.
  static StatusOr<ObjectPtr> Parse(std::string_view json);

  [[nodiscard]] const std::string& json() const { return json_; }
  [[nodiscard]] std::string_view name() const { return At(name_); }
  [[nodiscard]] std::string_view ns() const { return At(ns_); }
  [[nodiscard]] std::string_view uid() const { return At(uid_); }
  [[nodiscard]] std::string_view resource_version() const { return At(resource_version_); }
  [[nodiscard]] int64_t generation() const { return generation_; }
  // metadata.deletionTimestamp: when it is set, the object is being deleted.
  [[nodiscard]] std::optional<absl::Time> deletion_timestamp() const {
    return deleting_ ? std::optional(deletion_) : std::nullopt;
  }
  [[nodiscard]] bool deleting() const { return deleting_; }
  // The top-level field `immutable` of ConfigMaps and Secrets.
  [[nodiscard]] bool immutable() const { return immutable_; }
  // "namespace/name", or "name" when there is no namespace.
  [[nodiscard]] std::string Key() const;
  // Only on a bookmark: it carries the annotation k8s.io/initial-events-end=true.
  [[nodiscard]] bool initial_events_end() const { return initial_events_end_; }

 private:
  friend struct ObjectScanner;
  struct Span {
    uint32_t begin = 0, size = 0;
  };
  [[nodiscard]] std::string_view At(Span s) const { return std::string_view(json_).substr(s.begin, s.size); }

  std::string json_;
  Span name_, ns_, uid_, resource_version_;
  int64_t generation_ = 0;
  absl::Time deletion_;
  bool deleting_ = false;
  bool immutable_ = false;
  bool initial_events_end_ = false;
};

// One page of a list, or all of it.
struct ObjectList {
  std::string resource_version;
  std::string continue_token;  // "" on the last page
  int64_t remaining = 0;       // remainingItemCount, where the server gave it
  std::vector<ObjectPtr> items;
};

// Splits the JSON of a PodList and the like. Items come as they are: without kind and apiVersion.
StatusOr<ObjectList> ParseList(std::string_view json);

// -1, 0 or 1 as two resource versions compare by number (KEP-5504); nullopt if one is not a decimal number.
std::optional<int> CompareResourceVersions(std::string_view a, std::string_view b);

}  // namespace vck::kube
