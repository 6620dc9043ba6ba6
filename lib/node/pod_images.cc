#include "node/pod_images.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace vck::node {
namespace {

using State = image::ImageStatus::State;
using kubeapi::ContainerView;

bool Has(const std::vector<vch::PodImage>& images, std::string_view reference) {
  return std::any_of(images.begin(), images.end(), [&](const auto& image) { return image.reference == reference; });
}

Status TooMany(size_t count) {
  return absl::FailedPreconditionError(
      absl::StrCat("the pod has ", count, " images, and a pod VM has room for ", podvm::kMaxImages));
}

}  // namespace

image::ImageStatus PodImages::Ask(const kubeapi::PodView& pod, const ContainerView& container,
                                  const std::shared_ptr<const oci::Keyring>& keyring, PodMemory& memory) {
  const std::string reference(container.image());
  image::ImageStatus status =
      deps_.want({.pod_uid = std::string(pod.uid()),
                  .container = std::string(container.name()),
                  .image = reference,
                  .policy = image::PullPolicyOf(json::String(container.json(), "imagePullPolicy"), reference),
                  .keyring = keyring});
  if (status.state == State::kFailed) {
    memory.image_waits[std::string(container.name())] = {.reason = status.reason, .message = status.message};
  }
  return status;
}

StatusOr<std::optional<PodImages::Disks>> PodImages::Want(const kubeapi::PodView& pod, PodMemory& memory) {
  Disks out;
  bool all = true;
  const auto keyring = deps_.keyring(pod);
  memory.image_waits.clear();
  memory.images_complete = false;
  pod.ForEachContainer([&](const ContainerView& c) {
    if (c.kind() == ContainerView::Kind::kEphemeral) return;
    image::ImageStatus status = Ask(pod, c, keyring, memory);
    if (status.state != State::kReady) {
      all = false;
    } else if (!Has(out.images, c.image())) {
      out.images.push_back({.reference = std::string(c.image()), .id = status.image_id});
      out.disks.push_back({.parent_path = status.disk_path, .capacity_bytes = status.capacity_bytes});
    }
  });
  if (!all) return std::nullopt;
  if (out.images.size() > podvm::kMaxImages) return TooMany(out.images.size());
  return out;
}

StatusOr<PodImages::Disks> PodImages::WantMore(const kubeapi::PodView& pod, const std::vector<vch::PodImage>& have,
                                               PodMemory& memory) {
  Disks out;
  memory.image_waits.clear();
  memory.images_complete = true;
  std::shared_ptr<const oci::Keyring> keyring;
  pod.ForEachContainer([&](const ContainerView& c) {
    if (Has(have, c.image()) || Has(out.images, c.image())) return;
    memory.images_complete = false;
    if (keyring == nullptr) keyring = deps_.keyring(pod);
    image::ImageStatus status = Ask(pod, c, keyring, memory);
    if (status.state != State::kReady) return;
    out.images.push_back({.reference = std::string(c.image()), .id = status.image_id});
    out.disks.push_back({.parent_path = status.disk_path, .capacity_bytes = status.capacity_bytes});
  });
  if (have.size() + out.images.size() > podvm::kMaxImages) return TooMany(have.size() + out.images.size());
  return out;
}

}  // namespace vck::node
