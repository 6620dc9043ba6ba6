// Makes what crun needs to run a container: its root file system, its files and its config.json. Blocking, and not
// thread-safe: for Offload, one call at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"
#include "guestapi/spec.h"
#include "guestos/container_user.h"
#include "guestos/image_disk.h"
#include "guestos/volumes.h"
#include "json/json.h"

namespace vck::guestos {

struct BundleOptions {
  std::string state_directory;    // on a tmpfs: configurations, files of volumes, mount points
  std::string secrets_directory;  // on a tmpfs
  std::string scratch_directory;  // on the scratch disk: what containers change, emptyDirs
  std::string images_directory;
  ImageDisks::DeviceOf device_of;
  std::string cgroup = "/pod";  // containers' cgroups are below it; "": there are none
  std::string host_root = "/";  // of hostPaths
  std::string sysctls = "/proc/sys";
  std::string devices = "/dev";        // those that privileged containers get
  uint64_t max_open_files = 1u << 20;  // RLIMIT_NOFILE; 0: ours
};

struct Bundle {
  std::string directory;  // with config.json
  std::string overlay;    // directory of the root file system and the termination message, on the scratch disk
  std::string cgroup;     // "": none
  json::Object process;   // of config.json
  ContainerUser user;
  int stop_signal = 0;
  std::string termination_file;  // "": none
};

// Why a container cannot be made, as its waiting reason and message.
struct BundleFailure {
  std::string reason, message;
};

class Bundles {
 public:
  explicit Bundles(BundleOptions options);
  Bundles(const Bundles&) = delete;
  Bundles& operator=(const Bundles&) = delete;
  ~Bundles();  // unmounts what it mounted

  // Removes what an earlier run of the guest left behind.
  void CleanUp();
  // Brings volumes and files of the pod up to date.
  Status Apply(const guestapi::GuestSpec& pod, absl::Time now);
  // `pid_namespace`: see OciInput. On failure nothing is left behind.
  StatusOr<Bundle> Make(const guestapi::GuestSpec& pod, const guestapi::ContainerSpec& container,
                        const std::string& run_id, const std::string& pid_namespace, absl::Time now,
                        BundleFailure* failure);
  void Remove(const std::string& run_id);

 private:
  StatusOr<std::shared_ptr<const Image>> OpenImage(const guestapi::GuestSpec& pod,
                                                   const guestapi::ContainerSpec& container);
  Status WritePodFiles(const guestapi::GuestSpec& pod);
  Status SetSysctls(const guestapi::GuestSpec& pod);
  StatusOr<std::string> SharedMemory(const guestapi::GuestSpec& pod);
  StatusOr<Bundle> Fill(const guestapi::GuestSpec& pod, guestapi::ContainerSpec container, const std::string& run_id,
                        const std::string& pid_namespace, absl::Time now, BundleFailure* failure);

  BundleOptions options_;
  ImageDisks images_;
  Volumes volumes_;
  std::vector<std::pair<std::string, std::string>> sysctls_set_;
  std::vector<std::string> capabilities_;  // ours
  int64_t memory_bytes_ = 0;
  int64_t max_processes_ = 0;
  std::string shared_memory_;  // mounted there; "": not yet
};

}  // namespace vck::guestos
