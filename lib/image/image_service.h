// ImageService: the images that pods want, pulled once however many ask, kept in an ImageStore, removed by age and
// space.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/thread_pool.hpp>

#include "absl/container/flat_hash_set.h"
#include "absl/time/time.h"
#include "async/clock.h"
#include "async/task.h"
#include "base/status.h"
#include "image/image_store.h"
#include "metrics/metrics.h"
#include "oci/keyring.h"
#include "oci/registry_client.h"

namespace vck::image {

// core/v1 PullPolicy.
enum class PullPolicy { kAlways, kIfNotPresent, kNever };
// "" is the API's default for the reference: Always for the tag latest, else IfNotPresent (as is any other text).
PullPolicy PullPolicyOf(std::string_view policy, std::string_view image);

// A container that wants an image.
struct ImageRequest {
  std::string pod_uid;
  std::string container;
  std::string image;  // as the pod names it
  PullPolicy policy = PullPolicy::kIfNotPresent;
  // Of the pod's pull secrets; null: none. Made anew when a secret changes.
  std::shared_ptr<const oci::Keyring> keyring;
};

struct ImageStatus {
  enum class State { kReady, kPulling, kFailed };
  State state = State::kPulling;
  // kReady
  std::string image_id;        // "docker.io/library/busybox@sha256:…"
  std::string disk_path;       // "[datastore] dir/disk.vmdk"
  int64_t capacity_bytes = 0;  // of the disk
  // kFailed: the waiting state of the container: ErrImagePull, ImagePullBackOff, ErrImageNeverPull, InvalidImageName.
  std::string reason;
  std::string message;
  Instant retry_at = Instant::Never();  // the next attempt; `changed` is called then
};

// An event about a container, with the kubelet's reasons and words.
struct ImageEvent {
  bool warning = false;
  std::string reason;
  std::string message;
};

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

struct ImageCallbacks {
  // Something that this pod wants has changed: call Want() again. Not called from inside Want().
  std::function<void(const std::string& pod_uid)> changed;
  std::function<void(const std::string& pod_uid, const std::string& container, const ImageEvent& event)> event;
  // About the node itself (FreeDiskSpaceFailed).
  std::function<void(const ImageEvent& event)> node_event;
  // The image ids ("repo@sha256:…") of all VMs that there are, whether or not their pods are known; nullopt while not
  // all VMs are known, and then nothing is removed.
  std::function<std::optional<absl::flat_hash_set<std::string>>()> in_use;
};

class ImageService {
 public:
  // All references must outlive the service.
  ImageService(Executor executor, Clock& clock, metrics::Registry& metrics, oci::RegistryClient& registry,
               ImageStore& store, ImageCallbacks callbacks, ImageServiceOptions options);
  virtual ~ImageService() = default;
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
  std::shared_ptr<Impl> impl_;
};

}  // namespace vck::image
