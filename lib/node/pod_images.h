// PodImages: the images of a pod, as the disks that its VM is created with, or gets while it runs.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "image/image_service.h"
#include "kubeapi/pod_view.h"
#include "node/pod_memory.h"
#include "podvm/image_disks.h"
#include "vch/pod_key.h"

namespace vck::node {

// What a pod's pull secrets say.
struct PullKeys {
  bool known = true;                            // false: some are still being read, and the pod is looked at again
  std::shared_ptr<const oci::Keyring> keyring;  // null: none
  std::string missing;                          // names of secrets that are not there or of no use: "a, b"
};

class PodImages {
 public:
  struct Deps {
    // ImageService's Want, and its Release of a container and of a pod.
    std::function<image::ImageStatus(const image::ImageRequest&)> want;
    std::function<void(const std::string& pod_uid, const std::string& container)> release_container;
    std::function<void(const std::string& pod_uid)> release;
    // Of the pod's pull secrets.
    std::function<PullKeys(const kubeapi::PodView&)> keys;
    // A Warning about the pod.
    std::function<void(const std::string& pod_uid, const std::string& reason, const std::string& message)> warn;
  };
  explicit PodImages(Deps deps) : deps_(std::move(deps)) {}

  // Both set memory.image_waits: for what containers wait.
  //
  // The image disks of a new VM, without those of ephemeral containers; nullopt as long as podvm::DisksOfNewVm waits.
  // FailedPrecondition for a pod with more images than a VM can have disks.
  StatusOr<std::optional<podvm::ImageDisks>> Want(const kubeapi::PodView& pod, PodMemory& memory);
  // For a VM that has `have`: the disks that are ready of those that containers need besides, ephemeral ones among
  // them. Others may follow. What the VM has is not asked for any more: from now on the VMs tell that it is in use.
  struct More {
    podvm::ImageDisks disks;
    Status room;  // FailedPrecondition as above
  };
  More WantMore(const kubeapi::PodView& pod, const std::vector<vch::PodImage>& have, PodMemory& memory);
  // The pod is over or gone: it wants nothing more.
  void Release(const std::string& pod_uid) { deps_.release(pod_uid); }

 private:
  podvm::ContainerImage Ask(const kubeapi::PodView& pod, const kubeapi::ContainerView& container, const PullKeys& keys,
                            PodMemory& memory);
  PullKeys KeysOf(const kubeapi::PodView& pod, PodMemory& memory);

  Deps deps_;
};

}  // namespace vck::node
