// The log files of a container's runs, as the kubelet lays them out: <directory>/<attempt>.log. A log that has grown
// too large goes on in <attempt>.log.1, .2 …; pieces are never renamed, so that readers keep their place, and the
// oldest are removed. Blocking, but for LiveLog: for Offload.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "async/wait.h"
#include "base/status.h"
#include "guestos/fd.h"

namespace vck::guestos {

std::string LogPath(const std::string& directory, int attempt);
std::string PiecePath(const std::string& log, int64_t piece);
// The pieces of a log that exist, in order; none when there is no such log.
std::vector<int64_t> ListPieces(const std::string& log);
// The attempts of which there are logs, in order.
std::vector<int> ListAttempts(const std::string& directory);
// Removes the logs of all attempts before `attempt`.
void RemoveAttemptsBefore(const std::string& directory, int attempt);

struct LogLimits {
  int64_t max_bytes = int64_t{10} << 20;  // of a piece; it may be exceeded by one entry
  int max_files = 5;                      // pieces, the newest included
};

class LogWriter {
 public:
  // Goes on with a log that is there.
  static StatusOr<std::unique_ptr<LogWriter>> Open(std::string log, LogLimits limits);
  // Whole entries. When the disk is full they are lost, and the log stays well-formed.
  Status Append(std::string_view entries);
  [[nodiscard]] int64_t newest() const { return piece_; }

 private:
  LogWriter(std::string log, LogLimits limits) : log_(std::move(log)), limits_(limits) {}
  Status OpenPiece(int64_t piece);
  void NextPieceIfFull();
  Status Write(std::string_view entries);  // all or nothing, into the current piece
  std::string log_;
  LogLimits limits_;
  Fd file_;
  int64_t piece_ = 0;
  int64_t size_ = 0;
};

// What readers of a log that is being written have to know; lives on the loop.
struct LiveLog {
  int64_t version = 0;  // grows with every Append
  int64_t newest = 0;   // piece
  bool finished = false;
  Signal changed;

  void Changed(int64_t newest_piece) {
    newest = newest_piece;
    ++version;
    changed.NotifyAll();
  }
  void Finish() {
    finished = true;
    changed.NotifyAll();
  }
};

}  // namespace vck::guestos
