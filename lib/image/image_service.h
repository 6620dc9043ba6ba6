// ImageService: the images that pods want, pulled once however many ask, kept in an ImageStore, removed by age and
// space.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/thread_pool.hpp>

#include "absl/time/time.h"
#include "async/clock.h"
#include "async/task.h"
#include "base/status.h"
#include "image/image_request.h"
#include "image/image_store.h"
#include "metrics/metrics.h"
#include "oci/registry_client.h"

namespace vck::image {

struct ImageServiceOptions {
  // For layers and file systems while they are made; emptied at start. Needs twice the compressed size of each image
  // that is being pulled.
  std::string work_dir;
  int parallel_pulls = 3;
  int parallel_layers = 3;  // of one image
  absl::Duration backoff_initial = absl::Seconds(10);
  absl::Duration backoff_max = absl::Minutes(5);
  absl::Duration pull_timeout = absl::Hours(1);  // of one attempt
  // Garbage collection, with the kubelet's defaults and meanings. A used percentage of the datastore of `gc_high`
  // starts it, and it goes on down to `gc_low`; gc_high 100: never.
  int gc_high = 85, gc_low = 80;
  absl::Duration gc_min_age = absl::Minutes(2);
  absl::Duration gc_max_age;  // unused for longer: removed; zero: never
  absl::Duration gc_interval = absl::Minutes(5);
  // The store is read again when it says that it has changed, at the next collection, and after so long in any case.
  absl::Duration reread = absl::Hours(1);
  // What merges and reads images, at low priority; must outlive the service. Null: two threads of its own.
  boost::asio::thread_pool* pool = nullptr;
};

class ImageService {
 public:
  // All references must outlive the service.
  ImageService(Executor executor, Clock& clock, metrics::Registry& metrics, oci::RegistryClient& registry,
               ImageStore& store, ImageCallbacks callbacks, ImageServiceOptions options);
  ~ImageService();
  ImageService(const ImageService&) = delete;
  ImageService& operator=(const ImageService&) = delete;

  // Reads the store, then pulls what is wanted and collects garbage, until cancelled.
  Task<Status> Run();

  // Answers at once. What is asked for is kept in mind (pulled, retried, not collected) until Release(), so ask again
  // as often as you like; a request of the same container for another image replaces the former. With kAlways the
  // registry is asked once in the life of such a request; a keyring that changes has effect at the next attempt.
  ImageStatus Want(const ImageRequest& request);
  // The pod is over or gone, or this container has what it wants: whether the image may be removed is then decided by
  // in_use().
  void Release(const std::string& pod_uid);
  void Release(const std::string& pod_uid, const std::string& container);

  // By an id that Want() gave, also in the life of another process; nullopt if there is no such image (any more), or
  // the store has not been read.
  [[nodiscard]] std::optional<StoredImage> Find(std::string_view image_id) const;
  // For Node.status.images: the largest first.
  struct NodeImage {
    std::vector<std::string> names;  // "docker.io/library/busybox@sha256:…", "docker.io/library/busybox:1.36"
    int64_t size_bytes = 0;
  };
  [[nodiscard]] std::vector<NodeImage> List() const;
  // The store has been read: what Find() does not know is not there.
  [[nodiscard]] bool synced() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vck::image
