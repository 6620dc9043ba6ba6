// What crun is told: the OCI runtime spec's config.json of a container, made from the pod's spec and the image's
// configuration. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "guestapi/spec.h"
#include "guestos/container_user.h"
#include "guestos/image_config.h"
#include "json/json.h"

namespace vck::guestos {

// A bind mount, its source resolved.
struct BindMount {
  std::string source;  // of the guest
  std::string path;    // in the container
  bool read_only = false;
  enum class Propagation { kPrivate, kHostToContainer, kBidirectional };
  Propagation propagation = Propagation::kPrivate;
};

struct DeviceNode {
  std::string path;
  char type = 'c';  // or 'b'
  uint32_t major = 0, minor = 0;
  uint32_t mode = 0;
  uint32_t uid = 0, gid = 0;
};

struct OciInput {
  const guestapi::GuestSpec* pod = nullptr;
  const guestapi::ContainerSpec* container = nullptr;
  const ImageConfig* image = nullptr;
  ContainerUser user;
  std::string rootfs;
  std::string cgroup_path;                // "": cgroups are left alone, and with them all limits
  std::string pid_namespace;              // path of the one to join; "": an own one
  bool guest_pid_namespace = false;       // hostPID
  std::vector<BindMount> mounts;          // volumes, and files of the pod
  std::vector<DeviceNode> devices;        // of the guest; for privileged containers
  std::vector<std::string> capabilities;  // all that can be given ("CAP_…")
  int64_t memory_bytes = 0;               // of the guest
  uint64_t max_open_files = 0;            // RLIMIT_NOFILE; 0: ours
  int64_t max_processes = 0;              // of the container's cgroup; 0: no limit of its own
};

// InvalidArgument when nothing says what to run, or for capabilities that do not exist.
StatusOr<json::Object> MakeOciConfig(const OciInput& input);

// The process of an exec: the container's own (`process` of its configuration) with other arguments.
json::Object MakeExecProcess(const json::Object& process, const std::vector<std::string>& command, bool tty);

// The same of the configuration's limits as options of `crun update`.
std::vector<std::string> UpdateOptions(const guestapi::Resources& resources);

// The names of capabilities whose bits are set in `mask`, by number.
std::vector<std::string> CapabilityNames(uint64_t mask);

// As the kubelet sets it (qos.GetContainerOOMScoreAdjust): the more memory was asked for, the later a container dies.
int OomScoreAdj(const guestapi::GuestSpec& pod, const guestapi::ContainerSpec& container, int64_t memory_bytes);

}  // namespace vck::guestos
