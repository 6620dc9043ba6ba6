#include "podvm/image_disks.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace vck::podvm {
namespace {

using Kind = kubeapi::ContainerView::Kind;
using State = ContainerImage::State;

size_t CountImages(const std::vector<vch::PodImage>& images) {
  // The scratch disk holds none.
  const auto holds = [](const vch::PodImage& image) { return !image.reference.empty(); };
  return static_cast<size_t>(std::count_if(images.begin(), images.end(), holds));
}

}  // namespace

bool HoldsImage(const std::vector<vch::PodImage>& images, std::string_view reference) {
  return std::any_of(images.begin(), images.end(), [&](const auto& image) { return image.reference == reference; });
}

Status CheckRoom(const std::vector<ContainerImage>& wanted, const std::vector<vch::PodImage>& have) {
  std::vector<vch::PodImage> all = have;
  for (const ContainerImage& image : wanted) {
    if (!HoldsImage(all, image.reference)) all.push_back({.reference = image.reference, .id = ""});
  }
  const size_t count = CountImages(all);
  if (count <= kMaxImages) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the pod has ", count, " images, and a pod VM has room for ", kMaxImages));
}

ImageDisks DisksToAdd(const std::vector<ContainerImage>& wanted, const std::vector<vch::PodImage>& have) {
  ImageDisks out;
  const size_t taken = CountImages(have);
  for (const ContainerImage& image : wanted) {
    if (taken + out.images.size() >= kMaxImages) break;
    if (image.state != State::kReady || HoldsImage(have, image.reference) || HoldsImage(out.images, image.reference)) {
      continue;
    }
    out.images.push_back({.reference = image.reference, .id = image.id});
    out.disks.push_back(image.disk);
  }
  return out;
}

std::optional<ImageDisks> DisksOfNewVm(const std::vector<ContainerImage>& wanted) {
  if (wanted.empty()) return std::nullopt;
  const auto pulling = [](const ContainerImage& image) { return image.state == State::kPulling; };
  if (std::any_of(wanted.begin(), wanted.end(), pulling)) return std::nullopt;
  ImageDisks out = DisksToAdd(wanted, {});
  const Kind first = wanted.front().kind;
  const bool begins_with_first = first == Kind::kInit || first == Kind::kSidecar;
  if (begins_with_first ? !HoldsImage(out.images, wanted.front().reference) : out.images.empty()) return std::nullopt;
  return out;
}

}  // namespace vck::podvm
