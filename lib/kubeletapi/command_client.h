// The client of exec or attach, whichever protocol it speaks.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "async/task.h"
#include "base/status.h"
#include "guestapi/stream.h"
#include "http/stream.h"
#include "kubeletapi/remote_command.h"

namespace vck::kubeletapi {

// What the client says. Views live as long as the call.
class CommandInput {
 public:
  virtual ~CommandInput() = default;
  virtual void OnStdin(std::string_view piece) = 0;
  virtual void OnStdinEnd() = 0;
  virtual void OnResize(guestapi::TerminalSize size) = 0;
};

// One reader and one writer.
class CommandClient {
 public:
  virtual ~CommandClient() = default;
  // Tells the client that it is connected, where the protocol has words for that.
  virtual Task<Status> Start() = 0;
  // Reads once. False, or an error: the client has gone, or speaks nonsense.
  virtual Task<StatusOr<bool>> Receive(CommandInput& input) = 0;
  // All streams that were asked for are there.
  [[nodiscard]] virtual bool ready() const = 0;
  // kStdout or kStderr. Returns when it is written; what the client did not ask for is dropped.
  virtual Task<Status> Write(guestapi::StreamChannel output, std::string_view data) = 0;
  // The command has ended: ends the outputs, tells how, and half-closes. Until the client closes it is read, and
  // answered no more.
  virtual Task<Status> Finish(const guestapi::StreamStatus& status) = 0;
  [[nodiscard]] virtual http::Stream& stream() = 0;
  // Bytes that have gone either way.
  [[nodiscard]] virtual uint64_t moved() const = 0;
};

struct CommandClientOptions {
  CommandStreams streams;
  std::string what;  // begins the message of an error: "error executing command in container"
};
std::unique_ptr<CommandClient> MakeSpdyCommandClient(std::unique_ptr<http::Stream> stream, std::string leftover,
                                                     CommandVersion version, CommandClientOptions options);
std::unique_ptr<CommandClient> MakeWebSocketCommandClient(std::unique_ptr<http::Stream> stream, std::string leftover,
                                                          WebSocketChoice choice, CommandClientOptions options);

}  // namespace vck::kubeletapi
