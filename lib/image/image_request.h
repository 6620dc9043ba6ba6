// What a container asks of the ImageService, what it is answered, and what is told meanwhile.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_set.h"
#include "async/clock.h"
#include "oci/keyring.h"

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

// An event about a container or the node, with the kubelet's reasons and words.
struct ImageEvent {
  bool warning = false;
  std::string reason;
  std::string message;
};

struct ImageCallbacks {
  // Something that this pod wants has changed: call Want() again. Not called from inside Want().
  std::function<void(const std::string& pod_uid)> changed;
  std::function<void(const std::string& pod_uid, const std::string& container, const ImageEvent& event)> event;
  // About the node itself (FreeDiskSpaceFailed, ImageGCFailed).
  std::function<void(const ImageEvent& event)> node_event;
  // The image ids ("repo@sha256:…") of all VMs that there are, whether or not their pods are known; nullopt while not
  // all VMs are known, and then nothing is removed.
  std::function<std::optional<absl::flat_hash_set<std::string>>()> in_use;
};

}  // namespace vck::image
