#include "guestos/process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <list>
#include <map>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "async/task_group.h"
#include "async/timeout.h"
#include "async/wait.h"
#include "guestos/fd.h"

namespace vck::guestos {
namespace {

constexpr absl::Duration kRememberOrphans = absl::Minutes(1);
constexpr size_t kMaxOrphans = 256;
constexpr size_t kReadBytes = 4096;
constexpr int kSpawnFailed = 127;

ExitStatus FromWait(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return {.code = info.si_status};
  return {.signal = info.si_status};
}

struct Pipe {
  Fd read, write;
};
StatusOr<Pipe> MakePipe() {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  return Pipe{Fd(fds[0]), Fd(fds[1])};
}

// What the child does between fork and exec: only system calls on memory that was made before.
struct Plan {
  std::vector<char*> argv, env;
  const char* working_dir = nullptr;
  std::vector<std::pair<int, int>> files;
  bool new_session = false;
  std::string oom_score_adj;
  int error_pipe = -1;
};

[[noreturn]] void Fail(int error_pipe) {
  int error = errno;
  [[maybe_unused]] ssize_t n = ::write(error_pipe, &error, sizeof error);
  ::_exit(kSpawnFailed);
}

[[noreturn]] void Exec(Plan& plan) {
  // Everything closes at exec but what is wanted.
  if (::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0) Fail(plan.error_pipe);
  // First out of the way of the numbers that will be taken, then to their places.
  int above = 3;
  for (const auto& [ours, theirs] : plan.files) above = std::max(above, theirs + 1);
  plan.error_pipe = ::fcntl(plan.error_pipe, F_DUPFD_CLOEXEC, above);
  if (plan.error_pipe < 0) ::_exit(kSpawnFailed);
  for (auto& [ours, theirs] : plan.files) {
    ours = ::fcntl(ours, F_DUPFD_CLOEXEC, above);
    if (ours < 0) Fail(plan.error_pipe);
  }
  int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd <= 2; ++fd) {
    if (null >= 0) {
      ::dup2(null, fd);
    } else {
      ::close(fd);
    }
  }
  for (const auto& [ours, theirs] : plan.files) {
    if (::dup2(ours, theirs) < 0) Fail(plan.error_pipe);
  }
  if (plan.new_session && ::setsid() < 0) Fail(plan.error_pipe);
  if (plan.working_dir != nullptr && ::chdir(plan.working_dir) != 0) Fail(plan.error_pipe);
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &action, nullptr);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::umask(S_IWGRP | S_IWOTH);
  // Only root may lower it, but it never goes below what it was; a failure is no reason not to run.
  if (int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC); fd >= 0) {
    [[maybe_unused]] ssize_t n = ::write(fd, plan.oom_score_adj.data(), plan.oom_score_adj.size());
    ::close(fd);
  }
  ::execve(plan.argv[0], plan.argv.data(), plan.env.data());
  Fail(plan.error_pipe);
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (const std::string& s : strings) out.push_back(const_cast<char*>(s.c_str()));  // NOLINT: execve's signature
  out.push_back(nullptr);
  return out;
}

class ChildImpl : public Child {
 public:
  explicit ChildImpl(pid_t pid) : pid_(pid) {}
  [[nodiscard]] pid_t pid() const override { return pid_; }
  [[nodiscard]] bool exited() const override { return exited_.IsSet(); }
  [[nodiscard]] const ExitStatus& status() const override { return status_; }
  [[nodiscard]] absl::Time exited_at() const override { return at_; }
  Task<ExitStatus> Wait() override {
    co_await exited_.Wait();
    co_return status_;
  }
  void Kill(int signal) override {
    if (!exited()) ::kill(pid_, signal);
  }
  void Exited(ExitStatus status, absl::Time at) {
    status_ = status;
    at_ = at;
    exited_.Set();
  }

 private:
  pid_t pid_;
  ExitStatus status_;
  absl::Time at_ = absl::InfinitePast();
  Event exited_;
};

}  // namespace

