#include "node/pod_images.h"

#include "absl/strings/str_cat.h"

namespace vck::node {
namespace {

using kubeapi::ContainerView;
using podvm::ContainerImage;

ContainerImage::State StateOf(image::ImageStatus::State state) {
  switch (state) {
    case image::ImageStatus::State::kReady:
      return ContainerImage::State::kReady;
    case image::ImageStatus::State::kFailed:
      return ContainerImage::State::kFailed;
    case image::ImageStatus::State::kPulling:
      break;
  }
  return ContainerImage::State::kPulling;
}

}  // namespace

ContainerImage PodImages::Ask(const kubeapi::PodView& pod, const ContainerView& container, const PullKeys& keys,
                              PodMemory& memory) {
  ContainerImage out{.container = std::string(container.name()),
                     .kind = container.kind(),
                     .reference = std::string(container.image())};
  // Without its secrets a pull would be refused, or take an image that the pod may not have.
  if (!keys.known) return out;
  image::ImageStatus status =
      deps_.want({.pod_uid = std::string(pod.uid()),
                  .container = out.container,
                  .image = out.reference,
                  .policy = image::PullPolicyOf(json::String(container.json(), "imagePullPolicy"), out.reference),
                  .keyring = keys.keyring});
  if (status.state == image::ImageStatus::State::kFailed) {
    memory.image_waits[out.container] = {.reason = status.reason, .message = status.message};
  }
  out.state = StateOf(status.state);
  out.id = std::move(status.image_id);
  out.disk = {.parent_path = std::move(status.disk_path), .capacity_bytes = status.capacity_bytes};
  return out;
}

PullKeys PodImages::KeysOf(const kubeapi::PodView& pod, PodMemory& memory) {
  PullKeys keys = deps_.keys(pod);
  if (keys.missing != memory.missing_secrets && keys.known) {
    memory.missing_secrets = keys.missing;
    if (!keys.missing.empty()) {
      deps_.warn(std::string(pod.uid()), "FailedToRetrieveImagePullSecret",
                 absl::StrCat("Unable to retrieve some image pull secrets (", keys.missing,
                              "); attempting to pull the image may not succeed."));
    }
  }
  return keys;
}

StatusOr<std::optional<podvm::ImageDisks>> PodImages::Want(const kubeapi::PodView& pod, PodMemory& memory) {
  std::vector<ContainerImage> wanted;
  const PullKeys keys = KeysOf(pod, memory);
  memory.image_waits.clear();
  pod.ForEachContainer([&](const ContainerView& c) {
    if (c.kind() != ContainerView::Kind::kEphemeral) wanted.push_back(Ask(pod, c, keys, memory));
  });
  RETURN_IF_ERROR(podvm::CheckRoom(wanted, {}));
  return podvm::DisksOfNewVm(wanted);
}

PodImages::More PodImages::WantMore(const kubeapi::PodView& pod, const std::vector<vch::PodImage>& have,
                                    PodMemory& memory) {
  std::vector<ContainerImage> wanted;
  std::optional<PullKeys> keys;
  memory.image_waits.clear();
  pod.ForEachContainer([&](const ContainerView& c) {
    // It may have asked for another image before.
    if (podvm::HoldsImage(have, c.image())) {
      return deps_.release_container(std::string(pod.uid()), std::string(c.name()));
    }
    if (!keys) keys = KeysOf(pod, memory);
    wanted.push_back(Ask(pod, c, *keys, memory));
  });
  More out{.disks = podvm::DisksToAdd(wanted, have), .room = podvm::CheckRoom(wanted, have)};
  for (const ContainerImage& image : wanted) {
    if (image.state != ContainerImage::State::kReady || podvm::HoldsImage(out.disks.images, image.reference)) continue;
    memory.image_waits[image.container] = {.reason = "CreateContainerError",
                                           .message = std::string(out.room.message())};
  }
  return out;
}

}  // namespace vck::node
