#include "image/gc.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace vck::image {

std::vector<std::string> TooOld(const GcPolicy& policy, const std::vector<GcImage>& images, Instant now,
                                Instant started) {
  std::vector<std::string> out;
  if (policy.max_age <= absl::ZeroDuration() || now - started <= policy.max_age) return out;
  for (const GcImage& image : images) {
    if (!image.in_use && now - image.last_used > policy.max_age) out.push_back(image.digest);
  }
  return out;
}

int UsedPercent(const ImageStore::Space& space) {
  if (space.capacity_bytes <= 0) return 0;
  int64_t free = std::clamp<int64_t>(space.free_bytes, 0, space.capacity_bytes);
  return 100 - static_cast<int>(static_cast<double>(free) * 100 / static_cast<double>(space.capacity_bytes));
}

int64_t BytesToFree(const GcPolicy& policy, const ImageStore::Space& space) {
  if (policy.high >= 100 || space.capacity_bytes <= 0 || UsedPercent(space) < policy.high) return 0;
  int64_t wanted = space.capacity_bytes / 100 * (100 - policy.low);
  return std::max<int64_t>(0, wanted - space.free_bytes);
}

std::vector<std::string> ForSpace(const GcPolicy& policy, std::vector<GcImage> images, int64_t bytes, Instant now) {
  std::ranges::sort(images, [](const GcImage& a, const GcImage& b) {
    return std::pair(a.last_used, a.first_seen) < std::pair(b.last_used, b.first_seen);
  });
  std::vector<std::string> out;
  for (const GcImage& image : images) {
    if (bytes <= 0) break;
    // What has just been brought in is wanted by somebody right away.
    if (image.in_use || now - image.first_seen < policy.min_age) continue;
    out.push_back(image.digest);
    bytes -= image.size_bytes;
  }
  return out;
}

std::string FormatSize(int64_t bytes) {
  constexpr int64_t kKiB = 1024;
  auto size = static_cast<double>(bytes);
  if (bytes < kKiB) return absl::StrFormat("%d B", bytes);
  for (const char* unit : {"KiB", "MiB", "GiB"}) {
    size /= kKiB;
    if (size < kKiB) return absl::StrFormat("%.1f %s", size, unit);
  }
  return absl::StrFormat("%.1f TiB", size / kKiB);
}

}  // namespace vck::image