std::string ToString(const ExitStatus& status) {
  if (status.signal == 0) return absl::StrCat("exit status ", status.code);
  const char* name = ::sigdescr_np(status.signal);
  return absl::StrCat("signal ", status.signal, " (", name != nullptr ? name : "?", ")");
}

struct Reaper::Impl : std::enable_shared_from_this<Impl> {
  struct Orphan {
    pid_t pid;
    ExitStatus status;
    absl::Time at;
    Instant seen;
  };

  Impl(Executor executor_in, Clock& clock_in) : executor(executor_in), clock(clock_in), signals(executor_in, SIGCHLD) {}

  void Listen() {
    signals.async_wait([weak = weak_from_this()](ErrorCode ec, int) {
      auto self = weak.lock();
      if (ec || self == nullptr) return;
      self->Reap();
      self->Listen();
    });
  }

  void Reap() {
    while (true) {
      siginfo_t info{};
      if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0) return;
      absl::Time at = clock.WallNow();
      auto it = children.find(info.si_pid);
      if (it == children.end()) {
        while (!orphans.empty() &&
               (orphans.size() >= kMaxOrphans || orphans.front().seen + kRememberOrphans < clock.Now())) {
          orphans.pop_front();
        }
        orphans.push_back({info.si_pid, FromWait(info), at, clock.Now()});
        continue;
      }
      std::shared_ptr<ChildImpl> child = std::move(it->second);
      children.erase(it);
      child->Exited(FromWait(info), at);
    }
  }

  StatusOr<ChildPtr> Spawn(const Command& command) {
    if (command.argv.empty()) return absl::InvalidArgumentError("a command needs a program");
    ASSIGN_OR_RETURN(Pipe error, MakePipe());
    Plan plan{.argv = Pointers(command.argv),
              .env = Pointers(command.env),
              .working_dir = command.working_dir.empty() ? nullptr : command.working_dir.c_str(),
              .files = command.files,
              .new_session = command.new_session,
              .oom_score_adj = std::to_string(command.oom_score_adj),
              .error_pipe = error.write.get()};
    // No handler of ours may run in the child.
    sigset_t all, before;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = ::fork();
    if (pid == 0) Exec(plan);
    int fork_error = errno;
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (pid < 0) return absl::ErrnoToStatus(fork_error, "fork");
    error.write.Reset();
    int exec_error = 0;
    ssize_t n = 0;
    do {
      n = ::read(error.read.get(), &exec_error, sizeof exec_error);
    } while (n < 0 && errno == EINTR);
    if (n == sizeof exec_error) {
      siginfo_t info{};
      ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED);
      return absl::ErrnoToStatus(exec_error, command.argv[0]);
    }
    auto child = std::make_shared<ChildImpl>(pid);
    children[pid] = child;
    return child;
  }

  StatusOr<ChildPtr> Adopt(pid_t pid) {
    if (auto it = children.find(pid); it != children.end()) return ChildPtr(it->second);
    auto orphan = std::find_if(orphans.rbegin(), orphans.rend(), [&](const Orphan& o) { return o.pid == pid; });
    if (orphan != orphans.rend()) {
      auto child = std::make_shared<ChildImpl>(pid);
      child->Exited(orphan->status, orphan->at);
      orphans.erase(std::prev(orphan.base()));
      return child;
    }
    // A look without reaping tells whether it is ours.
    siginfo_t info{};
    if (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
      return absl::NotFoundError(absl::StrCat("process ", pid, " is no child"));
    }
    auto child = std::make_shared<ChildImpl>(pid);
    children[pid] = child;
    return child;
  }

  Executor executor;
  Clock& clock;
  asio::signal_set signals;
  std::map<pid_t, std::shared_ptr<ChildImpl>> children;
  std::list<Orphan> orphans;  // exited before anybody asked for them
};

Reaper::Reaper(Executor executor, Clock& clock) : impl_(std::make_shared<Impl>(executor, clock)) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  impl_->Listen();
}
Reaper::~Reaper() { impl_->signals.cancel(); }

