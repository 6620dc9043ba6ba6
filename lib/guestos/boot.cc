#include "guestos/boot.h"

#include <array>
#include <cerrno>
#include <ctime>
#include <utility>

#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "absl/strings/str_replace.h"
#include "base/log.h"
#include "guestos/cgroups.h"
#include "guestos/kernel_files.h"
#include "guestos/modules.h"
#include "guestos/mounts.h"
#include "guestos/network.h"
#include "guestos/poll.h"

namespace vck::guestos {
namespace {

constexpr absl::Duration kEntropyLimit = absl::Seconds(30);
constexpr size_t kBootIdDigits = 16;
constexpr rlim_t kMaxFiles = 1 << 20;

// What a kubelet sets on its node, and what many small processes want.
constexpr std::array kSysctls = {
    std::pair{"vm/overcommit_memory", "1"},
    std::pair{"vm/panic_on_oom", "0"},
    std::pair{"kernel/keys/root_maxkeys", "1000000"},
    std::pair{"kernel/keys/root_maxbytes", "25000000"},
    std::pair{"fs/inotify/max_user_instances", "8192"},
    std::pair{"fs/inotify/max_user_watches", "524288"},
};

void SetSysctls() {
  for (const auto& [name, value] : kSysctls) {
    Status status = WriteKernelFile(absl::StrCat("/proc/sys/", name), value);
    if (!status.ok()) Log(Severity::kWarning, "Sysctl not set", {{"err", status}});
  }
}

// Containers get these limits where nothing says otherwise; the pod's cgroup bounds processes.
void SetLimits() {
  for (const auto& [resource, limit] : {std::pair<int, rlimit>{RLIMIT_NOFILE, {kMaxFiles, kMaxFiles}},
                                        {RLIMIT_NPROC, {RLIM_INFINITY, RLIM_INFINITY}},
                                        {RLIMIT_CORE, {0, RLIM_INFINITY}}}) {
    if (::setrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0) {
      Log(Severity::kWarning, "Limit not set", {{"limit", resource}, {"err", absl::ErrnoToStatus(errno, "setrlimit")}});
    }
  }
}

// Keys are about to be made: not before the kernel's generator is ready. With RDRAND or virtio-rng it is by now.
Status AwaitEntropy() {
  const auto ready = [] {
    std::array<char, 16> bytes{};
    return ::getrandom(bytes.data(), bytes.size(), GRND_NONBLOCK) == static_cast<ssize_t>(bytes.size());
  };
  if (ready()) return absl::OkStatus();
  Log(Severity::kWarning, "Waiting for entropy: this machine has neither RDRAND nor virtio-rng");
  if (PollUntil(kEntropyLimit, ready)) return absl::OkStatus();
  return absl::DeadlineExceededError(absl::StrCat("no entropy within ", absl::FormatDuration(kEntropyLimit)));
}

// The kernel took the time from the machine's clock. One that is older than this program is wrong, and certificates
// would not be valid yet.
void CheckClock() {
  struct stat self{};
  if (::stat("/proc/self/exe", &self) != 0) return;
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  if (now.tv_sec >= self.st_mtim.tv_sec) return;
  Log(Severity::kWarning, "Machine's clock is wrong and set to the date of this program", {{"clock", now.tv_sec}});
  ::clock_settime(CLOCK_REALTIME, &self.st_mtim);
}

}  // namespace

Status BootGuest() {
  RETURN_IF_ERROR(Annotate(MountGuest(), "mounts"));
  SetSysctls();
  SetLimits();
  auto modules = Modules::Open();
  if (!modules.ok()) return Annotate(modules.status(), "kernel modules");
  modules->LoadBoot();
  auto memory = MakeCgroups();
  if (!memory.ok()) return Annotate(memory.status(), "cgroups");
  LogV(1, "Memory", {{"total", memory->total_bytes}, {"pod", memory->pod_bytes}});
  RETURN_IF_ERROR(Annotate(BringUpLoopback(), "loopback"));
  CheckClock();
  return Annotate(AwaitEntropy(), "entropy");
}

StatusOr<std::string> BootId() {
  ASSIGN_OR_RETURN(std::string id, ReadKernelFile("/proc/sys/kernel/random/boot_id"));
  return absl::StrReplaceAll(id, {{"-", ""}}).substr(0, kBootIdDigits);
}

}  // namespace vck::guestos
