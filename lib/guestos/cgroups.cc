#include "guestos/cgroups.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include <sys/stat.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/log.h"
#include "guestos/files.h"
#include "guestos/kernel_files.h"
#include "guestos/paths.h"

namespace vck::guestos {
namespace {

// Measured: tether 10 MiB with its connections, crun 3, and the kernel's watermarks.
constexpr int64_t kReserveBytes = int64_t{24} << 20;
constexpr int64_t kReserveShare = 32;  // of more memory the kernel uses more for itself
constexpr int64_t kReservedProcesses = 200;
constexpr std::string_view kTetherCgroup = "/tether";

int64_t Number(const StatusOr<std::string>& text, int64_t fallback) {
  int64_t out = 0;
  return text.ok() && absl::SimpleAtoi(*text, &out) ? out : fallback;
}

Status Delegate(const std::string& cgroup) {
  ASSIGN_OR_RETURN(std::string text, ReadKernelFile(cgroup + "/cgroup.controllers"));
  std::vector<std::string_view> names = absl::StrSplit(text, ' ', absl::SkipEmpty());
  for (std::string_view name : names) {
    Status status = WriteKernelFile(cgroup + "/cgroup.subtree_control", absl::StrCat("+", name));
    if (!status.ok()) Log(Severity::kWarning, "Cgroup controller not usable", {{"controller", name}, {"err", status}});
  }
  return absl::OkStatus();
}

}  // namespace

int64_t PodMemory(int64_t total_bytes) {
  return std::max(total_bytes - kReserveBytes - total_bytes / kReserveShare, total_bytes / 2);
}

int64_t TotalMemory(std::string_view meminfo) {
  for (std::string_view line : absl::StrSplit(meminfo, '\n')) {
    std::vector<std::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    int64_t kib = 0;
    if (words.size() == 3 && words[0] == "MemTotal:" && words[2] == "kB" && absl::SimpleAtoi(words[1], &kib)) {
      return kib << 10;
    }
  }
  return 0;
}

int64_t PodProcesses(int64_t threads_max, int64_t pid_max) {
  const int64_t limit = std::min(threads_max, pid_max);
  return std::max(limit - kReservedProcesses, limit / 2);
}

StatusOr<GuestMemory> MakeCgroups() {
  const std::string root(kCgroupRoot);
  const std::string tether = absl::StrCat(root, kTetherCgroup);
  const std::string pod = absl::StrCat(root, kPodCgroup);
  for (const std::string& path : {tether, pod}) {
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return FileError(errno, "mkdir", path);
  }
  // No process may be in the root once its children have controllers.
  RETURN_IF_ERROR(WriteKernelFile(tether + "/cgroup.procs", "0"));
  RETURN_IF_ERROR(Delegate(root));
  RETURN_IF_ERROR(Delegate(pod));
  RETURN_IF_ERROR(WriteKernelFile("/proc/self/oom_score_adj", "-1000"));

  ASSIGN_OR_RETURN(std::string meminfo, ReadKernelFile("/proc/meminfo"));
  GuestMemory memory{.total_bytes = TotalMemory(meminfo)};
  memory.pod_bytes = PodMemory(memory.total_bytes);
  RETURN_IF_ERROR(WriteKernelFile(pod + "/memory.max", std::to_string(memory.pod_bytes)));
  const int64_t processes = PodProcesses(Number(ReadKernelFile("/proc/sys/kernel/threads-max"), 0),
                                         Number(ReadKernelFile("/proc/sys/kernel/pid_max"), 0));
  if (processes > 0) RETURN_IF_ERROR(WriteKernelFile(pod + "/pids.max", std::to_string(processes)));
  // What the tether needs is not reclaimed for the pod's page cache.
  RETURN_IF_ERROR(WriteKernelFile(tether + "/memory.min", std::to_string(kReserveBytes / 2)));
  return memory;
}

}  // namespace vck::guestos
