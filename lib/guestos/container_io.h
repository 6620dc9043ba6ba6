// What a container's process reads and writes: its output goes to its log and to whoever is attached, none of them
// being overtaken; its input comes from those who are attached.
#pragma once

#include <list>
#include <memory>
#include <string>

#include <boost/asio/thread_pool.hpp>

#include "async/clock.h"
#include "async/task.h"
#include "guestos/log_format.h"
#include "guestos/log_writer.h"
#include "guestos/process_io.h"
#include "guestos/stream_peer.h"
#include "guestos/turns.h"

namespace vck::guestos {

class ContainerIo : private OutputConsumer {
 public:
  // `log` null: the output is not kept.
  ContainerIo(Clock* clock, asio::thread_pool* pool, ProcessIo io, std::unique_ptr<LogWriter> log,
              std::shared_ptr<LiveLog> live, bool stdin_once);

  // Until all of the output has been read; Exited() hurries it up.
  Task<> Run();
  void Exited();

  // Serves a session until the peer leaves or the container has ended.
  struct AttachOptions {
    bool in = false, out = false, err = false;
  };
  Task<> Attach(std::shared_ptr<StreamPeer> peer, AttachOptions options);
  // Ends all sessions: whoever is too slow must not hold up the container's end.
  void DropSessions();
  [[nodiscard]] bool ended() const { return ended_.IsSet(); }
  // Why output is being lost; OK while it is not.
  [[nodiscard]] const Status& log_status() const { return log_status_; }
  // Returns when Run() has ended.
  Task<Status> Drained();

 private:
  struct Attached {
    std::shared_ptr<StreamPeer> peer;
    AttachOptions options;
  };
  class Session;

  Task<Status> Take(guestapi::StreamChannel channel, std::string data) override;
  Task<Status> Pump(Descriptor* from, guestapi::StreamChannel channel);
  Task<> Log(std::string entries);
  void CloseInput();
  Task<Status> AwaitEnd();

  Clock* clock_;
  asio::thread_pool* pool_;
  ProcessIo io_;
  std::unique_ptr<LogWriter> log_;
  std::shared_ptr<LiveLog> live_;
  bool stdin_once_;
  bool exited_ = false;
  Status log_status_;
  LogLines out_lines_{guestapi::LogStream::kStdout}, err_lines_{guestapi::LogStream::kStderr};
  Turns logging_, input_;
  std::list<std::shared_ptr<Attached>> attached_;
  Event ended_;
};

}  // namespace vck::guestos
