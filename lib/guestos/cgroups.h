// The guest's cgroups: the tether in one, everything of the pod in another that cannot take all.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"

namespace vck::guestos {

struct GuestMemory {
  int64_t total_bytes = 0;
  int64_t pod_bytes = 0;  // memory.max of the pod's cgroup
};
// What of the guest's memory the pod may use: all but what the tether and the kernel need to stay able to act. Pure.
int64_t PodMemory(int64_t total_bytes);
// MemTotal of /proc/meminfo in bytes; 0 if it is not there. Pure.
int64_t TotalMemory(std::string_view meminfo);
// How many processes and threads of the kernel's limit the pod may have. Pure.
int64_t PodProcesses(int64_t threads_max, int64_t pid_max);

// Makes both, with all controllers, and moves this process into its own. The OOM killer leaves this process alone.
StatusOr<GuestMemory> MakeCgroups();

}  // namespace vck::guestos
