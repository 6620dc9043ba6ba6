// ImageCollector: garbage collection, a round at a time: what is too old goes, and then what has been unused for
// longest until the datastore has room (gc.h has the rules).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "async/clock.h"
#include "async/task.h"
#include "base/status.h"
#include "image/gc.h"
#include "image/image_request.h"
#include "image/image_store.h"
#include "image/known_images.h"
#include "metrics/metrics.h"

namespace vck::image {

class ImageCollector {
 public:
  struct Deps {
    Clock& clock;
    metrics::Registry& metrics;
    const ImageStore& store;  // for its space
    KnownImages& known;
    // Digests of the images that have to stay; nullopt while that is not known, and then nothing is removed.
    std::function<std::optional<std::set<std::string>>()> in_use;
    std::function<void(const ImageEvent&)> node_event;  // may be empty
  };
  ImageCollector(Deps deps, GcPolicy policy) : deps_(std::move(deps)), policy_(policy) {}

  // Reads the store again if it has changed, and collects. `began`: since when somebody watches what is used. What
  // fails is logged, and told as the kubelet does, but by one event at most: FreeDiskSpaceFailed whenever there is not
  // enough to remove, ImageGCFailed when anything fails and the round before has failed as well.
  Task<> Round(Instant began);

 private:
  // If the datastore stays full, that in words; else "".
  Task<StatusOr<std::string>> Collect(Instant began);
  Task<> RemoveOld(Instant began);
  // The bytes that were freed of those that are wanted; nullopt if it is not known what may be removed.
  Task<std::optional<int64_t>> FreeSpace(int64_t wanted);
  // The bytes that were freed.
  Task<int64_t> RemoveUnused(std::vector<std::string> digests, std::string reason);
  Task<bool> Remove(std::string digest, std::string reason);
  [[nodiscard]] std::optional<std::vector<GcImage>> Images();
  void Tell(std::string reason, std::string message);

  Deps deps_;
  GcPolicy policy_;
  bool failed_ = false;  // the last round
};

}  // namespace vck::image
