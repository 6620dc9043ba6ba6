#include "guestos/volumes.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "base/digest.h"
#include "base/log.h"
#include "guestos/atomic_writer.h"
#include "guestos/env_file.h"
#include "guestos/files.h"
#include "guestos/projects.h"

namespace vck::guestos {
namespace {

using guestapi::ContainerSpec;
using guestapi::GuestSpec;
using guestapi::VolumeSpec;
using Kind = VolumeSpec::Kind;

constexpr size_t kReadSize = 64 << 10;
constexpr mode_t kOpenToAll = 0777, kSetGroupId = 02000;

// Owner, mode and content of everything, so that an unchanged volume is not written again.
std::string DigestOf(const VolumeSpec& spec, const std::optional<int64_t>& group) {
  std::string all = absl::StrCat("group ", group.value_or(-1), "\n");
  for (const guestapi::FileSpec& file : spec.files) {
    absl::StrAppend(&all, file.mode, " ", file.user.value_or(-1), " ", file.path.size(), " ", file.path, " ",
                    Sha256Hex(file.content), "\n");
  }
  return Sha256Hex(all);
}

Status Share(const std::string& path, const std::optional<int64_t>& group) {
  if (group && ::chown(path.c_str(), static_cast<uid_t>(-1), static_cast<gid_t>(*group)) != 0) {
    return FileError(errno, "chown", path);
  }
  if (::chmod(path.c_str(), group ? kOpenToAll | kSetGroupId : kOpenToAll) != 0) return FileError(errno, "chmod", path);
  return absl::OkStatus();
}

bool IsMountPoint(const std::string& path) {
  struct stat self{}, parent{};
  return ::stat(path.c_str(), &self) == 0 && ::stat((path + "/..").c_str(), &parent) == 0 &&
         self.st_dev != parent.st_dev;
}

Status Bind(const std::string& source, const std::string& target) {
  if (::mount(source.c_str(), target.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0) {
    return FileError(errno, "bind", target);
  }
  return absl::OkStatus();
}

// What containers mount into it, and the guest mounts there later, passes from one to the others.
Status MakeShared(const std::string& path) {
  if (::mount(nullptr, path.c_str(), nullptr, MS_SHARED, nullptr) == 0) return absl::OkStatus();
  if (errno != EINVAL) return FileError(errno, "share", path);
  RETURN_IF_ERROR(Bind(path, path));  // it was no mount point
  if (::mount(nullptr, path.c_str(), nullptr, MS_SHARED, nullptr) != 0) return FileError(errno, "share", path);
  return absl::OkStatus();
}

struct HostPathType {
  std::string_view name;
  mode_t type;  // what must be there
  bool create;  // if nothing is
  std::string_view article;
};
constexpr HostPathType kHostPathTypes[] = {
    {"DirectoryOrCreate", S_IFDIR, true, "a directory"}, {"Directory", S_IFDIR, false, "a directory"},
    {"FileOrCreate", S_IFREG, true, "a file"},           {"File", S_IFREG, false, "a file"},
    {"Socket", S_IFSOCK, false, "a socket file"},        {"CharDevice", S_IFCHR, false, "a character device"},
    {"BlockDevice", S_IFBLK, false, "a block device"},
};

// Opens `path` below `root`, refusing whatever leads out of it.
StatusOr<Fd> OpenBeneath(int root, const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  Fd fd(static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how)));
  if (fd.valid()) return fd;
  if (errno == EXDEV) return absl::InvalidArgumentError(absl::StrCat("subpath \"", path, "\" leads out of the volume"));
  return FileError(errno, "open", path);
}

// Makes the directories of `path` that are not there, with the volume's own mode.
StatusOr<Fd> MakeBeneath(int root, const std::string& path) {
  struct stat info{};
  if (::fstat(root, &info) != 0) return FileError(errno, "stat", path);
  std::string done;
  int at = root;
  Fd held;
  for (std::string_view part : absl::StrSplit(path, '/', absl::SkipEmpty())) {
    absl::StrAppend(&done, done.empty() ? "" : "/", part);
    auto next = OpenBeneath(root, done);
    if (absl::IsNotFound(next.status())) {
      const std::string name(part);
      if (::mkdirat(at, name.c_str(), info.st_mode & 07777) != 0 && errno != EEXIST) {
        return FileError(errno, "mkdir", done);
      }
      ::fchmodat(at, name.c_str(), info.st_mode & 07777, 0);  // what the umask took
      next = OpenBeneath(root, done);
    }
    if (!next.ok()) return next.status();
    held = *std::move(next);
    at = held.get();
  }
  return held;
}

// A file that may be of any size, and may be written meanwhile.
StatusOr<std::string> ReadKey(const std::string& directory, const std::string& path, const std::string& key) {
  ASSIGN_OR_RETURN(Fd fd, OpenFileInRoot(directory, path));
  EnvFileReader reader(key);
  std::string buffer(kReadSize, '\0');
  while (true) {
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError(errno, "read", path);
    if (n == 0 || !reader.Feed({buffer.data(), static_cast<size_t>(n)})) break;
  }
  return reader.Finish();
}

}  // namespace

