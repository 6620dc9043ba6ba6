// The guest's container runtime: containers by crun from images on disks, with their logs, volumes and sessions.
// docs/guest-runtime.md tells where everything is.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/thread_pool.hpp>

#include "async/clock.h"
#include "async/task_group.h"
#include "guestos/bundle.h"
#include "guestos/container_io.h"
#include "guestos/crun.h"
#include "guestos/exec_session.h"
#include "guestos/log_reader.h"
#include "guestos/paths.h"
#include "guestos/pressure.h"
#include "guestos/process.h"
#include "guestos/stats.h"
#include "guestos/turns.h"
#include "tether/runtime.h"

namespace vck::guestos {

struct CrunOptions {
  ImageDisks::DeviceOf device_of;
  std::string crun{kCrunPath};
  std::string state_directory{kStateDir};
  std::string secrets_directory{kSecretsDir};
  std::string scratch_directory{kScratchDir};
  std::string images_directory{kImagesDir};
  std::string logs_directory{kLogsDir};
  std::string cgroup_root{kCgroupRoot};
  std::string cgroup{kPodCgroup};  // "": crun leaves cgroups alone, and nothing is limited
  std::string host_root = "/";
  uint64_t max_open_files = 1u << 20;
  // Runs as the first process of a shared process namespace: reaps, and does nothing else (see pause.h).
  std::vector<std::string> pause{"/proc/self/exe", "pause"};
};

// What is known of the log of a container's run.
struct RunLog {
  std::string path;
  std::shared_ptr<LiveLog> live;  // null: nobody writes it any more
};

class CrunRuntime {
 public:
  // All of them outlive it. The pool does the blocking work; two threads are enough.
  CrunRuntime(Executor executor, Clock& clock, Reaper& reaper, asio::thread_pool& pool, CrunOptions options);
  CrunRuntime(const CrunRuntime&) = delete;
  CrunRuntime& operator=(const CrunRuntime&) = delete;
  ~CrunRuntime();

  // For tether::Options. What it makes is a handle: when it is destroyed all containers are killed.
  tether::RuntimeFactory Factory();
  // Kills what runs and waits until it is gone and cleaned up. To be awaited after the tether's Run().
  Task<> Close();

  // ---- for streams ----
  [[nodiscard]] const guestapi::GuestSpec* spec() const { return spec_.get(); }
  [[nodiscard]] bool HasContainer(std::string_view name) const;
  // The newest run's log, or that of the one before it. NotFound when there is none; FailedPrecondition when the
  // container has not been started yet; the messages are the kubelet's.
  Task<StatusOr<RunLog>> FindLog(std::string container, bool previous);
  // The run that is running now; NotFound.
  StatusOr<std::string> RunningRun(std::string_view container) const;
  [[nodiscard]] std::shared_ptr<ContainerIo> IoOf(const std::string& run_id) const;
  // See StartedProcess. NotFound when there is no such run (any more).
  Task<StatusOr<StartedProcess>> StartProcess(std::string run_id, ProcessRequest request);
  [[nodiscard]] asio::thread_pool* pool() const { return &pool_; }
  [[nodiscard]] Clock* clock() const { return &clock_; }
  [[nodiscard]] Executor executor() const { return executor_; }
  // What tells how much the pod and its running containers use.
  [[nodiscard]] StatsSources Measured() const;
  [[nodiscard]] const CrunOptions& options() const { return options_; }

 private:
  class Handle;
  struct Run;
  using RunPtr = std::shared_ptr<Run>;

  // ---- what tether::Runtime has ----
  void Apply(std::shared_ptr<const guestapi::GuestSpec> spec);
  void Start(const std::string& run_id, int attempt, const guestapi::ContainerSpec& spec);
  void Stop(const std::string& run_id);
  void Kill(const std::string& run_id);
  void Resize(const std::string& run_id, const guestapi::Resources& resources);
  Task<StatusOr<tether::ExecResult>> Exec(std::string run_id, std::vector<std::string> command, absl::Duration timeout);
  void Detach();

  Task<> ApplyVolumes();
  void LookLater();
  Task<> LookAtPressure();
  Task<> Main(RunPtr run);
  // What is left undone: nothing, or why the container could not be started.
  Task<std::optional<tether::StartFailed>> Launch(RunPtr run);
  Task<std::optional<tether::StartFailed>> CreateProcess(RunPtr run);
  Task<StatusOr<std::string>> PidNamespace(RunPtr run);
  Task<Status> StartPause();
  Task<> AwaitEnd(RunPtr run);
  Task<tether::Exited> Ended(RunPtr run);
  Task<> Remove(RunPtr run);
  Task<> DoResize(RunPtr run, guestapi::Resources resources);
  Task<Status> GiveResources(RunPtr run, guestapi::Resources resources);
  struct Starting;
  Task<> RunExec(RunPtr run, ProcessRequest request, std::shared_ptr<Starting> starting);
  Task<StatusOr<StartedProcess>> DoExec(RunPtr run, ProcessRequest request);
  [[nodiscard]] std::string WhyWaiting(std::string_view container) const;
  void Send(tether::Event event);
  void SendSignal(const Run& run, int signal);
  void KillAll(const Run& run);
  [[nodiscard]] std::string LogDirectory(std::string_view container) const;
  [[nodiscard]] std::string CgroupDirectory(const Run& run) const;

  Executor executor_;
  Clock& clock_;
  Reaper& reaper_;
  asio::thread_pool& pool_;
  CrunOptions options_;
  Bundles bundles_;
  Turns bundle_turns_;
  Crun crun_;
  TaskGroup group_;
  tether::Runtime::Sink sink_;
  std::function<bool(std::string_view)> waits_;
  std::shared_ptr<const guestapi::GuestSpec> spec_;
  std::map<std::string, RunPtr> runs_;                 // those that have not ended
  std::map<std::string, RunPtr, std::less<>> newest_;  // by container name, ended or not
  Pressure pressure_;
  Clock::Timer look_;
  ChildPtr pause_;
  int64_t processes_ = 0;  // started beside the containers' own
  bool clean_ = false;     // what an earlier boot left has been removed
};

}  // namespace vck::guestos
