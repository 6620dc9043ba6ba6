#include "guestos/crun_runtime.h"

#include <algorithm>
#include <csignal>
#include <optional>
#include <utility>

#include <sched.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "async/offload.h"
#include "async/timeout.h"
#include "base/log.h"
#include "guestos/files.h"
#include "guestos/projects.h"

namespace vck::guestos {

using guestapi::ContainerSpec;
using guestapi::GuestSpec;
using tether::Exited;
using tether::Started;
using tether::StartFailed;

namespace {

// What is left of an ended container's output, if a session doesn't take it.
constexpr absl::Duration kDrain = absl::Seconds(10);
constexpr absl::Duration kClose = absl::Seconds(30);
// How often it is looked at what the containers use (the kubelet's housekeeping interval).
constexpr absl::Duration kLookInterval = absl::Seconds(10);
// As the kubelet limits termination messages.
constexpr size_t kMaxMessage = 4096, kMaxLogMessage = 2048;
constexpr int64_t kMaxLogMessageLines = 80;
constexpr std::string_view kStartPrefix =
    "failed to create task: OCI runtime create failed: unable to start container process: ";

// The file's last bytes, as the kubelet reads it.
std::string ReadEnd(const std::string& path, size_t max_bytes) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) return "";
  const off_t size = ::lseek(fd.get(), 0, SEEK_END);
  const off_t offset = std::max<off_t>(0, size - static_cast<off_t>(max_bytes));
  std::string out(static_cast<size_t>(std::max<off_t>(0, size - offset)), '\0');
  const ssize_t n = ::pread(fd.get(), out.data(), out.size(), offset);
  out.resize(static_cast<size_t>(std::max<ssize_t>(0, n)));
  return out;
}

bool WasOutOfMemory(const std::string& cgroup) {
  auto events = ReadFile(cgroup + "/memory.events", 4096);
  if (!events.ok()) return false;
  for (std::string_view line : absl::StrSplit(*events, '\n')) {
    int64_t kills = 0;
    if (absl::ConsumePrefix(&line, "oom_kill ") && absl::SimpleAtoi(line, &kills)) return kills > 0;
  }
  return false;
}

}  // namespace

struct CrunRuntime::Run {
  std::string id;
  int attempt = 0;
  ContainerSpec spec;
  std::shared_ptr<const GuestSpec> pod;
  Bundle bundle;
  std::string log;  // path; "" before there is one
  std::shared_ptr<LiveLog> live = std::make_shared<LiveLog>();
  std::shared_ptr<ContainerIo> io;
  ChildPtr child;
  bool started = false, ended = false;
  bool stop_wanted = false, kill_wanted = false;
  std::string failure;  // why it could not be started
};

// The runtime that the tether owns.
class CrunRuntime::Handle : public tether::Runtime {
 public:
  explicit Handle(CrunRuntime* runtime) : runtime_(runtime) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() override { runtime_->Detach(); }
  void Apply(std::shared_ptr<const GuestSpec> spec) override { runtime_->Apply(std::move(spec)); }
  void SetWaits(std::function<bool(std::string_view)> waits) override { runtime_->waits_ = std::move(waits); }
  void Start(const std::string& run_id, int attempt, const ContainerSpec& spec) override {
    runtime_->Start(run_id, attempt, spec);
  }
  void Stop(const std::string& run_id) override { runtime_->Stop(run_id); }
  void Kill(const std::string& run_id) override { runtime_->Kill(run_id); }
  void Resize(const std::string& run_id, const guestapi::Resources& resources) override {
    runtime_->Resize(run_id, resources);
  }
  Task<StatusOr<tether::ExecResult>> Exec(std::string run_id, std::vector<std::string> command,
                                          absl::Duration timeout) override {
    co_return co_await runtime_->Exec(std::move(run_id), std::move(command), timeout);
  }

 private:
  CrunRuntime* runtime_;
};

CrunRuntime::CrunRuntime(Executor executor, Clock& clock, Reaper& reaper, asio::thread_pool& pool, CrunOptions options)
    : executor_(executor),
      clock_(clock),
      reaper_(reaper),
      pool_(pool),
      options_(std::move(options)),
      bundles_({.state_directory = options_.state_directory,
                .secrets_directory = options_.secrets_directory,
                .scratch_directory = options_.scratch_directory,
                .images_directory = options_.images_directory,
                .device_of = options_.device_of,
                .cgroup = options_.cgroup,
                .host_root = options_.host_root,
                .max_open_files = options_.max_open_files}),
      crun_(&reaper, &clock,
            {.path = options_.crun,
             .state_directory = options_.state_directory + "/crun",
             .cgroups = !options_.cgroup.empty()}),
      group_(executor) {}

