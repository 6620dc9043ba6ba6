#include "tether/fake_runtime.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "guestapi/late_env.h"

namespace vck::tether {

FakeRuntime::FakeRuntime(Clock& clock, Sink sink, absl::Duration start_delay)
    : clock_(clock), sink_(std::move(sink)), start_delay_(start_delay) {}

void FakeRuntime::Start(const std::string& run_id, int /*attempt*/, const guestapi::ContainerSpec& spec) {
  Runs::iterator run = runs_.try_emplace(run_id).first;
  // There are no files here: variables that would come from them are left out.
  guestapi::ContainerSpec settled = spec;
  for (guestapi::LateVariable& variable : settled.late_env) {
    if (variable.file) variable.file->optional = true;
  }
  (void)SettleEnv([](const guestapi::EnvFileKey&) { return std::string(); }, &settled);
  run->second.script = ParseCommandLine(settled.command, settled.args);
  run->second.timer = clock_.Schedule(clock_.Now() + start_delay_, [this, at = run] { Begin(at); });
}

void FakeRuntime::Begin(Runs::iterator run) {
  run->second.has_started = true;
  std::string id = run->first;
  sink_(Started{.run_id = id});
  // The answer to that may have been a signal.
  if (auto again = runs_.find(id); again != runs_.end() && !again->second.timer.armed()) Continue(again);
}

void FakeRuntime::Continue(Runs::iterator it) {
  Run& run = it->second;
  while (run.next < run.script.size()) {
    const Command& command = run.script[run.next++];
    if (command.when == Command::When::kAfterSuccess && run.status != 0) continue;
    if (command.when == Command::When::kAfterFailure && run.status == 0) continue;
    switch (command.kind) {
      case Command::Kind::kSleep:
        run.status = 0;
        if (command.duration < absl::InfiniteDuration()) {
          run.timer = clock_.Schedule(clock_.Now() + command.duration, [this, it] { Continue(it); });
        }
        return;
      case Command::Kind::kForever:
        return;
      case Command::Kind::kExit:
        return End(it, command.code >= 0 ? command.code : run.status);
      case Command::Kind::kStatus:
        run.status = command.code;
        break;
      case Command::Kind::kOnTerm:
        run.on_term = true;
        run.handler = command.handler;
        run.status = 0;
        break;
    }
  }
  End(it, run.status);
}

void FakeRuntime::End(Runs::iterator run, int exit_code) {
  Exited event{.run_id = run->first, .exit_code = exit_code};
  runs_.erase(run);
  sink_(std::move(event));
}

void FakeRuntime::EndSoon(Runs::iterator run, int exit_code) {
  run->second.ending = true;
  run->second.timer = clock_.Schedule(clock_.Now(), [this, run, exit_code] { End(run, exit_code); });
}

void FakeRuntime::Kill(const std::string& run_id) {
  auto it = runs_.find(run_id);
  if (it != runs_.end() && !it->second.ending) EndSoon(it, 137);
}

void FakeRuntime::Resize(const std::string& run_id, const guestapi::Resources& resources) {
  auto it = runs_.find(run_id);
  if (it == runs_.end()) return;
  it->second.resize = clock_.Schedule(clock_.Now(), [this, run_id, resources] {
    sink_(Resized{.run_id = run_id, .resources = resources, .error = ""});
  });
}

Task<StatusOr<ExecResult>> FakeRuntime::Exec(std::string run_id, std::vector<std::string> command,
                                             absl::Duration timeout) {
  if (!runs_.contains(run_id)) co_return absl::NotFoundError("no such run");
  ExecResult result;
  Instant deadline = clock_.Now() + timeout;
  for (const Command& step : ParseCommandLine(command, {})) {
    if (step.when == Command::When::kAfterSuccess && result.exit_code != 0) continue;
    if (step.when == Command::When::kAfterFailure && result.exit_code == 0) continue;
    if (step.kind == Command::Kind::kExit) {
      if (step.code >= 0) result.exit_code = step.code;
      co_return result;
    }
    if (step.kind == Command::Kind::kStatus) result.exit_code = step.code;
    if (step.kind == Command::Kind::kForever) result.exit_code = 0;
    if (step.kind != Command::Kind::kSleep) continue;
    co_await clock_.SleepUntil(std::min(deadline, clock_.Now() + step.duration));
    if (!runs_.contains(run_id)) co_return absl::NotFoundError("the container has ended");
    if (clock_.Now() >= deadline) {
      co_return absl::DeadlineExceededError(absl::StrCat("timeout ", absl::FormatDuration(timeout), " exceeded"));
    }
    result.exit_code = 0;
  }
  co_return result;
}

void FakeRuntime::Stop(const std::string& run_id) {
  auto it = runs_.find(run_id);
  if (it == runs_.end() || it->second.ending) return;
  Run& run = it->second;
  if (!run.has_started || !run.on_term) return EndSoon(it, 143);
  if (run.handler.empty()) return;
  run.script = ParseScript(std::exchange(run.handler, ""));
  run.next = 0;
  run.status = 143;  // of a handler that ends without saying
  run.timer = clock_.Schedule(clock_.Now(), [this, it] { Continue(it); });
}

}  // namespace vck::tether
