#include "guestos/projects.h"

#include <cerrno>

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guestos/fd.h"
#include "guestos/files.h"

namespace vck::guestos {
namespace {

Fd Open(const std::string& directory) {
  return Fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
}

// EPERM: in a container, where only tests run.
bool CountsNothing(int error) { return error == ENOTTY || error == EOPNOTSUPP || error == EINVAL || error == EPERM; }

}  // namespace

Status CountTree(const std::string& directory) {
  Fd fd = Open(directory);
  if (!fd.valid()) return FileError(errno, "open", directory);
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return FileError(errno, "stat", directory);
  fsxattr attributes{};
  if (::ioctl(fd.get(), FS_IOC_FSGETXATTR, &attributes) != 0) {
    return CountsNothing(errno) ? absl::OkStatus() : FileError(errno, "read the project of", directory);
  }
  // No other directory of this disk has this number while this one is there; ext4's have 32 bits.
  attributes.fsx_projid = static_cast<uint32_t>(info.st_ino);
  attributes.fsx_xflags |= FS_XFLAG_PROJINHERIT;
  if (::ioctl(fd.get(), FS_IOC_FSSETXATTR, &attributes) != 0 && !CountsNothing(errno)) {
    return FileError(errno, "set the project of", directory);
  }
  return absl::OkStatus();
}

std::optional<TreeUsage> ReadTree(const std::string& directory) {
  Fd fd = Open(directory);
  fsxattr attributes{};
  if (!fd.valid() || ::ioctl(fd.get(), FS_IOC_FSGETXATTR, &attributes) != 0 || attributes.fsx_projid == 0) {
    return std::nullopt;
  }
  if_dqblk quota{};
  if (::syscall(SYS_quotactl_fd, fd.get(), QCMD(Q_GETQUOTA, PRJQUOTA), attributes.fsx_projid, &quota) != 0) {
    return std::nullopt;
  }
  return TreeUsage{.used_bytes = static_cast<int64_t>(quota.dqb_curspace),
                   .inodes = static_cast<int64_t>(quota.dqb_curinodes)};
}

}  // namespace vck::guestos