CrunRuntime::~CrunRuntime() = default;

tether::RuntimeFactory CrunRuntime::Factory() {
  return [this](tether::Runtime::Sink sink) {
    sink_ = std::move(sink);
    return std::make_unique<Handle>(this);
  };
}

void CrunRuntime::Detach() {
  sink_ = nullptr;
  look_ = {};
  waits_ = nullptr;
  for (const auto& [id, run] : runs_) {
    run->kill_wanted = true;
    KillAll(*run);
  }
}

Task<> CrunRuntime::Close() {
  Detach();
  (void)co_await WithTimeout(clock_, kClose, "the containers' end", group_.Join());
  if (pause_ != nullptr) pause_->Kill(SIGKILL);
}

void CrunRuntime::Send(tether::Event event) {
  if (sink_) sink_(std::move(event));
}

std::string CrunRuntime::LogDirectory(std::string_view container) const {
  return absl::StrCat(options_.logs_directory, "/pods/", spec_->pod_namespace, "_", spec_->pod_name, "_",
                      spec_->pod_uid, "/", container);
}

std::string CrunRuntime::CgroupDirectory(const Run& run) const {
  return run.bundle.cgroup.empty() ? "" : options_.cgroup_root + run.bundle.cgroup;
}

// ---- spec ----

void CrunRuntime::Apply(std::shared_ptr<const GuestSpec> spec) {
  spec_ = std::move(spec);
  group_.Spawn("volumes", ApplyVolumes());
  if (!look_.armed()) LookLater();
}

void CrunRuntime::LookLater() {
  look_ = clock_.Schedule(clock_.Now() + kLookInterval, [this] { group_.Spawn("pressure", LookAtPressure()); });
}

Task<> CrunRuntime::LookAtPressure() {
  PressureSources sources{.stats = Measured(), .lost_output = {}, .limits = spec_->storage_limits};
  for (const auto& [id, run] : runs_) {
    if (run->io == nullptr || run->io->log_status().ok()) continue;
    sources.lost_output[run->spec.name] = run->io->log_status().message();
  }
  auto look = [this, sources = std::move(sources)] { return pressure_.Look(sources); };
  for (tether::Event& event : co_await Offload(pool_, std::move(look))) Send(std::move(event));
  if (sink_) LookLater();
}

Task<> CrunRuntime::ApplyVolumes() {
  auto turn = co_await bundle_turns_.Take();
  if (!std::exchange(clean_, true)) {
    auto clean = [this] {
      bundles_.CleanUp();
      return MakeDirs(options_.state_directory + "/crun", 0700);
    };
    if (Status status = co_await Offload(pool_, std::move(clean)); !status.ok()) {
      Log(Severity::kError, "The container runtime has no place", {{"err", status}});
    }
  }
  auto apply = [this, spec = spec_, now = clock_.WallNow()] { return bundles_.Apply(*spec, now); };
  Status status = co_await Offload(pool_, std::move(apply));
  // Starts fail with the same, and tell it to the user.
  if (!status.ok()) Log(Severity::kWarning, "Volumes are not up to date", {{"err", status}});
}

bool CrunRuntime::HasContainer(std::string_view name) const {
  return spec_ != nullptr && std::any_of(spec_->containers.begin(), spec_->containers.end(),
                                         [&](const ContainerSpec& c) { return c.name == name; });
}

// ---- runs ----

void CrunRuntime::Start(const std::string& run_id, int attempt, const ContainerSpec& spec) {
  auto run = std::make_shared<Run>();
  run->id = run_id;
  run->attempt = attempt;
  run->spec = spec;
  runs_[run_id] = run;
  newest_[spec.name] = run;
  group_.Spawn("container", Main(run));
}

void CrunRuntime::Stop(const std::string& run_id) {
  auto it = runs_.find(run_id);
  if (it == runs_.end()) return;
  it->second->stop_wanted = true;
  if (it->second->started) SendSignal(*it->second, it->second->bundle.stop_signal);
}

void CrunRuntime::Kill(const std::string& run_id) {
  auto it = runs_.find(run_id);
  if (it == runs_.end()) return;
  it->second->kill_wanted = true;
  KillAll(*it->second);
}

