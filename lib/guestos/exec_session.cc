#include "guestos/exec_session.h"

#include <algorithm>
#include <utility>

#include <signal.h>

#include "async/task_group.h"
#include "async/timeout.h"

namespace vck::guestos {
namespace {

using guestapi::StreamChannel;

class ToPeer : public OutputConsumer {
 public:
  explicit ToPeer(StreamPeer* peer) : peer_(peer) {}
  Task<Status> Take(StreamChannel channel, std::string data) override {
    Status status = co_await peer_->Send(channel, std::move(data));
    if (!status.ok()) peer_->Close();  // its reader ends, and with it the session
    co_return status;
  }

 private:
  StreamPeer* peer_;
};

// Keeps the beginning, and reads on: a command must not hang because it says much.
class Collected : public OutputConsumer {
 public:
  Task<Status> Take(StreamChannel, std::string data) override {
    text.append(data, 0, tether::kMaxExecOutput - std::min(tether::kMaxExecOutput, text.size()));
    co_return absl::OkStatus();
  }
  std::string text;
};

class FromPeer : public StreamPeer::Receiver {
 public:
  explicit FromPeer(ProcessIo* io) : io_(io) {}
  void OnResize(guestapi::TerminalSize size) override { (void)SetTerminalSize(*io_, size); }
  Task<Status> OnInput(std::string data) override {
    // What it does not want to read is no reason to end it.
    if (io_->in && !(co_await WriteInput(&*io_->in, data)).ok()) io_->in.reset();
    co_return absl::OkStatus();
  }
  Task<Status> OnInputEnd() override {
    if (!io_->tty) {
      io_->in.reset();
    } else if (io_->in) {
      // What a person would type: the terminal stays, its reader sees the end.
      (void)co_await WriteInput(&*io_->in, "\x04");
    }
    co_return absl::OkStatus();
  }

 private:
  ProcessIo* io_;
};

// Spawned while both streams of a process are read. The pumps end by themselves; the other two end the session.
Task<Status> AwaitProcess(StartedProcess* process, bool* exited, TaskGroup* pumps) {
  (void)co_await process->child->Wait();
  *exited = true;
  if (process->io.out) process->io.out->cancel();
  if (process->io.err) process->io.err->cancel();
  Status status = co_await pumps->Join();
  co_return status.ok() ? absl::CancelledError("the process has ended") : status;
}

Task<Status> AwaitPeer(StreamPeer* peer, FromPeer* receiver) {
  Status status = co_await peer->Receive(receiver);
  co_return status.ok() ? absl::UnavailableError("the peer has left") : status;
}

void StartPumps(Clock* clock, StartedProcess* process, const bool* exited, OutputConsumer* consumer, TaskGroup* group) {
  ProcessIo& io = process->io;
  if (io.out) group->Spawn("stdout", ReadOutput(clock, &*io.out, StreamChannel::kStdout, exited, consumer));
  if (io.err) group->Spawn("stderr", ReadOutput(clock, &*io.err, StreamChannel::kStderr, exited, consumer));
}

// Returns true when the caller was cancelled; the group has been joined then, too.
Task<bool> JoinUncancelled(TaskGroup* group) {
  bool cancelled = false;
  try {
    (void)co_await group->Join();
  } catch (const boost::system::system_error& e) {
    if (!IsCancelled(e)) throw;
    cancelled = true;
  }
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  co_return cancelled;
}

}  // namespace

void KillGroup(const ChildPtr& child) {
  if (child->exited()) return;
  ::kill(-child->pid(), SIGKILL);
  child->Kill(SIGKILL);
}

Task<> ServeProcess(Clock* clock, std::shared_ptr<StartedProcess> process, std::shared_ptr<StreamPeer> peer) {
  bool exited = false;
  bool cancelled = false;
  ToPeer output(peer.get());
  FromPeer input(&process->io);
  {
    auto executor = co_await asio::this_coro::executor;
    TaskGroup pumps(executor), group(executor);
    StartPumps(clock, process.get(), &exited, &output, &pumps);
    group.Spawn("process", AwaitProcess(process.get(), &exited, &pumps));
    group.Spawn("peer", AwaitPeer(peer.get(), &input));
    cancelled = co_await JoinUncancelled(&group);
    pumps.Cancel();
    (void)co_await pumps.Join();
  }
  if (!process->child->exited()) {
    KillGroup(process->child);
    process->io = {};  // a terminal hangs up
    (void)co_await process->child->Wait();
  }
  co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
  if (cancelled) ThrowCancelled();
  if (exited) co_await peer->Finish(clock, {.exit_code = process->child->status().shell_code()});
  peer->Close();
}

namespace {

Task<Status> Collect(Clock* clock, std::shared_ptr<StartedProcess> process, Collected* output) {
  bool exited = false;
  bool cancelled = false;
  {
    auto executor = co_await asio::this_coro::executor;
    TaskGroup pumps(executor), group(executor);
    StartPumps(clock, process.get(), &exited, output, &pumps);
    group.Spawn("process", AwaitProcess(process.get(), &exited, &pumps));
    cancelled = co_await JoinUncancelled(&group);
    pumps.Cancel();
    (void)co_await pumps.Join();
  }
  if (!process->child->exited()) {
    KillGroup(process->child);
    (void)co_await process->child->Wait();
  }
  co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
  if (cancelled) ThrowCancelled();
  co_return absl::OkStatus();
}

}  // namespace

Task<StatusOr<tether::ExecResult>> CollectProcess(Clock* clock, std::shared_ptr<StartedProcess> process,
                                                  absl::Duration timeout) {
  Collected output;
  CO_RETURN_IF_ERROR(co_await WithTimeout(*clock, timeout, "the command", Collect(clock, process, &output)));
  co_return tether::ExecResult{.exit_code = process->child->status().shell_code(), .output = std::move(output.text)};
}

}  // namespace vck::guestos
