#include "tether/probe_counts.h"

#include <algorithm>

namespace vck::tether {

void ProbeCounts::Count(const ProbeDone& done) {
  auto container = containers_.find(done.run_id);
  if (container == containers_.end()) return;
  Results& results = results_[{container->second, done.kind}];
  switch (done.result.outcome) {
    case HandlerResult::Outcome::kSuccess:
    case HandlerResult::Outcome::kWarning:
      ++results.successful;
      AddDuration(absl::ToInt64Nanoseconds(done.took), &results);
      break;
    case HandlerResult::Outcome::kFailure:
      ++results.failed;
      break;
    case HandlerResult::Outcome::kError:
      break;
  }
}

void ProbeCounts::AddDuration(int64_t nanos, Results* results) {
  const auto& bounds = guestapi::kProbeBuckets;
  results->duration_nanos += nanos;
  ++results->within[static_cast<size_t>(std::ranges::lower_bound(bounds, nanos) - bounds.begin())];
}

json::Object ProbeCounts::ToJson(absl::Time now) const {
  json::Array probes;
  for (const auto& [key, results] : results_) {
    probes.push_back(json::Object{{"container", key.first},
                                  {"type", ProbeName(key.second)},
                                  {"successful", results.successful},
                                  {"failed", results.failed},
                                  {"durationNanos", results.duration_nanos},
                                  {"within", json::Array(results.within.begin(), results.within.end())}});
  }
  json::Object out;
  out["time"] = absl::ToUnixNanos(now);
  out["probes"] = std::move(probes);
  return out;
}

}  // namespace vck::tether