void CrunRuntime::Resize(const std::string& run_id, const guestapi::Resources& resources) {
  auto it = runs_.find(run_id);
  if (it != runs_.end()) group_.Spawn("resize", DoResize(it->second, resources));
}

Task<> CrunRuntime::DoResize(RunPtr run, guestapi::Resources resources) {
  Status status = co_await GiveResources(run, resources);
  if (run->ended) co_return;
  Send(tether::Resized{.run_id = run->id, .resources = resources, .error = std::string(status.message())});
}

Task<Status> CrunRuntime::GiveResources(RunPtr run, guestapi::Resources resources) {
  const std::string cgroup = CgroupDirectory(*run);
  if (cgroup.empty()) co_return absl::OkStatus();  // nothing is limited
  // The kernel would kill it for what it has already.
  if (resources.memory_limit_bytes > 0) {
    int64_t used = 0;
    auto text = ReadFile(cgroup + "/memory.current", 64);
    if (text.ok() && absl::SimpleAtoi(*text, &used) && used > resources.memory_limit_bytes) {
      co_return absl::FailedPreconditionError(absl::StrCat(
          "attempting to set a memory limit (", resources.memory_limit_bytes, ") below current usage (", used, ")"));
    }
  }
  co_return co_await crun_.Update(run->id, UpdateOptions(resources));
}

void CrunRuntime::SendSignal(const Run& run, int signal) {
  if (run.child != nullptr) run.child->Kill(signal);
}

void CrunRuntime::KillAll(const Run& run) {
  SendSignal(run, SIGKILL);
  // In a namespace that it shares, the container's other processes do not die with the first one.
  const std::string cgroup = CgroupDirectory(run);
  if (!cgroup.empty() && run.child != nullptr) {
    Fd kill(::open((cgroup + "/cgroup.kill").c_str(), O_WRONLY | O_CLOEXEC));
    if (kill.valid() && ::write(kill.get(), "1", 1) < 0) Log(Severity::kWarning, "cgroup.kill failed");
  }
}

Task<> CrunRuntime::Main(RunPtr run) {
  auto failed = co_await Launch(run);
  if (failed) {
    runs_.erase(run->id);
    run->ended = true;
    run->failure = failed->reason;
    run->live->Finish();
    if (run->kill_wanted) {
      Send(Exited{.run_id = run->id, .exit_code = 128 + SIGKILL, .signal = SIGKILL});
    } else {
      Send(*std::move(failed));
    }
    co_await Remove(run);
    co_return;
  }
  run->started = true;
  Send(Started{.run_id = run->id});
  if (run->stop_wanted) SendSignal(*run, run->bundle.stop_signal);
  co_await AwaitEnd(run);
  Exited exited = co_await Ended(run);
  runs_.erase(run->id);
  run->ended = true;
  Send(std::move(exited));
  co_await Remove(run);
}

Task<std::optional<StartFailed>> CrunRuntime::Launch(RunPtr run) {
  BundleFailure failure;
  {
    auto turn = co_await bundle_turns_.Take();
    run->pod = spec_;  // volumes must not fall back to what they held when the start was asked for
    auto pid_namespace = co_await PidNamespace(run);
    if (!pid_namespace.ok()) {
      co_return StartFailed{run->id, "CreateContainerError", std::string(pid_namespace.status().message())};
    }
    auto make = [this, run, &failure, pid_namespace = *pid_namespace, now = clock_.WallNow()] {
      return bundles_.Make(*run->pod, run->spec, run->id, pid_namespace, now, &failure);
    };
    auto bundle = co_await Offload(pool_, std::move(make));
    if (!bundle.ok()) co_return StartFailed{run->id, failure.reason, failure.message};
    run->bundle = *std::move(bundle);
  }
  if (run->kill_wanted) co_return StartFailed{run->id, "Killed", ""};
  co_return co_await CreateProcess(run);
}

