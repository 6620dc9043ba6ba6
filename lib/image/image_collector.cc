#include "image/image_collector.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"

namespace vck::image {

Task<> ImageCollector::Round(Instant began) {
  StatusOr<std::string> full = co_await Collect(began);
  const bool failed_before = std::exchange(failed_, !full.ok() || !full->empty());
  if (!failed_) co_return;
  Log(Severity::kWarning, "Image garbage collection", {{"err", full.ok() ? *full : full.status().ToString()}});
  if (full.ok()) {
    Tell("FreeDiskSpaceFailed", *std::move(full));
  } else if (failed_before) {
    // Once may be an outage that is being mended.
    Tell("ImageGCFailed", std::string(full.status().message()));
  }
}

Task<StatusOr<std::string>> ImageCollector::Collect(Instant began) {
  CO_RETURN_IF_ERROR(co_await deps_.known.ReadIfChanged());
  co_await RemoveOld(began);
  auto space = deps_.store.space();
  if (!space) co_return "";
  const int64_t wanted = BytesToFree(policy_, *space);
  if (wanted == 0) co_return "";
  const std::optional<int64_t> freed = co_await FreeSpace(wanted);
  if (!freed || *freed >= wanted) co_return "";
  co_return absl::StrCat(
      "Insufficient free disk space on the node's image filesystem (", UsedPercent(*space), "% of ",
      FormatSize(space->capacity_bytes), " used). Failed to free sufficient space by deleting unused images (freed ",
      *freed, " bytes). Investigate disk usage, as it could be used by active images, logs, volumes, or other data.");
}

Task<> ImageCollector::RemoveOld(Instant began) {
  auto images = Images();
  if (images) co_await RemoveUnused(TooOld(policy_, *images, deps_.clock.Now(), began), "age");
}

Task<std::optional<int64_t>> ImageCollector::FreeSpace(int64_t wanted) {
  auto images = Images();
  if (!images) co_return std::nullopt;
  co_return co_await RemoveUnused(ForSpace(policy_, *images, wanted, deps_.clock.Now()), "space");
}

Task<int64_t> ImageCollector::RemoveUnused(std::vector<std::string> digests, std::string reason) {
  int64_t freed = 0;
  for (const std::string& digest : digests) {
    // Somebody may have got it while others were removed.
    auto images = Images();
    if (!images) break;
    auto it = std::ranges::find(*images, digest, &GcImage::digest);
    if (it == images->end() || it->in_use) continue;
    if (co_await Remove(digest, reason)) freed += it->size_bytes;
  }
  co_return freed;
}

std::optional<std::vector<GcImage>> ImageCollector::Images() {
  auto used = deps_.in_use();
  if (!used) return std::nullopt;
  std::vector<GcImage> out;
  for (const auto& [digest, image] : deps_.known.images()) {
    const bool in_use = used->contains(digest);
    if (in_use) deps_.known.Touch(digest);
    const KnownImages::Use use = deps_.known.UseOf(digest);
    out.push_back({.digest = digest,
                   .size_bytes = image.size_bytes,
                   .first_seen = use.first_seen,
                   .last_used = use.last_used,
                   .in_use = in_use});
  }
  return out;
}

Task<bool> ImageCollector::Remove(std::string digest, std::string reason) {
  Status status = co_await deps_.known.Remove(digest);
  if (!status.ok()) {
    Log(Severity::kWarning, "An image was not removed", {{"digest", digest}, {"err", status}});
    co_return false;
  }
  Log(Severity::kInfo, "Image removed", {{"digest", digest}, {"reason", reason}});
  deps_.metrics
      .counter("kubelet_image_garbage_collected_total",
               "Total number of images garbage collected by the kubelet, whether through disk usage or image age.",
               {{"reason", reason}})
      .Increment();
  co_return true;
}

void ImageCollector::Tell(std::string reason, std::string message) {
  if (!deps_.node_event) return;
  deps_.node_event({.warning = true, .reason = std::move(reason), .message = std::move(message)});
}

}  // namespace vck::image
