// The pod's volumes, and where a container's mounts come from. Blocking, and not thread-safe: for Offload, one call at
// a time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"
#include "guestapi/spec.h"
#include "guestos/oci_config.h"

namespace vck::guestos {

struct VolumeOptions {
  std::string disk_directory;    // emptyDirs; on the scratch disk, kept when the guest reboots
  std::string memory_directory;  // Memory emptyDirs and files: on a tmpfs
  std::string mount_directory;   // where subPaths are bound to; on a tmpfs
  std::string host_root = "/";   // hostPaths are below it
};

class Volumes {
 public:
  explicit Volumes(VolumeOptions options) : options_(std::move(options)) {}
  Volumes(const Volumes&) = delete;
  Volumes& operator=(const Volumes&) = delete;
  ~Volumes();  // unmounts what it mounted

  // Makes the volumes of the spec that are not there yet, and updates the files of those that are. Errors name the
  // volume, as the kubelet's events do.
  Status Apply(const guestapi::GuestSpec& spec, absl::Time now);

  // The bind mounts of a container. `run_id` owns the mounts that subPaths need.
  StatusOr<std::vector<BindMount>> MountsOf(const guestapi::ContainerSpec& container, const std::string& run_id);
  void Release(const std::string& run_id);

  // The value of a key in a file of an emptyDir, "" if there is none; what links and ".." in the path lead to is in the
  // volume, too. Errors are the kubelet's, with the reason.
  StatusOr<std::string> ReadEnvKey(const guestapi::EnvFileKey& key) const;

 private:
  struct Volume {
    guestapi::VolumeSpec spec;  // without files
    std::string path;
    bool mounted = false;  // by us
    std::string digest;    // of the files as they were last written
  };

  Status Make(const guestapi::VolumeSpec& spec, const guestapi::GuestSpec& pod, Volume* volume);
  Status MakeMemory(const guestapi::VolumeSpec& spec, const guestapi::GuestSpec& pod, Volume* volume);
  Status MakeHostPath(const guestapi::VolumeSpec& spec, Volume* volume);
  StatusOr<std::string> BindSubPath(const Volume& volume, const guestapi::Mount& mount, const std::string& at);

  VolumeOptions options_;
  std::map<std::string, Volume, std::less<>> volumes_;
};

}  // namespace vck::guestos
