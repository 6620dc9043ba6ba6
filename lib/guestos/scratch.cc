#include "guestos/scratch.h"

#include <array>
#include <cerrno>
#include <cstring>

#include <sys/mount.h>
#include <unistd.h>

#include "base/log.h"
#include "guestos/disks.h"
#include "guestos/files.h"
#include "guestos/paths.h"

namespace vck::guestos {
namespace {

constexpr absl::Duration kDiskLimit = absl::Seconds(20);
constexpr absl::Duration kFormatLimit = absl::Minutes(2);
constexpr size_t kHeadBytes = 4096;
// ext4's superblock is at 1024, its magic 0xEF53 at 56 in there (Documentation/filesystems/ext4).
constexpr size_t kMagicAt = 1024 + 56;
constexpr std::string_view kMagic = "\x53\xEF";

StatusOr<std::string> ReadHead(const std::string& device) {
  Fd fd(::open(device.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return FileError(errno, "open", device);
  std::string out(kHeadBytes, '\0');
  const ssize_t n = ::pread(fd.get(), out.data(), out.size(), 0);
  if (n < 0) return FileError(errno, "read", device);
  out.resize(static_cast<size_t>(n));
  return out;
}

// Inode tables and journal are zeroed later, on the side: a fresh disk reads as zeroes anyway. Nothing is set aside for
// growth: a scratch disk keeps its size.
Task<Status> Format(Reaper* reaper, std::string device) {
  Command command{.argv = {std::string(kMke2fsPath), "-q", "-F", "-t", "ext4", "-m", "0", "-L", "vch-scratch", "-O",
                           "quota,project,^resize_inode", "-E",
                           "quotatype=prjquota,lazy_itable_init=1,lazy_journal_init=1,nodiscard", device},
                  .env = {"PATH=/usr/sbin:/usr/bin"}};
  CO_ASSIGN_OR_RETURN(RunResult result, co_await reaper->Run(std::move(command), {.timeout = kFormatLimit}));
  if (result.exit.ok()) co_return absl::OkStatus();
  co_return absl::InternalError(absl::StrCat("mke2fs ", device, ": ", ToString(result.exit), ": ", result.err));
}

Status MountExt4(const std::string& device) {
  const std::string path(kScratchDir);
  if (::mount(device.c_str(), path.c_str(), "ext4", MS_NOSUID | MS_NOATIME, "") != 0) {
    return FileError(errno, "mount", device);
  }
  return absl::OkStatus();
}

Status MakeScratchDirs() {
  for (std::string_view path : {kJournalDir, kLogsDir}) RETURN_IF_ERROR(MakeDirs(std::string(path), 0700));
  return absl::OkStatus();
}

}  // namespace

bool HasExt4(std::string_view head) {
  return head.size() >= kMagicAt + kMagic.size() && head.substr(kMagicAt, kMagic.size()) == kMagic;
}

Task<StatusOr<Scratch>> MountScratch(Reaper* reaper, int unit) {
  Scratch scratch;
  const std::string path(kScratchDir);
  CO_RETURN_IF_ERROR(MakeDirs(path, 0700));
  if (unit < 0) {
    if (::mount("tmpfs", path.c_str(), "tmpfs", MS_NOATIME, "mode=0700,size=50%") != 0) {
      co_return FileError(errno, "mount", path);
    }
    CO_RETURN_IF_ERROR(MakeScratchDirs());
    co_return scratch;
  }
  CO_ASSIGN_OR_RETURN(scratch.device, AwaitDisk(unit, kDiskLimit));
  CO_ASSIGN_OR_RETURN(std::string head, ReadHead(scratch.device));
  if (HasExt4(head)) {
    Status status = MountExt4(scratch.device);
    scratch.earlier = status.ok();
    if (!status.ok()) Log(Severity::kError, "Scratch disk is unusable and made anew", {{"err", status}});
  }
  if (!scratch.earlier) {
    CO_RETURN_IF_ERROR(co_await Format(reaper, scratch.device));
    CO_RETURN_IF_ERROR(MountExt4(scratch.device));
  }
  CO_RETURN_IF_ERROR(MakeScratchDirs());
  co_return scratch;
}

}  // namespace vck::guestos
