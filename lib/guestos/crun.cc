#include "guestos/crun.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "async/timeout.h"
#include "guestos/files.h"
#include "json/json.h"

namespace vck::guestos {
namespace {

// Far more than it needs, even where everything is emulated.
constexpr absl::Duration kTimeout = absl::Minutes(2);
constexpr size_t kMaxPid = 32;
constexpr size_t kMaxLog = size_t{64} * 1024;

Task<StatusOr<ExitStatus>> WaitFor(ChildPtr child) { co_return co_await child->Wait(); }

}  // namespace

Status CrunMessage(std::string_view log, std::string_view program) {
  std::string message;
  for (std::string_view line : absl::StrSplit(log, '\n', absl::SkipEmpty())) {
    auto entry = json::Document::Parse(line);
    if (entry.ok() && json::String(entry->root(), "level") == "error") message = json::String(entry->root(), "msg");
  }
  const std::string exec = absl::StrCat("exec: \"", program, "\": ");
  if (absl::StartsWith(message, "executable file `")) {
    if (program.find('/') == std::string_view::npos) {
      return absl::InvalidArgumentError(exec + "executable file not found in $PATH");
    }
    return absl::InvalidArgumentError(absl::StrCat(exec, "stat ", program, ": no such file or directory"));
  }
  // A directory is "not permitted".
  if (absl::StartsWith(message, "open executable") || absl::StartsWith(message, "exec ")) {
    const size_t colon = message.rfind(": ");
    const std::string_view why = colon == std::string::npos ? message : std::string_view(message).substr(colon + 2);
    if (absl::EqualsIgnoreCase(why, "Operation not permitted") || absl::EqualsIgnoreCase(why, "Permission denied")) {
      return absl::InvalidArgumentError(exec + "permission denied");
    }
    return absl::InvalidArgumentError(absl::StrCat(exec, why));
  }
  if (message.empty()) message = "crun failed without a word";
  return absl::InternalError(message);
}

std::vector<std::string> Crun::Arguments(const std::string& log_file, std::initializer_list<std::string> more) const {
  std::vector<std::string> argv{program_.path,
                                "--root",
                                program_.state_directory,
                                "--log",
                                log_file,
                                "--log-format",
                                "json",
                                program_.cgroups ? "--cgroup-manager=cgroupfs" : "--cgroup-manager=disabled"};
  argv.insert(argv.end(), more);
  return argv;
}

Task<Status> Crun::Run(std::vector<std::string> argv, ProcessEnds ends, std::string log_file, std::string program) {
  ::unlink(log_file.c_str());
  CO_ASSIGN_OR_RETURN(ChildPtr child, reaper_->Spawn(Command{.argv = std::move(argv), .files = ends.Files()}));
  ends = {};
  bool cancelled = false;
  StatusOr<ExitStatus> exit;
  try {
    exit = co_await WithTimeout(*clock_, kTimeout, program_.path, WaitFor(child));
  } catch (const boost::system::system_error& e) {
    if (!IsCancelled(e)) throw;
    cancelled = true;
  }
  if (cancelled || !exit.ok()) child->Kill(SIGKILL);
  if (cancelled) ThrowCancelled();
  CO_RETURN_IF_ERROR(exit.status());
  Status status;
  if (!exit->ok()) {
    auto log = ReadFile(log_file, kMaxLog);
    status = CrunMessage(log.ok() ? *log : "", program);
  }
  ::unlink(log_file.c_str());
  co_return status;
}

Task<StatusOr<ChildPtr>> Crun::RunProcess(std::vector<std::string> argv, std::string id, ProcessOptions options) {
  const std::string pid_file = options.files + ".pid";
  ::unlink(pid_file.c_str());
  argv.insert(argv.end(), {"--pid-file", pid_file});
  if (options.console != nullptr) argv.insert(argv.end(), {"--console-socket", options.console->path()});
  argv.push_back(std::move(id));
  CO_RETURN_IF_ERROR(
      co_await Run(std::move(argv), std::move(options.ends), options.files + ".log", std::move(options.program)));
  auto text = ReadFile(pid_file, kMaxPid);
  ::unlink(pid_file.c_str());
  CO_RETURN_IF_ERROR(text.status());
  int pid = 0;
  if (!absl::SimpleAtoi(*text, &pid) || pid <= 1) co_return absl::InternalError("crun told no pid");
  co_return reaper_->Adopt(pid);
}

Task<StatusOr<ChildPtr>> Crun::Create(std::string id, std::string bundle, ProcessOptions options) {
  auto argv = Arguments(options.files + ".log", {"create", "--bundle", bundle});
  co_return co_await RunProcess(std::move(argv), std::move(id), std::move(options));
}

Task<StatusOr<ChildPtr>> Crun::Exec(std::string id, std::string process_file, ProcessOptions options) {
  auto argv = Arguments(options.files + ".log", {"exec", "--detach", "--process", process_file});
  co_return co_await RunProcess(std::move(argv), std::move(id), std::move(options));
}

Task<Status> Crun::Start(std::string id) {
  const std::string log = LogFile(id);
  co_return co_await Run(Arguments(log, {"start", id}), {}, log, "");
}

Task<Status> Crun::Update(std::string id, std::vector<std::string> options) {
  const std::string log = LogFile(id + "-update");  // others may be under way
  std::vector<std::string> argv = Arguments(log, {"update"});
  argv.insert(argv.end(), options.begin(), options.end());
  argv.push_back(std::move(id));
  co_return co_await Run(std::move(argv), {}, log, "");
}

Task<Status> Crun::Delete(std::string id) {
  const std::string log = LogFile(id);
  co_return co_await Run(Arguments(log, {"delete", "--force", id}), {}, log, "");
}

}  // namespace vck::guestos
