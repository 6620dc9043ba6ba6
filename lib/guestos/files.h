// Files and directories, blocking: for Offload.
#pragma once

#include <string>
#include <string_view>

#include <fcntl.h>
#include <sys/types.h>

#include "base/status.h"
#include "guestos/fd.h"

namespace vck::guestos {

// Errors name the path and carry errno's code: NotFound, PermissionDenied, ResourceExhausted (a full disk)…
Status FileError(int error, std::string_view what, std::string_view path);

// ResourceExhausted when the file is larger.
StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes);
// Creates or truncates; `mode` whatever the umask says.
Status WriteFile(const std::string& path, std::string_view content, mode_t mode = 0644);
// As one step, and on the disk when it returns: a crash leaves the old content or the new one.
Status ReplaceFile(const std::string& path, std::string_view content, mode_t mode = 0644);
// With parents.
Status MakeDirs(const std::string& path, mode_t mode = 0755);
// Follows no links; nothing there is fine.
Status RemoveTree(const std::string& path);

// Opens `path` as if `root` were "/": links and ".." cannot lead out of it (openat2). For files of containers and
// images.
StatusOr<Fd> OpenInRoot(int root, const std::string& path, int flags);
StatusOr<Fd> OpenDirectory(const std::string& path);
// For reading; InvalidArgument if it is no regular file. A named pipe does not hold it up.
StatusOr<Fd> OpenFileInRoot(const std::string& root, const std::string& path);
StatusOr<std::string> ReadInRoot(const std::string& root, const std::string& path, size_t max_bytes);
// Makes a directory with its parents inside of `root` and opens it (O_PATH).
StatusOr<Fd> MakeDirsInRoot(int root, const std::string& path, mode_t mode = 0755);

// The path by which other calls reach an open file.
std::string PathOf(const Fd& fd);

}  // namespace vck::guestos