Volumes::~Volumes() {
  for (const auto& [name, volume] : volumes_) {
    if (volume.mounted) ::umount2(volume.path.c_str(), MNT_DETACH);
  }
}

Status Volumes::Apply(const GuestSpec& spec, absl::Time now) {
  for (const VolumeSpec& wanted : spec.volumes) {
    auto fail = [&](const Status& status) {
      return Annotate(status, absl::StrCat("MountVolume.SetUp failed for volume \"", wanted.name, "\""));
    };
    auto [it, fresh] = volumes_.try_emplace(wanted.name);
    if (fresh) {
      if (Status made = Make(wanted, spec, &it->second); !made.ok()) {
        volumes_.erase(it);
        return fail(made);
      }
    }
    if (wanted.kind != Kind::kFiles) continue;
    std::string digest = DigestOf(wanted, spec.fs_group);
    if (digest == it->second.digest) continue;
    if (Status written = WriteAtomically(it->second.path, wanted.files, spec.fs_group, now); !written.ok()) {
      return fail(written);
    }
    it->second.digest = std::move(digest);
  }
  return absl::OkStatus();
}

Status Volumes::Make(const VolumeSpec& spec, const GuestSpec& pod, Volume* volume) {
  volume->spec = spec;
  volume->spec.files.clear();
  switch (spec.kind) {
    case Kind::kEmptyDir: {
      volume->path = absl::StrCat(options_.disk_directory, "/", spec.name);
      RETURN_IF_ERROR(MakeDirs(volume->path));
      RETURN_IF_ERROR(CountTree(volume->path));
      return Share(volume->path, pod.fs_group);
    }
    case Kind::kMemory:
      return MakeMemory(spec, pod, volume);
    case Kind::kFiles:
      volume->path = absl::StrCat(options_.memory_directory, "/", spec.name);
      RETURN_IF_ERROR(MakeDirs(volume->path));
      return Share(volume->path, pod.fs_group);
    case Kind::kHostPath:
      return MakeHostPath(spec, volume);
  }
  return absl::InternalError("a volume of no kind");
}

// As large as it may be, and never larger than the memory that the pod's containers may use altogether.
Status Volumes::MakeMemory(const VolumeSpec& spec, const GuestSpec& pod, Volume* volume) {
  volume->path = absl::StrCat(options_.memory_directory, "/", spec.name);
  RETURN_IF_ERROR(MakeDirs(volume->path));
  int64_t limit = 0;
  bool limited = !pod.containers.empty();
  for (const ContainerSpec& container : pod.containers) {
    limited = limited && container.memory_limit_bytes > 0;
    limit += container.memory_limit_bytes;
  }
  int64_t size = spec.size_limit;
  if (limited && (size <= 0 || limit < size)) size = limit;
  std::string options = "mode=0777";
  if (size > 0) absl::StrAppend(&options, ",size=", size);
  if (!IsMountPoint(volume->path) && ::mount("tmpfs", volume->path.c_str(), "tmpfs", 0, options.c_str()) != 0) {
    return FileError(errno, "mount", volume->path);
  }
  volume->mounted = true;
  return Share(volume->path, pod.fs_group);
}

Status Volumes::MakeHostPath(const VolumeSpec& spec, Volume* volume) {
  if (!absl::StartsWith(spec.host_path, "/")) {
    return absl::InvalidArgumentError(absl::StrCat("hostPath \"", spec.host_path, "\" is not absolute"));
  }
  volume->path = options_.host_root == "/" ? spec.host_path : options_.host_root + spec.host_path;
  const auto* type = std::find_if(std::begin(kHostPathTypes), std::end(kHostPathTypes),
                                  [&](const HostPathType& t) { return t.name == spec.host_path_type; });
  struct stat info{};
  const bool exists = ::stat(volume->path.c_str(), &info) == 0;
  if (type == std::end(kHostPathTypes)) {
    if (!spec.host_path_type.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("hostPath type check failed: unknown type ", spec.host_path_type));
    }
    return exists ? absl::OkStatus() : MakeDirs(volume->path);
  }
  if (!exists && type->create) {
    if (type->type == S_IFDIR) return MakeDirs(volume->path);
    return WriteFile(volume->path, "", 0644);
  }
  if (!exists || (info.st_mode & S_IFMT) != type->type) {
    return absl::InvalidArgumentError(
        absl::StrCat("hostPath type check failed: ", spec.host_path, " is not ", type->article));
  }
  return absl::OkStatus();
}

