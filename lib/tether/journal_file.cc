#include "tether/journal_file.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "async/offload.h"
#include "base/digest.h"

namespace vck::tether {
namespace {

constexpr size_t kMaxJournal = size_t{16} * 1024 * 1024;  // as a frame, which a spec came in
constexpr size_t kMaxSlot = 2 * kMaxJournal;
constexpr size_t kStep = size_t{64} * 1024;  // slots grow by this; most journals fit one
constexpr int kSlots = 2;

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

struct Entry {
  int64_t number = 0;  // grows with each; 0: none
  std::string text;
};

std::string SlotPath(const std::string& path, int slot) { return absl::StrCat(path, ".", slot); }

Status Errno(const std::string& path) { return absl::ErrnoToStatus(errno, path); }

Status WriteAt(int fd, std::string_view data, off_t at, const std::string& path) {
  while (!data.empty()) {
    const ssize_t n = ::pwrite(fd, data.data(), data.size(), at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Errno(path);
    data.remove_prefix(static_cast<size_t>(n));
    at += n;
  }
  return absl::OkStatus();
}

StatusOr<std::string> ReadSlot(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (fd.get() < 0) return Errno(path);
  std::string out;
  char buffer[16384];
  while (true) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Errno(path);
    if (n == 0) return out;
    out.append(buffer, static_cast<size_t>(n));
    if (out.size() > kMaxSlot) return absl::InvalidArgumentError(absl::StrCat(path, " is too large"));
  }
}

// "number size digest\n", then the text, then what an earlier one has left. Number 0 where it is not whole: it was
// being written when the power went.
Entry Parse(std::string_view slot) {
  const size_t line = slot.find('\n');
  if (line == std::string_view::npos) return {};
  const std::vector<std::string_view> words = absl::StrSplit(slot.substr(0, line), ' ');
  int64_t number = 0;
  size_t size = 0;
  if (words.size() != 3 || !absl::SimpleAtoi(words[0], &number) || !absl::SimpleAtoi(words[1], &size)) return {};
  const std::string_view rest = slot.substr(line + 1);
  if (number <= 0 || size > rest.size()) return {};
  std::string text(rest.substr(0, size));
  if (Sha256Hex(text) != words[2]) return {};
  return {.number = number, .text = std::move(text)};
}

struct Slots {
  Entry newest;
  int next = 0;   // the one to be written
  Status damage;  // of a slot that has been written
};

Slots ReadSlots(const std::string& path) {
  Slots out;
  for (int i = 0; i < kSlots; ++i) {
    auto slot = ReadSlot(SlotPath(path, i));
    if (!slot.ok()) {
      if (!absl::IsNotFound(slot.status())) out.damage = slot.status();
      continue;
    }
    Entry entry = Parse(*slot);
    const bool written = !slot->empty() && slot->front() != '\0';
    if (entry.number == 0 && written) out.damage = absl::DataLossError(absl::StrCat(SlotPath(path, i), " is damaged"));
    if (entry.number <= out.newest.number) continue;
    out.newest = std::move(entry);
    out.next = 1 - i;
  }
  return out;
}

Status SyncFolder(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  Fd dir(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (dir.get() < 0 || ::fsync(dir.get()) != 0) return Errno(folder);
  return absl::OkStatus();
}

// Opens a slot with blocks for `size` bytes. They are written, not only reserved, so that a later write needs no
// others.
Status Prepare(int fd, size_t size, const std::string& path) {
  struct stat info{};
  if (::fstat(fd, &info) != 0) return Errno(path);
  const auto have = static_cast<size_t>(std::max<off_t>(0, info.st_size));
  if (have >= size) return absl::OkStatus();
  const size_t wanted = (size + size / 2 + kStep - 1) / kStep * kStep;
  Status status = WriteAt(fd, std::string(wanted - have, '\0'), static_cast<off_t>(have), path);
  if (!status.ok()) (void)::ftruncate(fd, static_cast<off_t>(have));  // on a full disk it would be in the way
  return status;
}

Status Write(const std::string& path, int slot, const std::string& entry) {
  const std::string file = SlotPath(path, slot);
  Fd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (fd.get() < 0) return Errno(file);
  RETURN_IF_ERROR(Prepare(fd.get(), entry.size(), file));
  RETURN_IF_ERROR(WriteAt(fd.get(), entry, 0, file));
  if (::fsync(fd.get()) != 0) return Errno(file);
  return absl::OkStatus();
}

Status StoreText(const std::string& path, const std::string& text) {
  const Slots slots = ReadSlots(path);
  const std::string entry = absl::StrCat(slots.newest.number + 1, " ", text.size(), " ", Sha256Hex(text), "\n", text);
  RETURN_IF_ERROR(Write(path, slots.next, entry));
  // Both have to be there before the disk is full.
  const std::string other = SlotPath(path, 1 - slots.next);
  struct stat info{};
  if (::lstat(other.c_str(), &info) == 0 && static_cast<size_t>(info.st_size) >= entry.size()) {
    return absl::OkStatus();
  }
  Fd fd(::open(other.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  // That what comes next may find no room is no reason to doubt what was written.
  if (fd.get() >= 0 && Prepare(fd.get(), entry.size(), other).ok()) (void)::fsync(fd.get());
  return SyncFolder(path);
}

}  // namespace

StatusOr<std::string> JournalFile::Load() {
  Slots slots = ReadSlots(path_);
  if (slots.newest.number > 0) return std::move(slots.newest.text);
  if (!slots.damage.ok()) return slots.damage;
  return absl::NotFoundError(absl::StrCat("there is no ", path_));
}

Task<Status> JournalFile::Store(std::string text) {
  if (text.size() > kMaxJournal) co_return absl::InvalidArgumentError(absl::StrCat(path_, " would be too large"));
  co_return co_await Offload(pool_, [path = path_, text = std::move(text)] { return StoreText(path, text); });
}

}  // namespace vck::tether
