#include "tether/probe_counts.h"

namespace vck::tether {

void ProbeCounts::Count(const ProbeDone& done) {
  auto container = containers_.find(done.run_id);
  if (container == containers_.end()) return;
  Results& results = results_[{container->second, done.kind}];
  switch (done.result.outcome) {
    case HandlerResult::Outcome::kSuccess:
    case HandlerResult::Outcome::kWarning:
      ++results.successful;
      break;
    case HandlerResult::Outcome::kFailure:
      ++results.failed;
      break;
    case HandlerResult::Outcome::kError:
      break;
  }
}

json::Object ProbeCounts::ToJson(absl::Time now) const {
  json::Array probes;
  for (const auto& [key, results] : results_) {
    probes.push_back(json::Object{{"container", key.first},
                                  {"type", ProbeName(key.second)},
                                  {"successful", results.successful},
                                  {"failed", results.failed}});
  }
  json::Object out;
  out["time"] = absl::ToUnixNanos(now);
  out["probes"] = std::move(probes);
  return out;
}

}  // namespace vck::tether
