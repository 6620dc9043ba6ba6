// Runs what the lifecycle asks of a prober: one coroutine for each probe or hook that is under way.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "async/clock.h"
#include "async/task_group.h"
#include "tether/lifecycle.h"
#include "tether/prober.h"

namespace vck::tether {

class Handlers {
 public:
  using Sink = std::function<void(Event)>;
  // Answers go to `sink`, never from within a call. `clock` and `prober` outlive this.
  Handlers(Executor executor, Clock& clock, Prober& prober, Sink sink);

  void Do(RunProbe action);
  void Do(RunHook action);
  // What is under way for that run is cancelled, without an answer.
  void Do(const EndHandlers& action);
  // Ends all of them; no answers from now on. To be awaited before this goes.
  Task<> Close();
  [[nodiscard]] size_t runs() const { return runs_.size(); }

 private:
  using Group = std::shared_ptr<TaskGroup>;
  Group Of(const std::string& run_id);
  static Task<> Probe(Handlers* self, RunProbe action);
  static Task<> Hook(Handlers* self, RunHook action);
  static Task<> JoinGroup(Group group);

  Executor executor_;
  Clock& clock_;
  Prober& prober_;
  Sink sink_;
  std::map<std::string, Group> runs_;
  TaskGroup ended_;  // joins the groups of runs that are over
};

}  // namespace vck::tether
