// The standard streams of a process in a container: pipes, or a terminal.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>

#include "async/clock.h"
#include "async/task.h"
#include "base/status.h"
#include "guestapi/stream.h"
#include "guestos/fd.h"

namespace vck::guestos {

using Descriptor = asio::posix::basic_stream_descriptor<Executor>;

// Our ends. With a terminal `out` is its master, and so is `in`.
struct ProcessIo {
  std::optional<Descriptor> in, out, err;
  bool tty = false;
};

// The process's ends, to be closed by us once it has them.
struct ProcessEnds {
  Fd in, out, err;
  // For Command::files.
  [[nodiscard]] std::vector<std::pair<int, int>> Files() const;
};

struct WantedStreams {
  bool in = false, out = true, err = true;
};
// They belong to that user, who may open them by name (/dev/stdout).
StatusOr<std::pair<ProcessIo, ProcessEnds>> MakePipes(Executor executor, WantedStreams wanted, uint32_t uid,
                                                      uint32_t gid);

// Where crun sends a terminal's master to (--console-socket).
class ConsoleSocket {
 public:
  static StatusOr<ConsoleSocket> Listen(Executor executor, std::string path);
  ConsoleSocket(ConsoleSocket&&) = default;
  ConsoleSocket& operator=(ConsoleSocket&&) = delete;
  ~ConsoleSocket();
  [[nodiscard]] const std::string& path() const { return path_; }
  // The terminal; waits for it as long as it must.
  Task<StatusOr<ProcessIo>> Receive();

 private:
  using Acceptor = asio::basic_socket_acceptor<asio::local::stream_protocol, Executor>;
  ConsoleSocket(std::string path, Acceptor acceptor) : path_(std::move(path)), acceptor_(std::move(acceptor)) {}
  std::string path_;
  Acceptor acceptor_;
};

Status SetTerminalSize(const ProcessIo& io, guestapi::TerminalSize size);

class OutputConsumer {
 public:
  virtual ~OutputConsumer() = default;
  // Not called again before it has returned. An error ends the reading.
  virtual Task<Status> Take(guestapi::StreamChannel channel, std::string data) = 0;
};

// Reads a process's output piece by piece, never ahead of the consumer. Ends with the stream; once `*exited` is set
// (and `from` cancelled, to wake it) also when nothing has come for a while: somebody else may hold the other end.
Task<Status> ReadOutput(Clock* clock, Descriptor* from, guestapi::StreamChannel channel, const bool* exited,
                        OutputConsumer* consumer);

// Waits for the process to take it. Cancelled: the process does not read any more.
Task<Status> WriteInput(Descriptor* to, std::string_view data);

}  // namespace vck::guestos
