// The kubelet's end of an exec or attach session: frames over an upgraded connection.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "async/clock.h"
#include "async/task.h"
#include "base/status.h"
#include "guestapi/stream.h"
#include "guestos/turns.h"
#include "http/stream.h"

namespace vck::guestos {

class StreamPeer {
 public:
  StreamPeer(std::unique_ptr<http::Stream> stream, std::string leftover)
      : stream_(std::move(stream)), leftover_(std::move(leftover)) {}

  // Cut into frames; returns when the connection has taken it all. Several may send.
  Task<Status> Send(guestapi::StreamChannel channel, std::string data);
  // The last frame; then waits for the peer to close, a quarter of an hour at most.
  Task<> Finish(Clock* clock, guestapi::StreamStatus status);
  void Close() { stream_->Close(); }

  class Receiver {
   public:
    virtual ~Receiver() = default;
    virtual void OnResize(guestapi::TerminalSize size) = 0;
    // Nothing further is read before it returns. An error ends the session.
    virtual Task<Status> OnInput(std::string data) = 0;
    virtual Task<Status> OnInputEnd() = 0;
  };
  // Until the peer closes (OK) or breaks the protocol.
  Task<Status> Receive(Receiver* receiver);

 private:
  std::unique_ptr<http::Stream> stream_;
  std::string leftover_;
  Turns sending_;
};

}  // namespace vck::guestos
