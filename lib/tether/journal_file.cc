#include "tether/journal_file.h"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "async/offload.h"

namespace vck::tether {
namespace {

constexpr size_t kMaxJournal = size_t{16} * 1024 * 1024;  // as a frame, which a spec came in

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

Status Errno(const std::string& path) { return absl::ErrnoToStatus(errno, path); }

Status WriteAll(int fd, std::string_view data, const std::string& path) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Errno(path);
    data.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

Status WriteSynced(const std::string& path, const std::string& text) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (fd.get() < 0) return Errno(path);
  RETURN_IF_ERROR(WriteAll(fd.get(), text, path));
  if (::fsync(fd.get()) != 0) return Errno(path);
  return absl::OkStatus();
}

Status Replace(const std::string& path, const std::string& text) {
  const std::string next = path + ".new";
  if (Status status = WriteSynced(next, text); !status.ok()) {
    ::unlink(next.c_str());  // on a full disk it is in the way
    return status;
  }
  if (::rename(next.c_str(), path.c_str()) != 0) return Errno(path);
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  Fd dir(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (dir.get() < 0 || ::fsync(dir.get()) != 0) return Errno(folder);
  return absl::OkStatus();
}

}  // namespace

StatusOr<std::string> JournalFile::Load() {
  Fd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (fd.get() < 0) return Errno(path_);
  std::string text;
  char buffer[16384];
  while (true) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Errno(path_);
    if (n == 0) return text;
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > kMaxJournal) return absl::InvalidArgumentError(absl::StrCat(path_, " is too large"));
  }
}

Task<Status> JournalFile::Store(std::string text) {
  co_return co_await Offload(pool_, [path = path_, text = std::move(text)] { return Replace(path, text); });
}

}  // namespace vck::tether
