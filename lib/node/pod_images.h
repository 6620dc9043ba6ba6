// PodImages: the images of a pod, as the disks that its VM is created with.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "image/image_service.h"
#include "kubeapi/pod_view.h"
#include "node/pod_memory.h"
#include "podvm/vm_spec.h"
#include "vch/pod_key.h"

namespace vck::node {

class PodImages {
 public:
  struct Deps {
    // ImageService's Want and Release.
    std::function<image::ImageStatus(const image::ImageRequest&)> want;
    std::function<void(const std::string& pod_uid)> release;
    // Of the pod's pull secrets; null: none, or not known yet.
    std::function<std::shared_ptr<const oci::Keyring>(const kubeapi::PodView&)> keyring;
  };
  explicit PodImages(Deps deps) : deps_(std::move(deps)) {}

  // One for each distinct reference among the containers, in their order: the order of the VM's disks.
  struct Disks {
    std::vector<vch::PodImage> images;
    std::vector<podvm::ImageDisk> disks;
  };
  // The disks of a new VM, without those of ephemeral containers, when all images are there; else nothing, and
  // memory.image_waits says for what each container waits. FailedPrecondition for a pod with more images than a VM can
  // have disks.
  StatusOr<std::optional<Disks>> Want(const kubeapi::PodView& pod, PodMemory& memory);
  // For a VM that has `have`: the disks that are ready of those that containers need besides, ephemeral ones among
  // them. Others may follow; memory.image_waits says for what their containers wait. FailedPrecondition as above.
  StatusOr<Disks> WantMore(const kubeapi::PodView& pod, const std::vector<vch::PodImage>& have, PodMemory& memory);
  // The VM has all, or the pod is gone: from now on the VMs tell which images are in use.
  void Release(const std::string& pod_uid) { deps_.release(pod_uid); }

 private:
  image::ImageStatus Ask(const kubeapi::PodView& pod, const kubeapi::ContainerView& container,
                         const std::shared_ptr<const oci::Keyring>& keyring, PodMemory& memory);

  Deps deps_;
};

}  // namespace vck::node
