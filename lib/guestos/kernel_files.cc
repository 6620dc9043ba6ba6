#include "guestos/kernel_files.h"

#include <cerrno>

#include "absl/strings/ascii.h"
#include "guestos/files.h"

namespace vck::guestos {
namespace {
constexpr size_t kMaxBytes = size_t{64} * 1024;
}

Status WriteKernelFile(const std::string& path, std::string_view value) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return FileError(errno, "open", path);
  if (::write(fd.get(), value.data(), value.size()) < 0) return FileError(errno, "write", path);
  return absl::OkStatus();
}

StatusOr<std::string> ReadKernelFile(const std::string& path) {
  ASSIGN_OR_RETURN(std::string text, ReadFile(path, kMaxBytes));
  return std::string(absl::StripTrailingAsciiWhitespace(text));
}

}  // namespace vck::guestos
