// Output of several coroutines on one stream.
#pragma once

#include <string>
#include <string_view>

#include "async/wait.h"
#include "base/status.h"
#include "http/stream.h"

namespace vck::http {

// Writes what others append to `buffer`, in that order and with one write at a time. One thread. Stream and buffer
// outlive it.
class WriteQueue {
 public:
  WriteQueue(Stream& stream, std::string& buffer) : stream_(stream), buffer_(buffer) {}

  // Returns when all that is in the buffer now has been written. After an error (or a cancelled write, which may have
  // ended within the text) nothing is written any more.
  Task<Status> Flush() { return Run(true); }
  // As Flush(), but leaves it to whoever is writing already: for those who must not be held up by a peer that does not
  // read.
  Task<Status> FlushUnlessBusy() { return Run(false); }

  [[nodiscard]] uint64_t written() const { return written_; }  // bytes
  [[nodiscard]] const Status& status() const { return status_; }

 private:
  Task<Status> Run(bool wait);

  Stream& stream_;
  std::string& buffer_;
  uint64_t taken_ = 0, written_ = 0;
  bool writing_ = false;
  int waiting_ = 0;
  Signal changed_;
  Status status_;
};

}  // namespace vck::http
