#include "guestos/mounts.h"

#include <array>
#include <cerrno>
#include <string>

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/log.h"
#include "guestos/files.h"
#include "guestos/paths.h"

namespace vck::guestos {
namespace {

struct MountPoint {
  const char* type;
  const char* path;
  unsigned long flags;
  const char* options;
};
constexpr unsigned long kQuiet = MS_NOSUID | MS_NOEXEC | MS_NODEV;
// Sizes are bounds, not reservations: a container must not fill memory through them before its cgroup's limit counts.
constexpr std::array kMounts = {
    MountPoint{"proc", "/proc", kQuiet, ""},
    MountPoint{"sysfs", "/sys", kQuiet, ""},
    MountPoint{"devtmpfs", "/dev", MS_NOSUID, "mode=0755"},
    MountPoint{"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "ptmxmode=0666,mode=0620,gid=5"},
    MountPoint{"tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777"},
    MountPoint{"mqueue", "/dev/mqueue", kQuiet, ""},
    MountPoint{"tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755,size=25%"},
    MountPoint{"tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777,size=25%"},
    MountPoint{"cgroup2", "/sys/fs/cgroup", kQuiet, "nsdelegate,memory_recursiveprot"},
};
constexpr mode_t kAllMayRead = 0755;

// pivot_root cannot leave the kernel's root mount. A bind mount of it is one like any other, costs nothing, and hides
// it: the files stay where the kernel unpacked them, in a tmpfs.
Status LeaveRootfs() {
  constexpr const char* kStep = "/newroot";
  if (::mount("/", kStep, nullptr, MS_BIND, nullptr) != 0) return FileError(errno, "bind", "/");
  if (::chdir(kStep) != 0) return FileError(errno, "enter", kStep);
  if (::mount(".", "/", nullptr, MS_MOVE, nullptr) != 0) return FileError(errno, "move to /", kStep);
  if (::chroot(".") != 0) return FileError(errno, "change root to", kStep);
  if (::chdir("/") != 0) return FileError(errno, "enter", "/");
  return absl::OkStatus();
}

void MakeDevice(const char* path, unsigned major_number, unsigned minor_number) {
  if (::mknod(path, S_IFCHR | 0666, makedev(major_number, minor_number)) == 0) ::chmod(path, 0666);
}

}  // namespace

Status MountGuest() {
  ::umask(0);
  RETURN_IF_ERROR(LeaveRootfs());
  for (const MountPoint& m : kMounts) {
    RETURN_IF_ERROR(MakeDirs(m.path, kAllMayRead));
    if (::mount(m.type, m.path, m.type, m.flags, m.options) != 0) return FileError(errno, "mount", m.path);
  }
  // As on any other system: what containers see of later mounts is for each of them to say.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SHARED, nullptr) != 0) return FileError(errno, "share", "/");
  // What udev would make. Opening the last two loads their modules.
  for (auto [name, target] : {std::pair{"fd", "/proc/self/fd"},
                              {"stdin", "/proc/self/fd/0"},
                              {"stdout", "/proc/self/fd/1"},
                              {"stderr", "/proc/self/fd/2"}}) {
    (void)::symlink(target, absl::StrCat("/dev/", name).c_str());
  }
  ::mkdir("/dev/net", kAllMayRead);
  MakeDevice("/dev/net/tun", 10, 200);
  MakeDevice("/dev/fuse", 10, 229);
  for (std::string_view path : {kStateDir, kImagesDir}) RETURN_IF_ERROR(MakeDirs(std::string(path), 0700));
  RETURN_IF_ERROR(MakeDirs(std::string(kSecretsDir), 0700));
  // Never swapped: a tmpfs has no disk below, and guests have no swap.
  const std::string secrets(kSecretsDir);
  if (::mount("tmpfs", secrets.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700,size=50%") != 0) {
    return FileError(errno, "mount", secrets);
  }
  ::umask(S_IWGRP | S_IWOTH);
  return absl::OkStatus();
}

}  // namespace vck::guestos
