// Child processes of the guest's first process: started, adopted, reaped. One Reaper per process: it takes every
// SIGCHLD.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "async/clock.h"
#include "async/task.h"
#include "base/status.h"

namespace vck::guestos {

struct ExitStatus {
  int code = 0;    // of exit(); 0 when a signal ended it
  int signal = 0;  // that ended it; 0 when it exited by itself
  [[nodiscard]] bool ok() const { return code == 0 && signal == 0; }
  // As a shell tells it: 128 + signal.
  [[nodiscard]] int shell_code() const { return signal != 0 ? 128 + signal : code; }
  friend bool operator==(const ExitStatus&, const ExitStatus&) = default;
};
// "exit status 3" or "signal 9 (Killed)".
std::string ToString(const ExitStatus& status);

struct Command {
  std::vector<std::string> argv;  // argv[0] is the program's path; PATH is not searched
  std::vector<std::string> env;   // "NAME=value", all of it
  std::string working_dir;        // "": ours
  std::vector<std::pair<int, int>>
      files;                 // (descriptor of ours, descriptor of the child); 0 to 2 are /dev/null if not named
  bool new_session = false;  // setsid()
  int oom_score_adj = 0;     // ours is -1000, and that is not for children
};
// The child gets no other descriptor of ours, default signal handlers, no blocked signals, and umask 022.

class Child {
 public:
  virtual ~Child() = default;  // the process goes on, and is reaped
  [[nodiscard]] virtual pid_t pid() const = 0;
  [[nodiscard]] virtual bool exited() const = 0;
  [[nodiscard]] virtual const ExitStatus& status() const = 0;  // valid once it has exited
  // When it exited, in the clock's wall time.
  [[nodiscard]] virtual absl::Time exited_at() const = 0;
  // Returns when it has exited, at once if it had. Any number may wait.
  virtual Task<ExitStatus> Wait() = 0;
  // Nothing once it has exited, so a pid that was given to another is never hit.
  virtual void Kill(int signal) = 0;
};
using ChildPtr = std::shared_ptr<Child>;

struct RunResult {
  ExitStatus exit;
  std::string out, err;  // cut at RunOptions.max_output
  bool truncated = false;
};
struct RunOptions {
  absl::Duration timeout = absl::Seconds(30);
  std::string input;
  size_t max_output = size_t{64} * 1024;  // of each of out and err; more is read and thrown away
};

class Reaper {
 public:
  // Orphans become children of ours where the process is not PID 1 (tests). Needs SIGCHLD for itself. The Reaper must
  // outlive the io_context's run.
  Reaper(Executor executor, Clock& clock);
  ~Reaper();
  Reaper(const Reaper&) = delete;
  Reaper& operator=(const Reaper&) = delete;

  // NotFound, PermissionDenied and so on when the program cannot be executed, ResourceExhausted when there are no more
  // processes or memory.
  StatusOr<ChildPtr> Spawn(const Command& command);
  // Takes over an orphan that became ours (what `crun create` leaves behind), also when it has just exited: exits of
  // unknown children are remembered for a minute. NotFound when it is no child of ours.
  StatusOr<ChildPtr> Adopt(pid_t pid);
  // Spawns, feeds the input, collects the output, waits. DeadlineExceeded after a KILL at the time-out; a program that
  // fails is no error: see RunResult.exit. When the caller is cancelled the child is killed and reaped.
  Task<StatusOr<RunResult>> Run(Command command, RunOptions options);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace vck::guestos
