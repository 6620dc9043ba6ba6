#include "node/pod_images.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace vck::node {

StatusOr<std::optional<PodImages::Disks>> PodImages::Want(const kubeapi::PodView& pod, PodMemory& memory) {
  using State = image::ImageStatus::State;
  Disks out;
  bool all = true;
  std::map<std::string, podvm::ContainerWait> waits;
  const std::string uid(pod.uid());
  const auto keyring = deps_.keyring(pod);
  pod.ForEachContainer([&](const kubeapi::ContainerView& c) {
    if (c.kind() == kubeapi::ContainerView::Kind::kEphemeral) return;
    const std::string reference(c.image());
    image::ImageStatus status =
        deps_.want({.pod_uid = uid,
                    .container = std::string(c.name()),
                    .image = reference,
                    .policy = image::PullPolicyOf(json::String(c.json(), "imagePullPolicy"), reference),
                    .keyring = keyring});
    if (status.state == State::kFailed) {
      waits[std::string(c.name())] = {.reason = status.reason, .message = status.message};
    }
    if (status.state != State::kReady) {
      all = false;
      return;
    }
    const auto same = [&reference](const vch::PodImage& image) { return image.reference == reference; };
    if (std::any_of(out.images.begin(), out.images.end(), same)) return;
    out.images.push_back({.reference = reference, .id = status.image_id});
    out.disks.push_back({.parent_path = status.disk_path, .capacity_bytes = status.capacity_bytes});
  });
  memory.image_waits = std::move(waits);
  if (!all) return std::nullopt;
  if (out.images.size() > podvm::kMaxImages) {
    return absl::FailedPreconditionError(
        absl::StrCat("the pod has ", out.images.size(), " images, and a pod VM has room for ", podvm::kMaxImages));
  }
  return out;
}

}  // namespace vck::node
