// Images as disks of the VM: a squashfs with config.json and rootfs/ on each. Blocking: for Offload.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/status.h"
#include "guestos/image_config.h"

namespace vck::guestos {

struct Image {
  ImageConfig config;
  std::string rootfs;  // read-only
};

class ImageDisks {
 public:
  // The block device of a SCSI unit; NotFound when there is none.
  using DeviceOf = std::function<StatusOr<std::string>(int unit)>;
  // Mounts below `directory`, each disk once.
  ImageDisks(std::string directory, DeviceOf device_of);
  ImageDisks(const ImageDisks&) = delete;
  ImageDisks& operator=(const ImageDisks&) = delete;
  ~ImageDisks();  // unmounts

  StatusOr<std::shared_ptr<const Image>> Open(int unit);

 private:
  std::string directory_;
  DeviceOf device_of_;
  std::map<int, std::shared_ptr<const Image>> open_;
};

// An overlay of `lower` whose changes go to <directory>/upper; mounted at <directory>/rootfs. What the directory held
// before is removed. Its changes do not survive a crash.
StatusOr<std::string> MountOverlay(const std::string& lower, const std::string& directory);
// Unmounts, and removes the directory with all changes.
Status RemoveOverlay(const std::string& directory);

}  // namespace vck::guestos