Task<std::optional<StartFailed>> CrunRuntime::CreateProcess(RunPtr run) {
  auto fail = [&run](std::string_view reason, const Status& status, std::string_view prefix = "") {
    return StartFailed{run->id, std::string(reason), absl::StrCat(prefix, status.message())};
  };
  const LogLimits limits{.max_bytes = run->pod->log_max_bytes, .max_files = run->pod->log_max_files};
  const std::string directory = LogDirectory(run->spec.name);
  auto open = [directory, attempt = run->attempt, limits]() -> StatusOr<std::unique_ptr<LogWriter>> {
    RETURN_IF_ERROR(MakeDirs(directory, 0700));
    RETURN_IF_ERROR(CountTree(directory));
    RemoveAttemptsBefore(directory, attempt - 1);
    return LogWriter::Open(LogPath(directory, attempt), limits);
  };
  auto log = co_await Offload(pool_, std::move(open));
  if (!log.ok()) co_return fail("CreateContainerError", log.status());
  run->log = LogPath(directory, run->attempt);
  run->live->newest = (*log)->newest();

  const std::string files = run->bundle.directory + "/init";
  const json::Value& program = run->bundle.process.at("args").as_array().at(0);
  Crun::ProcessOptions options{.program = std::string(json::AsString(program)), .files = files};
  ProcessIo io;
  std::optional<ConsoleSocket> console;
  if (run->spec.tty) {
    auto socket = ConsoleSocket::Listen(executor_, files + ".sock");
    if (!socket.ok()) co_return fail("CreateContainerError", socket.status());
    console.emplace(*std::move(socket));
    options.console = &*console;
  } else {
    auto pipes = MakePipes(executor_, {.in = run->spec.stdin}, run->bundle.user.uid, run->bundle.user.gid);
    if (!pipes.ok()) co_return fail("CreateContainerError", pipes.status());
    io = std::move(pipes->first);
    options.ends = std::move(pipes->second);
  }
  auto child = co_await crun_.Create(run->id, run->bundle.directory, std::move(options));
  if (!child.ok()) co_return fail(tether::kStartError, child.status(), kStartPrefix);
  run->child = *child;
  if (console) {
    auto terminal = co_await WithTimeout(clock_, kDrain, "the terminal", console->Receive());
    if (!terminal.ok()) co_return fail(tether::kStartError, terminal.status(), kStartPrefix);
    io = *std::move(terminal);
    console.reset();
  }
  if (run->kill_wanted) co_return StartFailed{run->id, "Killed", ""};
  run->io =
      std::make_shared<ContainerIo>(&clock_, &pool_, std::move(io), *std::move(log), run->live, run->spec.stdin_once);
  group_.Spawn("output", run->io->Run());
  Status status = co_await crun_.Start(run->id);
  // One that has been killed is no failure of crun's.
  if (!status.ok() && !run->child->exited()) co_return fail(tether::kStartError, status, kStartPrefix);
  co_return std::nullopt;
}

Task<StatusOr<std::string>> CrunRuntime::PidNamespace(RunPtr run) {
  if (run->pod->host_pid) co_return "";
  ChildPtr owner;
  if (run->pod->share_processes) {
    CO_RETURN_IF_ERROR(co_await StartPause());
    owner = pause_;
  } else if (!run->spec.target.empty()) {
    auto target = newest_.find(run->spec.target);
    if (target == newest_.end() || !target->second->started || target->second->ended) {
      co_return absl::FailedPreconditionError(
          absl::StrCat("target container \"", run->spec.target, "\" is not running"));
    }
    owner = target->second->child;
  }
  if (owner == nullptr) co_return "";
  co_return absl::StrCat("/proc/", owner->pid(), "/ns/pid");
}

// One for the whole pod; what it is the first of dies with it.
Task<Status> CrunRuntime::StartPause() {
  if (pause_ != nullptr && !pause_->exited()) co_return absl::OkStatus();
  Fd ours(::open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC));
  if (!ours.valid() || ::unshare(CLONE_NEWPID) != 0) co_return FileError(errno, "unshare", "process namespace");
  auto pause = reaper_.Spawn(Command{.argv = options_.pause});
  // Only children are put into it, and only this thread's.
  if (::setns(ours.get(), CLONE_NEWPID) != 0) co_return FileError(errno, "setns", "process namespace");
  CO_RETURN_IF_ERROR(pause.status());
  pause_ = *std::move(pause);
  co_return absl::OkStatus();
}

Task<> CrunRuntime::AwaitEnd(RunPtr run) {
  (void)co_await run->child->Wait();
  KillAll(*run);
  run->io->Exited();
  Status drained = co_await WithTimeout(clock_, kDrain, "reading what a container wrote", run->io->Drained());
  if (!drained.ok()) {
    run->io->DropSessions();
    (void)co_await run->io->Drained();
  }
}

