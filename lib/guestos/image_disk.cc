#include "guestos/image_disk.h"

#include <cerrno>
#include <utility>

#include <sys/mount.h>

#include "guestos/files.h"
#include "guestos/projects.h"

namespace vck::guestos {

ImageDisks::ImageDisks(std::string directory, DeviceOf device_of)
    : directory_(std::move(directory)), device_of_(std::move(device_of)) {}

ImageDisks::~ImageDisks() {
  for (const auto& [unit, image] : open_) ::umount2(absl::StrCat(directory_, "/", unit).c_str(), MNT_DETACH);
}

StatusOr<std::shared_ptr<const Image>> ImageDisks::Open(int unit) {
  if (auto it = open_.find(unit); it != open_.end()) return it->second;
  ASSIGN_OR_RETURN(std::string device, device_of_(unit));
  const std::string at = absl::StrCat(directory_, "/", unit);
  RETURN_IF_ERROR(MakeDirs(at));
  if (::mount(device.c_str(), at.c_str(), "squashfs", MS_RDONLY, nullptr) != 0) {
    return FileError(errno, "mount", device);
  }
  auto read = [&]() -> StatusOr<std::shared_ptr<const Image>> {
    ASSIGN_OR_RETURN(std::string text, ReadFile(at + "/config.json", kMaxImageConfigBytes));
    ASSIGN_OR_RETURN(ImageConfig config, ParseImageConfig(text));
    return std::make_shared<const Image>(Image{std::move(config), at + "/rootfs"});
  };
  auto image = read();
  if (!image.ok()) {
    ::umount2(at.c_str(), MNT_DETACH);
    return Annotate(image.status(), absl::StrCat("image disk of unit ", unit));
  }
  open_[unit] = *image;
  return image;
}

StatusOr<std::string> MountOverlay(const std::string& lower, const std::string& directory) {
  RETURN_IF_ERROR(RemoveOverlay(directory));
  const std::string upper = directory + "/upper", work = directory + "/work";
  std::string target = directory + "/rootfs";
  RETURN_IF_ERROR(MakeDirs(directory));
  RETURN_IF_ERROR(CountTree(directory));
  for (const std::string& path : {upper, work, target}) RETURN_IF_ERROR(MakeDirs(path));
  const std::string options = absl::StrCat("lowerdir=", lower, ",upperdir=", upper, ",workdir=", work, ",volatile");
  if (::mount("overlay", target.c_str(), "overlay", 0, options.c_str()) != 0) return FileError(errno, "mount", target);
  return target;
}

Status RemoveOverlay(const std::string& directory) {
  const std::string target = directory + "/rootfs";
  if (::umount2(target.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0 && errno != EINVAL && errno != ENOENT) {
    return FileError(errno, "unmount", target);
  }
  return RemoveTree(directory);
}

}  // namespace vck::guestos