StatusOr<ChildPtr> Reaper::Spawn(const Command& command) { return impl_->Spawn(command); }
StatusOr<ChildPtr> Reaper::Adopt(pid_t pid) { return impl_->Adopt(pid); }

namespace {

using Descriptor = asio::posix::basic_stream_descriptor<Executor>;

Task<Status> Collect(Descriptor* from, std::string* to, size_t max, bool* truncated) {
  std::array<char, kReadBytes> buffer;
  while (true) {
    ErrorCode ec;
    size_t n = co_await from->async_read_some(asio::buffer(buffer), asio::redirect_error(kUseTask, ec));
    if (ec == asio::error::operation_aborted) ThrowCancelled();
    if (ec) co_return absl::OkStatus();  // the end, as a pipe tells it
    size_t room = max - std::min(max, to->size());
    if (n > room) *truncated = true;
    to->append(buffer.data(), std::min(n, room));
  }
}

Task<Status> Feed(Descriptor to, std::string input) {
  size_t done = 0;
  while (done < input.size()) {
    ErrorCode ec;
    done += co_await to.async_write_some(asio::buffer(input.data() + done, input.size() - done),
                                         asio::redirect_error(kUseTask, ec));
    if (ec == asio::error::operation_aborted) ThrowCancelled();
    if (ec) break;  // it does not read all of it, which is its own affair
  }
  co_return absl::OkStatus();
}

Task<StatusOr<RunResult>> Finish(Executor executor, ChildPtr child, Descriptor in, Descriptor out, Descriptor err,
                                 RunOptions options) {
  RunResult result;
  TaskGroup group(executor);
  group.Spawn("stdin", Feed(std::move(in), std::move(options.input)));
  group.Spawn("stdout", Collect(&out, &result.out, options.max_output, &result.truncated));
  group.Spawn("stderr", Collect(&err, &result.err, options.max_output, &result.truncated));
  bool cancelled = false;
  try {
    result.exit = co_await child->Wait();
    // What it left in the pipes is there; whoever else holds them (a daemon that it started) is not waited for.
    co_await Yield();
  } catch (const boost::system::system_error& e) {
    if (!IsCancelled(e)) throw;
    cancelled = true;
  }
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  if (cancelled) {
    child->Kill(SIGKILL);
    (void)co_await child->Wait();
  }
  group.Cancel();
  (void)co_await group.Join();
  if (cancelled) {
    co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
    ThrowCancelled();
  }
  for (auto [from, to] : {std::pair{&out, &result.out}, std::pair{&err, &result.err}}) {
    std::array<char, kReadBytes> buffer;
    ErrorCode ec;
    from->non_blocking(true, ec);
    while (!ec) {
      size_t n = from->read_some(asio::buffer(buffer), ec);
      size_t room = options.max_output - std::min(options.max_output, to->size());
      if (n > room) result.truncated = true;
      to->append(buffer.data(), std::min(n, room));
    }
  }
  co_return result;
}

}  // namespace

Task<StatusOr<RunResult>> Reaper::Run(Command command, RunOptions options) {
  std::shared_ptr<Impl> impl = impl_;
  CO_ASSIGN_OR_RETURN(Pipe in, MakePipe());
  CO_ASSIGN_OR_RETURN(Pipe out, MakePipe());
  CO_ASSIGN_OR_RETURN(Pipe err, MakePipe());
  for (auto [ours, theirs] : {std::pair{in.read.get(), 0}, {out.write.get(), 1}, {err.write.get(), 2}}) {
    command.files.emplace_back(ours, theirs);
  }
  CO_ASSIGN_OR_RETURN(ChildPtr child, impl->Spawn(command));
  in.read.Reset();
  out.write.Reset();
  err.write.Reset();
  Executor executor = impl->executor;
  co_return co_await WithTimeout(
      impl->clock, options.timeout, command.argv[0],
      Finish(executor, child, Descriptor(executor, in.write.Release()), Descriptor(executor, out.read.Release()),
             Descriptor(executor, err.read.Release()), options));
}

}  // namespace vck::guestos
