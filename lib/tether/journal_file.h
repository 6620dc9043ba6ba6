// The journal in a file, on a disk that outlives the boot.
#pragma once

#include <string>

#include <boost/asio/thread_pool.hpp>

#include "tether/journal.h"

namespace vck::tether {

class JournalFile : public JournalStore {
 public:
  // `path`: of the slots, which are called path.0 and path.1; its directory exists, on the disk that counts. `pool`
  // waits for the disk; both outlive this.
  JournalFile(asio::thread_pool& pool, std::string path) : pool_(pool), path_(std::move(path)) {}

  StatusOr<std::string> Load() override;
  // Into one of two slots in turns, over what is there: after the first time it needs no room on the disk, which may be
  // full by then, unless it grows by half. Not for two callers at once.
  Task<Status> Store(std::string text) override;

 private:
  asio::thread_pool& pool_;
  std::string path_;
};

}  // namespace vck::tether
