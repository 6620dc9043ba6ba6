#include "tether/handlers.h"

#include <utility>

namespace vck::tether {
namespace {

// A probe that could not be tried is tried again so often before it is told (the kubelet's maxProbeRetries).
constexpr int kProbeTries = 3;

}  // namespace

Handlers::Handlers(Executor executor, Clock& clock, Prober& prober, Sink sink)
    : executor_(executor), clock_(clock), prober_(prober), sink_(std::move(sink)), ended_(executor) {}

Handlers::Group Handlers::Of(const std::string& run_id) {
  Group& group = runs_[run_id];
  if (group == nullptr) group = std::make_shared<TaskGroup>(executor_);
  return group;
}

void Handlers::Do(RunProbe action) {
  Group group = Of(action.run_id);
  group->Spawn("probe", Probe(this, std::move(action)));
}

void Handlers::Do(RunHook action) {
  Group group = Of(action.run_id);
  group->Spawn("hook", Hook(this, std::move(action)));
}

void Handlers::Do(const EndHandlers& action) {
  auto it = runs_.find(action.run_id);
  if (it == runs_.end()) return;
  Group group = std::move(it->second);
  runs_.erase(it);
  group->Cancel();
  ended_.Spawn("handlers", JoinGroup(std::move(group)));
}

Task<> Handlers::JoinGroup(Group group) { (void)co_await group->Join(); }

Task<> Handlers::Probe(Handlers* self, RunProbe action) {
  const Instant begin = self->clock_.Now();
  HandlerResult result;
  for (int i = 0; i < kProbeTries; ++i) {
    result = co_await self->prober_.Probe(action.run_id, action.handler, action.timeout);
    if (result.outcome != HandlerResult::Outcome::kError) break;
  }
  self->sink_(ProbeDone{.run_id = std::move(action.run_id),
                        .kind = action.kind,
                        .result = std::move(result),
                        .took = self->clock_.Now() - begin});
}

Task<> Handlers::Hook(Handlers* self, RunHook action) {
  HandlerResult result =
      co_await self->prober_.Hook(action.run_id, action.kind, std::move(action.handler), action.timeout);
  self->sink_(HookDone{.run_id = std::move(action.run_id), .kind = action.kind, .result = std::move(result)});
}

Task<> Handlers::Close() {
  while (!runs_.empty()) Do(EndHandlers{runs_.begin()->first});
  (void)co_await ended_.Join();
}

}  // namespace vck::tether