Task<Exited> CrunRuntime::Ended(RunPtr run) {
  const ExitStatus status = run->child->status();
  Exited out{.run_id = run->id, .exit_code = status.shell_code(), .signal = status.signal};
  auto look = [cgroup = CgroupDirectory(*run), file = run->bundle.termination_file, log = run->log,
               from_logs = run->spec.termination_message_from_logs && !status.ok()] {
    std::pair<bool, std::string> found;
    found.first = !cgroup.empty() && WasOutOfMemory(cgroup);
    if (!file.empty()) found.second = ReadEnd(file, kMaxMessage);
    if (found.second.empty() && from_logs) found.second = ReadTail(log, kMaxLogMessageLines, kMaxLogMessage);
    return found;
  };
  auto [out_of_memory, message] = co_await Offload(pool_, std::move(look));
  if (out_of_memory && !status.ok()) out.reason = "OOMKilled";
  out.message = std::move(message);
  co_return out;
}

Task<> CrunRuntime::Remove(RunPtr run) {
  if (run->child != nullptr) {
    KillAll(*run);
    (void)co_await run->child->Wait();
    if (run->io != nullptr) {
      run->io->Exited();
      (void)co_await run->io->Drained();
    }
    if (Status status = co_await crun_.Delete(run->id); !status.ok()) {
      Log(Severity::kWarning, "A container stays in crun's books", {{"container", run->spec.name}, {"err", status}});
    }
  }
  auto turn = co_await bundle_turns_.Take();
  auto remove = [this, run] {
    bundles_.Remove(run->id);
    return true;
  };
  (void)co_await Offload(pool_, std::move(remove));
  // What is left is remembered for its log.
  run->bundle = {};
  run->io.reset();
}

// ---- processes beside the containers' own ----

StatusOr<std::string> CrunRuntime::RunningRun(std::string_view container) const {
  auto it = newest_.find(container);
  if (it == newest_.end() || !it->second->started || it->second->ended) {
    return absl::NotFoundError(absl::StrCat("container not found (\"", container, "\")"));
  }
  return it->second->id;
}

std::shared_ptr<ContainerIo> CrunRuntime::IoOf(const std::string& run_id) const {
  auto it = runs_.find(run_id);
  return it == runs_.end() ? nullptr : it->second->io;
}

StatsSources CrunRuntime::Measured() const {
  StatsSources out{.pod = options_.cgroup_root + options_.cgroup, .scratch = options_.scratch_directory};
  for (const auto& [id, run] : runs_) {
    if (!run->started || run->bundle.cgroup.empty()) continue;
    out.containers[run->spec.name] = {
        .cgroup = CgroupDirectory(*run), .root = run->bundle.overlay, .logs = LogDirectory(run->spec.name)};
  }
  if (spec_ == nullptr) return out;
  for (const guestapi::VolumeSpec& volume : spec_->volumes) {
    if (volume.kind == guestapi::VolumeSpec::Kind::kEmptyDir) {
      out.volumes[volume.name] = absl::StrCat(options_.scratch_directory, "/volumes/", volume.name);
    }
  }
  return out;
}

struct CrunRuntime::Starting {
  StatusOr<StartedProcess> result = absl::CancelledError("nobody waits any more");
  bool abandoned = false;
  Waiter done;
};

// A task of its own, because crun must not be stopped half way: nobody would know of the process that it has started.
Task<> CrunRuntime::RunExec(RunPtr run, ProcessRequest request, std::shared_ptr<Starting> starting) {
  auto started = co_await DoExec(run, std::move(request));
  if (starting->abandoned) {
    if (started.ok()) KillGroup(started->child);
    co_return;
  }
  starting->result = std::move(started);
  starting->done.Wake();
}

