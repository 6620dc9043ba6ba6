// Which images garbage collection removes: the kubelet's rules (pkg/kubelet/images/image_gc_manager.go). Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "async/clock.h"
#include "image/image_store.h"

namespace vck::image {

struct GcPolicy {
  int high = 85, low = 80;  // percent of the datastore in use
  absl::Duration min_age = absl::Minutes(2);
  absl::Duration max_age;  // zero: no limit
};

struct GcImage {
  std::string digest;
  int64_t size_bytes = 0;
  Instant first_seen, last_used;
  bool in_use = false;
};

// Unused for longer than the policy's age, since a process that began at `started` has watched for so long.
std::vector<std::string> TooOld(const GcPolicy& policy, const std::vector<GcImage>& images, Instant now,
                                Instant started);

// How much is in use, in percent; 0 where the capacity is unknown.
int UsedPercent(const ImageStore::Space& space);
// Bytes to free to come down to the low threshold; 0 below the high one.
int64_t BytesToFree(const GcPolicy& policy, const ImageStore::Space& space);
// The longest unused first, until `bytes` are free; those that are not old enough stay.
std::vector<std::string> ForSpace(const GcPolicy& policy, std::vector<GcImage> images, int64_t bytes, Instant now);

// "1.5 GiB", as the kubelet writes sizes.
std::string FormatSize(int64_t bytes);

}  // namespace vck::image
