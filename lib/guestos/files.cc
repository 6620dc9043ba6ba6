#include "guestos/files.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "absl/strings/str_split.h"

namespace vck::guestos {
namespace {

StatusOr<std::string> ReadAll(const Fd& fd, size_t max_bytes, std::string_view path) {
  std::string out;
  while (true) {
    constexpr size_t kStep = size_t{16} * 1024;
    const size_t before = out.size();
    out.resize(before + kStep);
    const ssize_t n = ::read(fd.get(), out.data() + before, kStep);
    if (n < 0 && errno != EINTR) return FileError(errno, "read", path);
    out.resize(before + static_cast<size_t>(std::max<ssize_t>(n, 0)));
    if (n == 0) return out;
    if (out.size() > max_bytes) {
      return absl::ResourceExhaustedError(absl::StrCat(path, ": larger than ", max_bytes, " bytes"));
    }
  }
}

Status WriteAll(const Fd& fd, std::string_view content, std::string_view path) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd.get(), content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError(errno, "write", path);
    content.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

}  // namespace

Status FileError(int error, std::string_view what, std::string_view path) {
  return absl::ErrnoToStatus(error, absl::StrCat(what, " ", path));
}

StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return FileError(errno, "open", path);
  return ReadAll(fd, max_bytes, path);
}

Status WriteFile(const std::string& path, std::string_view content, mode_t mode) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  if (!fd.valid()) return FileError(errno, "open", path);
  if (::fchmod(fd.get(), mode) != 0) return FileError(errno, "chmod", path);
  return WriteAll(fd, content, path);
}

Status ReplaceFile(const std::string& path, std::string_view content, mode_t mode) {
  const std::string next = path + ".new";
  {
    Fd fd(::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
    if (!fd.valid()) return FileError(errno, "open", next);
    RETURN_IF_ERROR(WriteAll(fd, content, next));
    if (::fsync(fd.get()) != 0) return FileError(errno, "fsync", next);
  }
  if (::rename(next.c_str(), path.c_str()) != 0) return FileError(errno, "rename", next);
  ASSIGN_OR_RETURN(Fd directory, OpenDirectory(std::filesystem::path(path).parent_path().string()));
  Fd readable(::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!readable.valid() || ::fsync(readable.get()) != 0) return FileError(errno, "fsync", path);
  return absl::OkStatus();
}

Status MakeDirs(const std::string& path, mode_t mode) {
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (!part.empty() && ::mkdir(part.c_str(), mode) != 0 && errno != EEXIST) return FileError(errno, "mkdir", part);
    if (end == std::string::npos) break;
  }
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return FileError(errno, "stat", path);
  return S_ISDIR(info.st_mode) ? absl::OkStatus() : FileError(ENOTDIR, "mkdir", path);
}

Status RemoveTree(const std::string& path) {
  std::error_code ec;
  std::filesystem::remove_all(path, ec);
  return ec ? FileError(ec.value(), "remove", path) : absl::OkStatus();
}

StatusOr<Fd> OpenInRoot(int root, const std::string& path, int flags) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  Fd fd(static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how)));
  if (!fd.valid()) return FileError(errno, "open", path);
  return fd;
}

StatusOr<Fd> OpenDirectory(const std::string& path) {
  Fd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return FileError(errno, "open", path);
  return fd;
}

StatusOr<Fd> OpenFileInRoot(const std::string& root, const std::string& path) {
  ASSIGN_OR_RETURN(Fd directory, OpenDirectory(root));
  // A named pipe in its place must not hold us up.
  ASSIGN_OR_RETURN(Fd fd, OpenInRoot(directory.get(), path, O_RDONLY | O_NONBLOCK));
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) return FileError(EINVAL, "not a file:", path);
  return fd;
}

StatusOr<std::string> ReadInRoot(const std::string& root, const std::string& path, size_t max_bytes) {
  ASSIGN_OR_RETURN(Fd fd, OpenFileInRoot(root, path));
  return ReadAll(fd, max_bytes, path);
}

StatusOr<Fd> MakeDirsInRoot(int root, const std::string& path, mode_t mode) {
  std::string done;
  ASSIGN_OR_RETURN(Fd at, OpenInRoot(root, ".", O_PATH | O_DIRECTORY));
  for (std::string_view part : absl::StrSplit(path, '/', absl::SkipEmpty())) {
    absl::StrAppend(&done, "/", part);
    // The whole path again each time: a link on the way may lead anywhere in the root.
    auto next = OpenInRoot(root, done, O_PATH | O_DIRECTORY);
    if (absl::IsNotFound(next.status())) {
      if (::mkdirat(at.get(), std::string(part).c_str(), mode) != 0 && errno != EEXIST) {
        return FileError(errno, "mkdir", done);
      }
      next = OpenInRoot(root, done, O_PATH | O_DIRECTORY);
    }
    if (!next.ok()) return next.status();
    at = *std::move(next);
  }
  return at;
}

std::string PathOf(const Fd& fd) { return absl::StrCat("/proc/self/fd/", fd.get()); }

}  // namespace vck::guestos
