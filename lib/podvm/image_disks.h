// With which image disks a pod's VM is made, and which it gets while it runs. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "kubeapi/pod_view.h"
#include "podvm/vm_spec.h"
#include "vch/pod_key.h"

namespace vck::podvm {

// A container's image, as far as it has come.
struct ContainerImage {
  // kPulling: for the first time. kFailed: at least once; it may be pulled again just now.
  enum class State { kPulling, kReady, kFailed };
  std::string container;
  kubeapi::ContainerView::Kind kind = kubeapi::ContainerView::Kind::kMain;
  std::string reference;  // as the pod names it
  State state = State::kPulling;
  // kReady
  std::string id;  // "repo@sha256:…"
  ImageDisk disk;
};

// One for each distinct reference, in the order of the VM's disks.
struct ImageDisks {
  std::vector<vch::PodImage> images;  // what they hold
  std::vector<ImageDisk> disks;
};

bool HoldsImage(const std::vector<vch::PodImage>& images, std::string_view reference);

// FailedPrecondition if a VM whose disks hold `have` has no room for all that `wanted` needs besides.
Status CheckRoom(const std::vector<ContainerImage>& wanted, const std::vector<vch::PodImage>& have);

// The image disks of a new VM; nullopt: it is not made yet. `wanted`: of all containers but ephemeral ones, in the
// pod's order. What is being pulled is waited for, because a disk that is added later is one more task for vCenter.
// What has failed is not, if some container can start without it: the first init container, which every new guest
// begins with, or, where there is none, any other.
std::optional<ImageDisks> DisksOfNewVm(const std::vector<ContainerImage>& wanted);

// For a VM whose disks hold `have`: those that are ready of what `wanted` needs besides, as many as there is room for.
ImageDisks DisksToAdd(const std::vector<ContainerImage>& wanted, const std::vector<vch::PodImage>& have);

}  // namespace vck::podvm
