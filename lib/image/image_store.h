// ImageStore: where finished images are kept. The node layer's is a vSphere: each image is a template VM (its anchor)
// with one disk.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "async/task.h"
#include "base/status.h"
#include "http/client.h"

namespace vck::image {

// An image that is complete in the store.
struct StoredImage {
  std::string id;      // the store's own: the anchor's managed object id
  std::string digest;  // "sha256:…" of the platform's manifest: what the disk holds
  // What led to it, each "docker.io/library/busybox:1.36@sha256:…": name, tag (if one was asked for) and the digest
  // that the registry answered, which is an index's for images of several platforms. The newest is the last.
  std::vector<std::string> names;
  std::string disk_path;       // "[datastore] dir/disk.vmdk": the parent of pod VMs' disks
  int64_t capacity_bytes = 0;  // of the disk, and of its children
  int64_t size_bytes = 0;      // that it takes in the store
  absl::Time created;
  friend bool operator==(const StoredImage&, const StoredImage&) = default;
};

// What is to be brought in.
struct NewImage {
  std::string digest;
  std::vector<std::string> names;
  int64_t capacity_bytes = 0;  // a multiple of 1 MiB
  int64_t vmdk_bytes = 0;      // length of the streamOptimized VMDK
  // The VMDK from its beginning; called once for each attempt.
  std::function<http::BodySource()> open;
};

// One import of a digest at a time is the caller's business. Errors are the store's, worded for people.
class ImageStore {
 public:
  virtual ~ImageStore() = default;

  // All complete images. What an interrupted import has left is removed, or is tried again at the next call.
  virtual Task<StatusOr<std::vector<StoredImage>>> List() = 0;
  // Complete when it returns; nothing is left of it on an error. If the store has the digest already, that one.
  virtual Task<StatusOr<StoredImage>> Import(NewImage image) = 0;
  virtual Task<Status> SetNames(StoredImage image, std::vector<std::string> names) = 0;
  // FailedPrecondition while any VM has a disk over the image's; gone already: OK.
  virtual Task<Status> Remove(StoredImage image) = 0;

  // Changes whenever somebody has done something to what the store holds, as far as it hears of that without asking.
  // While it stays as it is, List() need not be called again, but now and then for what it does not hear of.
  [[nodiscard]] virtual uint64_t changes() const = 0;

  struct Space {
    int64_t capacity_bytes = 0;
    int64_t free_bytes = 0;
  };
  // Of the datastore, as last seen; absent while it is unknown or not accessible.
  [[nodiscard]] virtual std::optional<Space> space() const = 0;
};

}  // namespace vck::image
