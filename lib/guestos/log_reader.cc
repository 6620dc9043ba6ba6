#include "guestos/log_reader.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <sys/stat.h>

#include "async/offload.h"
#include "guestos/files.h"

namespace vck::guestos {
namespace {

constexpr size_t kBlock = size_t{32} * 1024;

struct Piece {
  int64_t number = 0;
  Fd file;
};

// The piece, or if it has been removed the one after it.
StatusOr<Piece> OpenPiece(const std::string& log, int64_t wanted) {
  for (int64_t number : ListPieces(log)) {
    if (number < wanted) continue;
    Fd fd(::open(PiecePath(log, number).c_str(), O_RDONLY | O_CLOEXEC));
    if (fd.valid()) return Piece{number, std::move(fd)};
    if (errno != ENOENT) return FileError(errno, "open", PiecePath(log, number));
  }
  return absl::NotFoundError(absl::StrCat(log, ": no log"));
}

StatusOr<std::string> ReadBlock(int fd, int64_t offset, size_t max) {
  std::string out(max, '\0');
  const ssize_t n = ::pread(fd, out.data(), out.size(), offset);
  if (n < 0) return FileError(errno, "read", "log");
  out.resize(static_cast<size_t>(n));
  return out;
}

}  // namespace

StatusOr<LogPosition> FindTail(const std::string& log, int64_t lines) {
  std::vector<int64_t> pieces = ListPieces(log);
  if (pieces.empty()) return absl::NotFoundError(absl::StrCat(log, ": no log"));
  bool last = true;
  LogPosition begin{pieces.front(), 0};
  for (auto number = pieces.rbegin(); number != pieces.rend(); ++number) {
    Fd fd(::open(PiecePath(log, *number).c_str(), O_RDONLY | O_CLOEXEC));
    struct stat info{};
    if (!fd.valid() || ::fstat(fd.get(), &info) != 0) {
      if (errno == ENOENT) break;  // removed meanwhile, and so are those before it
      return FileError(errno, "open", log);
    }
    if (lines <= 0) return LogPosition{*number, info.st_size};
    begin = {*number, 0};
    for (int64_t end = info.st_size; end > 0;) {
      const int64_t start = std::max<int64_t>(0, end - static_cast<int64_t>(kBlock));
      ASSIGN_OR_RETURN(std::string block, ReadBlock(fd.get(), start, static_cast<size_t>(end - start)));
      for (size_t i = block.size(); i-- > 0;) {
        if (block[i] != '\n') continue;
        // The newline at the very end closes the last line; it begins none.
        const int64_t after = start + static_cast<int64_t>(i) + 1;
        if (std::exchange(last, false) && after == info.st_size) continue;
        if (--lines == 0) return LogPosition{*number, after};
      }
      end = start;
    }
    // The piece's first line has no newline before it: that is the end of the piece before, which counts there.
  }
  return begin;
}

std::string ReadTail(const std::string& log, int64_t lines, size_t max_bytes) {
  std::string out;
  auto at = FindTail(log, lines);
  if (!at.ok()) return out;
  guestapi::CriLogFilter filter({});
  while (true) {
    auto piece = OpenPiece(log, at->piece);
    if (!piece.ok()) break;
    if (piece->number != at->piece) at->offset = 0;
    while (true) {
      auto block = ReadBlock(piece->file.get(), at->offset, kBlock);
      if (!block.ok() || block->empty()) break;
      at->offset += static_cast<int64_t>(block->size());
      filter.Feed(*block, &out);
      if (out.size() > 2 * max_bytes) out.erase(0, out.size() - max_bytes);
    }
    *at = {piece->number + 1, 0};
  }
  if (out.size() > max_bytes) out.erase(0, out.size() - max_bytes);
  return out;
}

Task<Status> ReadLog(asio::thread_pool* pool, std::string log, std::shared_ptr<LiveLog> live, LogReadOptions options,
                     LogSink* sink) {
  LogPosition at;
  if (options.tail_lines && !options.raw) {
    auto find = [log, lines = *options.tail_lines] { return FindTail(log, lines); };
    CO_ASSIGN_OR_RETURN(at, co_await Offload(*pool, std::move(find)));
  }
  guestapi::CriLogFilter filter(options.query);
  Piece piece;
  bool sealed = false;  // there is a next one: nothing more comes to this
  while (true) {
    const int64_t seen = live != nullptr ? live->version : 0;
    if (!piece.file.valid()) {
      auto open = [log, wanted = at.piece] { return OpenPiece(log, wanted); };
      CO_ASSIGN_OR_RETURN(piece, co_await Offload(*pool, std::move(open)));
      if (piece.number != at.piece) at = {piece.number, 0};
      sealed = false;
    }
    auto read = [fd = piece.file.get(), offset = at.offset] { return ReadBlock(fd, offset, kBlock); };
    CO_ASSIGN_OR_RETURN(std::string block, co_await Offload(*pool, std::move(read)));
    if (!block.empty()) {
      at.offset += static_cast<int64_t>(block.size());
      std::string text;
      if (options.raw) {
        text = std::move(block);
      } else {
        filter.Feed(block, &text);
      }
      if (!text.empty()) CO_RETURN_IF_ERROR(co_await sink->Write(text));
      if (!options.raw && filter.done()) co_return absl::OkStatus();
      continue;
    }
    if (sealed) {
      at = {at.piece + 1, 0};
      piece.file.Reset();
      continue;
    }
    auto look = [log, number = piece.number] {
      std::vector<int64_t> pieces = ListPieces(log);
      return !pieces.empty() && pieces.back() > number;
    };
    sealed = co_await Offload(*pool, std::move(look));
    if (sealed) continue;  // it may have grown before
    if (live == nullptr || !options.follow) co_return absl::OkStatus();
    if (live->version != seen) continue;
    if (live->finished) co_return absl::OkStatus();
    co_await live->changed.Wait();
  }
}

}  // namespace vck::guestos