StatusOr<std::string> Volumes::BindSubPath(const Volume& volume, const guestapi::Mount& mount, const std::string& at) {
  ASSIGN_OR_RETURN(Fd root, OpenDirectory(volume.path));
  auto opened = OpenBeneath(root.get(), mount.sub_path);
  if (absl::IsNotFound(opened.status())) opened = MakeBeneath(root.get(), mount.sub_path);
  if (!opened.ok()) return opened.status();
  // From here on names do not matter: what was opened is what is mounted.
  struct stat info{};
  if (::fstat(opened->get(), &info) != 0) return FileError(errno, "stat", mount.sub_path);
  if (S_ISDIR(info.st_mode)) {
    RETURN_IF_ERROR(MakeDirs(at));
  } else {
    RETURN_IF_ERROR(MakeDirs(std::filesystem::path(at).parent_path().string()));
    RETURN_IF_ERROR(WriteFile(at, ""));
  }
  RETURN_IF_ERROR(Bind(PathOf(*opened), at));
  return at;
}

StatusOr<std::vector<BindMount>> Volumes::MountsOf(const ContainerSpec& container, const std::string& run_id) {
  std::vector<BindMount> out;
  for (const guestapi::Mount& mount : container.mounts) {
    auto it = volumes_.find(mount.volume);
    if (it == volumes_.end()) {
      return absl::NotFoundError(
          absl::StrCat("volume \"", mount.volume, "\" of container \"", container.name, "\" is not there"));
    }
    const Volume& volume = it->second;
    BindMount bind{.source = volume.path, .path = std::filesystem::path("/" + mount.path).lexically_normal().string()};
    if (bind.path.size() > 1 && bind.path.back() == '/') bind.path.pop_back();
    bind.read_only = mount.read_only || volume.spec.kind == Kind::kFiles;
    if (mount.bidirectional) {
      bind.propagation = BindMount::Propagation::kBidirectional;
    } else if (mount.host_to_container) {
      bind.propagation = BindMount::Propagation::kHostToContainer;
    }
    if (bind.propagation != BindMount::Propagation::kPrivate) RETURN_IF_ERROR(MakeShared(volume.path));
    if (!mount.sub_path.empty()) {
      const std::string at = absl::StrCat(options_.mount_directory, "/", run_id, "/", out.size());
      auto bound = BindSubPath(volume, mount, at);
      if (!bound.ok()) {
        return Annotate(bound.status(), absl::StrCat("failed to prepare subPath for volumeMount \"", mount.volume,
                                                     "\" of container \"", container.name, "\""));
      }
      bind.source = *bound;
    }
    out.push_back(std::move(bind));
  }
  return out;
}

StatusOr<std::string> Volumes::ReadEnvKey(const guestapi::EnvFileKey& key) const {
  auto it = volumes_.find(key.volume);
  if (it == volumes_.end() || (it->second.spec.kind != Kind::kEmptyDir && it->second.spec.kind != Kind::kMemory)) {
    return absl::NotFoundError(absl::StrCat("cannot find the volume \"", key.volume, "\" referenced by FileKeyRef"));
  }
  auto value = ReadKey(it->second.path, key.path, key.key);
  if (value.ok()) return value;
  return Annotate(value.status(),
                  absl::StrCat("couldn't parse env file \"", key.path, "\" of volume \"", key.volume, "\""));
}

void Volumes::Release(const std::string& run_id) {
  const std::string directory = absl::StrCat(options_.mount_directory, "/", run_id);
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ec)) {
    const std::string at = entry.path().string();
    if (::umount2(at.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0 && errno != EINVAL) {
      Log(Severity::kError, "A subPath stays mounted", {{"path", at}, {"err", FileError(errno, "unmount", at)}});
      return;  // what is mounted there is not ours to remove
    }
  }
  if (Status removed = RemoveTree(directory); !removed.ok()) {
    Log(Severity::kError, "Mount points of a container stay", {{"err", removed}});
  }
}

}  // namespace vck::guestos
