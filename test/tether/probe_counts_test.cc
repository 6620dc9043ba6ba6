#include "tether/probe_counts.h"

#include "gtest/gtest.h"

namespace vck::tether {
namespace {

using Outcome = HandlerResult::Outcome;

ProbeDone Done(std::string run, ProbeKind kind, Outcome outcome, absl::Duration took = absl::Milliseconds(5)) {
  return {.run_id = std::move(run), .kind = kind, .result = {.outcome = outcome, .output = {}}, .took = took};
}

TEST(ProbeCounts, AsTheKubeletCounts) {
  ProbeCounts counts;
  counts.Count(Done("r1", ProbeKind::kLiveness, Outcome::kSuccess));  // nobody knows that run
  counts.Started("r1", "web");
  counts.Started("r2", "side");
  for (Outcome outcome : {Outcome::kSuccess, Outcome::kWarning, Outcome::kFailure, Outcome::kError}) {
    counts.Count(Done("r1", ProbeKind::kLiveness, outcome));
  }
  counts.Count(Done("r1", ProbeKind::kReadiness, Outcome::kFailure));
  counts.Count(Done("r2", ProbeKind::kStartup, Outcome::kSuccess));
  // Restarted: what comes late of the run before is of no interest, and the counts go on.
  counts.Started("r3", "web");
  counts.Count(Done("r1", ProbeKind::kLiveness, Outcome::kSuccess));
  counts.Count(Done("r3", ProbeKind::kLiveness, Outcome::kSuccess, absl::Seconds(11)));
  EXPECT_EQ(json::Serialize(counts.ToJson(absl::FromUnixNanos(5))),
            R"({"time":5,"probes":[{"container":"side","type":"Startup","successful":1,"failed":0,)"
            R"("durationNanos":5000000,"within":[1,0,0,0,0,0,0,0,0,0,0,0]},)"
            R"({"container":"web","type":"Liveness","successful":3,"failed":1,)"
            R"("durationNanos":11010000000,"within":[2,0,0,0,0,0,0,0,0,0,0,1]},)"
            R"({"container":"web","type":"Readiness","successful":0,"failed":1,)"
            R"("durationNanos":0,"within":[0,0,0,0,0,0,0,0,0,0,0,0]}]})");
}

}  // namespace
}  // namespace vck::tether
