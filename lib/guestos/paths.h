// Where things are in a guest. Whatever runs in the guest finds its directories here.
#pragma once

#include <string_view>

namespace vck::guestos {

// All made by the boot, before the container runtime is.
inline constexpr std::string_view kStateDir = "/run/vch";            // tmpfs
inline constexpr std::string_view kImagesDir = "/run/vch/images";    // kImagesDir/<unit>: mounted by the runtime
inline constexpr std::string_view kScratchDir = "/run/vch/scratch";  // ext4 on the scratch disk, or a tmpfs without one
inline constexpr std::string_view kJournalDir = "/run/vch/scratch/journal";  // of the tether; 0700
inline constexpr std::string_view kLogsDir = "/run/vch/scratch/logs";        // container logs; 0700
inline constexpr std::string_view kSecretsDir =
    "/run/vch/volumes";  // a tmpfs of its own: volume contents that may be secret
inline constexpr std::string_view kCrunPath = "/usr/bin/crun";
inline constexpr std::string_view kMke2fsPath = "/usr/sbin/mke2fs";
// cgroup v2. Containers live below pod/, whose memory.max and pids.max leave room for the tether, which is in tether/.
inline constexpr std::string_view kCgroupRoot = "/sys/fs/cgroup";
inline constexpr std::string_view kPodCgroup = "/pod";  // as crun's cgroupsPath wants it: below the root

}  // namespace vck::guestos
