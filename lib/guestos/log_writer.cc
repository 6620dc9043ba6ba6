#include "guestos/log_writer.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include <sys/stat.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "guestos/files.h"

namespace vck::guestos {
namespace {

namespace fs = std::filesystem;

// "3.log" or "3.log.2"
bool ParseName(std::string_view name, int* attempt, int64_t* piece) {
  std::vector<std::string_view> parts = absl::StrSplit(name, '.');
  if (parts.size() < 2 || parts.size() > 3 || parts[1] != "log") return false;
  *piece = 0;
  if (parts.size() == 3 && (!absl::SimpleAtoi(parts[2], piece) || *piece <= 0)) return false;
  return absl::SimpleAtoi(parts[0], attempt) && *attempt >= 0;
}

}  // namespace

std::string LogPath(const std::string& directory, int attempt) { return absl::StrCat(directory, "/", attempt, ".log"); }

std::string PiecePath(const std::string& log, int64_t piece) {
  return piece == 0 ? log : absl::StrCat(log, ".", piece);
}

std::vector<int64_t> ListPieces(const std::string& log) {
  const fs::path path(log);
  int wanted = 0;
  int64_t none = 0;
  std::vector<int64_t> out;
  if (!ParseName(path.filename().string(), &wanted, &none)) return out;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(path.parent_path(), ec)) {
    int attempt = 0;
    int64_t piece = 0;
    if (ParseName(entry.path().filename().string(), &attempt, &piece) && attempt == wanted) out.push_back(piece);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<int> ListAttempts(const std::string& directory) {
  std::vector<int> out;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(directory, ec)) {
    int attempt = 0;
    int64_t piece = 0;
    if (ParseName(entry.path().filename().string(), &attempt, &piece)) out.push_back(attempt);
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

void RemoveAttemptsBefore(const std::string& directory, int attempt) {
  for (int old : ListAttempts(directory)) {
    if (old >= attempt) break;
    const std::string log = LogPath(directory, old);
    for (int64_t piece : ListPieces(log)) ::unlink(PiecePath(log, piece).c_str());
  }
}

StatusOr<std::unique_ptr<LogWriter>> LogWriter::Open(std::string log, LogLimits limits) {
  RETURN_IF_ERROR(MakeDirs(fs::path(log).parent_path().string()));
  std::unique_ptr<LogWriter> out(new LogWriter(log, limits));
  std::vector<int64_t> pieces = ListPieces(log);
  RETURN_IF_ERROR(out->OpenPiece(pieces.empty() ? 0 : pieces.back()));
  return out;
}

Status LogWriter::OpenPiece(int64_t piece) {
  const std::string path = PiecePath(log_, piece);
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
  struct stat info{};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) return FileError(errno, "open", path);
  file_ = std::move(fd);
  size_ = info.st_size;
  piece_ = piece;
  return absl::OkStatus();
}

Status LogWriter::Append(std::string_view entries) {
  while (!entries.empty()) {
    NextPieceIfFull();
    // As many as fit, the one that fills the piece included.
    size_t end = entries.size();
    if (const int64_t room = limits_.max_bytes - size_; room < static_cast<int64_t>(end)) {
      const size_t line = entries.find('\n', static_cast<size_t>(std::max<int64_t>(room - 1, 0)));
      if (line != std::string_view::npos) end = line + 1;
    }
    RETURN_IF_ERROR(Write(entries.substr(0, end)));
    entries.remove_prefix(end);
  }
  return absl::OkStatus();
}

void LogWriter::NextPieceIfFull() {
  if (size_ >= limits_.max_bytes && OpenPiece(piece_ + 1).ok()) {
    std::vector<int64_t> pieces = ListPieces(log_);
    for (size_t i = 0; i + static_cast<size_t>(limits_.max_files) < pieces.size(); ++i) {
      ::unlink(PiecePath(log_, pieces[i]).c_str());
    }
  }
}

Status LogWriter::Write(std::string_view entries) {
  const int64_t before = size_;
  while (!entries.empty()) {
    const ssize_t n = ::write(file_.get(), entries.data(), entries.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      if (::ftruncate(file_.get(), before) == 0) size_ = before;
      return FileError(error, "write", PiecePath(log_, piece_));
    }
    size_ += n;
    entries.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

}  // namespace vck::guestos
