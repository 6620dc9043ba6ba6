// A session on a stream.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "async/task.h"
#include "async/wait.h"
#include "base/status.h"
#include "http/stream.h"
#include "http/write_queue.h"
#include "spdy/session.h"

namespace vck::spdy {

// One reader, any number of senders. Nobody waits for a reader that waits for them: what has to be answered is written
// by whoever writes.
class Connection {
 public:
  // `leftover`: what was read past the upgrade.
  Connection(std::unique_ptr<http::Stream> stream, std::string leftover, SessionOptions options);

  // Reads once and hands on what came. False at the end of the stream. Waiting holds no buffer. After an error the
  // connection is of no more use.
  Task<StatusOr<bool>> Receive(Events& events);
  // Waits until the peer takes it, and until it is written. `data` stays alive meanwhile. OK also when the stream is
  // gone: Receive() tells.
  Task<Status> Send(uint32_t id, std::string_view data, bool fin = false);
  // For what the session was told directly.
  Task<Status> Flush() { return queue_.Flush(); }
  // As Flush(), and half-closes: from then on nothing is sent any more, answers neither. Receive() goes on.
  Task<Status> Finish();

  [[nodiscard]] Session& session() { return session_; }
  [[nodiscard]] http::Stream& stream() { return *stream_; }
  // Bytes that were written and read: what moves is alive.
  [[nodiscard]] uint64_t moved() const { return queue_.written() + received_; }

 private:
  class Windows;
  std::unique_ptr<http::Stream> stream_;
  std::string leftover_;
  Session session_;
  http::WriteQueue queue_;
  Signal window_;
  size_t answers_ = 0;  // bytes in the output that the peer has caused
  bool finished_ = false;
  uint64_t received_ = 0;
};

}  // namespace vck::spdy
