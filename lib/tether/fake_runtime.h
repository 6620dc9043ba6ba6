// A container runtime that only pretends: what a container does is scripted by its command (tether/script.h).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "async/clock.h"
#include "tether/runtime.h"
#include "tether/script.h"

namespace vck::tether {

// TERM ends a container with 143 unless it traps it, KILL with 137.
// Variables from files are left out: there are none.
class FakeRuntime : public Runtime {
 public:
  // A start takes `start_delay`.
  FakeRuntime(Clock& clock, Sink sink, absl::Duration start_delay = absl::ZeroDuration());

  void Start(const std::string& run_id, int attempt, const guestapi::ContainerSpec& spec) override;
  void Stop(const std::string& run_id) override;
  void Kill(const std::string& run_id) override;
  void Resize(const std::string& run_id, const guestapi::Resources& resources) override;
  // Runs the command as a script of its own; one that a script doesn't know succeeds at once.
  Task<StatusOr<ExecResult>> Exec(std::string run_id, std::vector<std::string> command,
                                  absl::Duration timeout) override;
  [[nodiscard]] size_t running() const { return runs_.size(); }

 private:
  struct Run {
    std::vector<Command> script;
    size_t next = 0;
    int status = 0;
    bool has_started = false;
    bool on_term = false;
    bool ending = false;
    std::string handler;
    Clock::Timer timer, resize;
  };
  using Runs = std::map<std::string, Run>;

  void Begin(Runs::iterator run);
  void Continue(Runs::iterator run);
  void End(Runs::iterator run, int exit_code);
  // Ends it from the loop, because events never come from within a call.
  void EndSoon(Runs::iterator run, int exit_code);

  Clock& clock_;
  Sink sink_;
  absl::Duration start_delay_;
  Runs runs_;
};

}  // namespace vck::tether