Task<StatusOr<StartedProcess>> CrunRuntime::DoExec(RunPtr run, ProcessRequest request) {
  const std::string files = absl::StrCat(run->bundle.directory, "/exec-", ++processes_);
  const json::Object process = MakeExecProcess(run->bundle.process, request.command, request.tty);
  CO_RETURN_IF_ERROR(WriteFile(files + ".json", json::Serialize(process), 0600));  // on a tmpfs
  Crun::ProcessOptions options{.program = request.command.at(0), .files = files};
  StartedProcess out;
  std::optional<ConsoleSocket> console;
  if (request.tty) {
    CO_ASSIGN_OR_RETURN(auto socket, ConsoleSocket::Listen(executor_, files + ".sock"));
    console.emplace(std::move(socket));
    options.console = &*console;
  } else {
    CO_ASSIGN_OR_RETURN(auto pipes, MakePipes(executor_, request.streams, run->bundle.user.uid, run->bundle.user.gid));
    out.io = std::move(pipes.first);
    options.ends = std::move(pipes.second);
  }
  auto child = co_await crun_.Exec(run->id, files + ".json", std::move(options));
  ::unlink((files + ".json").c_str());
  if (!child.ok() && run->ended) co_return absl::NotFoundError("the container has ended");
  CO_RETURN_IF_ERROR(child.status());
  out.child = *std::move(child);
  if (console) {
    auto terminal = co_await WithTimeout(clock_, kDrain, "the terminal", console->Receive());
    if (!terminal.ok()) {
      KillGroup(out.child);
      co_return terminal.status();
    }
    out.io = *std::move(terminal);
  }
  co_return out;
}

Task<StatusOr<StartedProcess>> CrunRuntime::StartProcess(std::string run_id, ProcessRequest request) {
  auto it = runs_.find(run_id);
  if (it == runs_.end() || !it->second->started) co_return absl::NotFoundError("the container is not running");
  if (request.command.empty()) co_return absl::InvalidArgumentError("no command specified");
  auto starting = std::make_shared<Starting>();
  group_.Spawn("exec", RunExec(it->second, std::move(request), starting));
  try {
    co_await starting->done.Wait();
  } catch (...) {
    starting->abandoned = true;
    if (starting->result.ok()) KillGroup(starting->result->child);
    throw;
  }
  co_return std::move(starting->result);
}

Task<StatusOr<tether::ExecResult>> CrunRuntime::Exec(std::string run_id, std::vector<std::string> command,
                                                     absl::Duration timeout) {
  ProcessRequest request{.command = std::move(command)};
  CO_ASSIGN_OR_RETURN(auto started, co_await StartProcess(std::move(run_id), std::move(request)));
  auto process = std::make_shared<StartedProcess>(std::move(started));
  co_return co_await CollectProcess(&clock_, std::move(process), timeout);
}

// ---- logs ----

Task<StatusOr<RunLog>> CrunRuntime::FindLog(std::string container, bool previous) {
  if (!HasContainer(container)) {
    co_return absl::NotFoundError(
        absl::StrCat("container ", container, " is not valid for pod ", spec_ == nullptr ? "" : spec_->pod_name));
  }
  RunPtr newest;
  if (auto it = newest_.find(container); it != newest_.end() && !it->second->log.empty()) newest = it->second;
  const std::string directory = LogDirectory(container);
  auto list = [directory] { return ListAttempts(directory); };
  std::vector<int> attempts = co_await Offload(pool_, std::move(list));
  const int current = newest != nullptr ? newest->attempt : attempts.empty() ? -1 : attempts.back();
  if (!previous) {
    if (current < 0) {
      co_return absl::FailedPreconditionError(absl::StrCat("container \"", container, "\" in pod \"", spec_->pod_name,
                                                           "\" is waiting to start: ", WhyWaiting(container)));
    }
    co_return RunLog{LogPath(directory, current), newest != nullptr && !newest->ended ? newest->live : nullptr};
  }
  // Of a container that waits for its restart, the last run is the previous one.
  const bool over = newest == nullptr || newest->ended;
  if (over && current >= 0 && waits_ && waits_(container)) co_return RunLog{LogPath(directory, current), nullptr};
  auto before = std::lower_bound(attempts.begin(), attempts.end(), current);
  if (before == attempts.begin()) {
    co_return absl::NotFoundError(
        absl::StrCat("previous terminated container \"", container, "\" in pod \"", spec_->pod_name, "\" not found"));
  }
  co_return RunLog{LogPath(directory, *std::prev(before)), nullptr};
}

// As the lifecycle shows it.
std::string CrunRuntime::WhyWaiting(std::string_view container) const {
  if (auto it = newest_.find(container); it != newest_.end() && !it->second->failure.empty())
    return it->second->failure;
  bool has_init = std::any_of(spec_->containers.begin(), spec_->containers.end(), [](const ContainerSpec& c) {
    return c.kind == ContainerSpec::Kind::kInit || c.kind == ContainerSpec::Kind::kSidecar;
  });
  return has_init ? "PodInitializing" : "ContainerCreating";
}

}  // namespace vck::guestos
