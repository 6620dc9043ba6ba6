#include "guestos/container_io.h"

#include <utility>
#include <vector>

#include "async/offload.h"
#include "async/task_group.h"
#include "base/log.h"

namespace vck::guestos {

using guestapi::StreamChannel;

ContainerIo::ContainerIo(Clock* clock, asio::thread_pool* pool, ProcessIo io, std::unique_ptr<LogWriter> log,
                         std::shared_ptr<LiveLog> live, bool stdin_once)
    : clock_(clock),
      pool_(pool),
      io_(std::move(io)),
      log_(std::move(log)),
      live_(std::move(live)),
      stdin_once_(stdin_once) {}

Task<> ContainerIo::Run() {
  TaskGroup group(co_await asio::this_coro::executor);
  if (io_.out) group.Spawn("stdout", Pump(&*io_.out, StreamChannel::kStdout));
  if (io_.err) group.Spawn("stderr", Pump(&*io_.err, StreamChannel::kStderr));
  (void)co_await group.Join();
  std::string entries;
  out_lines_.Finish(clock_->WallNow(), &entries);
  err_lines_.Finish(clock_->WallNow(), &entries);
  if (!entries.empty()) co_await Log(std::move(entries));
  live_->Finish();
  ended_.Set();
}

void ContainerIo::Exited() {
  exited_ = true;
  if (io_.out) io_.out->cancel();
  if (io_.err) io_.err->cancel();
}

void ContainerIo::CloseInput() {
  // A terminal has no end of its own to close: it goes with its master.
  if (!io_.tty) io_.in.reset();
}

void ContainerIo::DropSessions() {
  for (const auto& session : attached_) session->peer->Close();
}

Task<Status> ContainerIo::Drained() {
  co_await ended_.Wait();
  co_return absl::OkStatus();
}

Task<Status> ContainerIo::Pump(Descriptor* from, StreamChannel channel) {
  co_return co_await ReadOutput(clock_, from, channel, &exited_, this);
}

Task<Status> ContainerIo::Take(StreamChannel channel, std::string data) {
  std::string entries;
  (channel == StreamChannel::kStderr ? err_lines_ : out_lines_).Feed(data, clock_->WallNow(), &entries);
  if (!entries.empty()) co_await Log(std::move(entries));
  // A copy, because sessions come and go while one of them is waited for.
  std::vector<std::shared_ptr<Attached>> sessions(attached_.begin(), attached_.end());
  for (const auto& session : sessions) {
    const bool wanted = channel == StreamChannel::kStderr ? session->options.err : session->options.out;
    if (wanted && !(co_await session->peer->Send(channel, data)).ok()) session->peer->Close();
  }
  co_return absl::OkStatus();
}

Task<> ContainerIo::Log(std::string entries) {
  if (log_ == nullptr) co_return;
  auto turn = co_await logging_.Take();
  auto append = [log = log_.get(), text = std::move(entries)] { return log->Append(text); };
  Status status = co_await Offload(*pool_, std::move(append));
  if (!status.ok() && log_status_.ok()) {
    vck::Log(Severity::kError, "Output of a container is lost", {{"err", status}});
  }
  log_status_ = std::move(status);
  live_->Changed(log_->newest());
}

Task<Status> ContainerIo::AwaitEnd() {
  co_await ended_.Wait();
  co_return absl::CancelledError("the container has ended");
}

class ContainerIo::Session : public StreamPeer::Receiver {
 public:
  Session(ContainerIo* container, bool input) : container_(container), input_(input) {}
  void OnResize(guestapi::TerminalSize size) override { (void)SetTerminalSize(container_->io_, size); }
  Task<Status> OnInput(std::string data) override {
    if (!input_) co_return absl::OkStatus();
    auto turn = co_await container_->input_.Take();
    // What a container does not want to read is no reason to end the session.
    if (container_->io_.in) (void)co_await WriteInput(&*container_->io_.in, data);
    co_return absl::OkStatus();
  }
  Task<Status> OnInputEnd() override {
    if (input_ && container_->stdin_once_) {
      auto turn = co_await container_->input_.Take();
      container_->CloseInput();
    }
    co_return absl::OkStatus();
  }
  Task<Status> Run(StreamPeer* peer) {
    Status status = co_await peer->Receive(this);
    co_return status.ok() ? absl::CancelledError("the peer has left") : status;
  }

 private:
  ContainerIo* container_;
  bool input_;
};

Task<> ContainerIo::Attach(std::shared_ptr<StreamPeer> peer, AttachOptions options) {
  auto entry = attached_.insert(attached_.end(), std::make_shared<Attached>(Attached{peer, options}));
  Session session(this, options.in);
  bool cancelled = false;
  {
    TaskGroup group(co_await asio::this_coro::executor);
    group.Spawn("peer", session.Run(peer.get()));
    group.Spawn("container", AwaitEnd());
    try {
      (void)co_await group.Join();
    } catch (const boost::system::system_error& e) {
      if (!IsCancelled(e)) throw;
      cancelled = true;
    }
  }
  attached_.erase(entry);
  if (cancelled) ThrowCancelled();
  if (ended_.IsSet()) co_await peer->Finish(clock_, {});
  peer->Close();
  if (options.in && stdin_once_ && !ended_.IsSet()) {
    auto turn = co_await input_.Take();
    CloseInput();
  }
}

}  // namespace vck::guestos
