// Merging: an image's layers become one squashfs with config.json and rootfs/. Blocking, for a thread of its own;
// memory is a few MiB and some 150 bytes for each file.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace vck::image {

struct MergeLayer {
  std::string path;     // of the blob as it came from the registry
  std::string diff_id;  // digest of what it unpacks to; checked
};

struct MergeRequest {
  std::vector<MergeLayer> layers;                   // the lowest first
  std::string config;                               // the image's configuration, as it is
  std::string output;                               // overwritten
  int level = 3;                                    // of zstd
  int threads = 1;                                  // that pack besides the caller's
  size_t memory_limit = size_t{128} << 20;          // of the merged tree
  int64_t max_unpacked_bytes = int64_t{256} << 30;  // of all layers, with the holes of sparse files
  const std::atomic<bool>* cancelled = nullptr;     // Cancelled soon after it becomes true
};

struct MergeResult {
  int64_t bytes = 0;           // of the output, a multiple of 4 KiB
  int64_t unpacked_bytes = 0;  // of all layers
  int64_t files = 0;           // names in the merged tree
  size_t memory = 0;           // of the merged tree
};

// InvalidArgument and DataLoss for layers that cannot be unpacked (the message names the layer and the entry),
// ResourceExhausted for too many files or a full disk.
StatusOr<MergeResult> MergeLayers(const MergeRequest& request);

}  // namespace vck::image
