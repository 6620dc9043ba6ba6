// How often the probes of each container came out one way or the other, and how long they took: what GET /v1/probes
// answers. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "guestapi/probe_buckets.h"
#include "json/json.h"
#include "tether/lifecycle.h"

namespace vck::tether {

class ProbeCounts {
 public:
  // The newest run of that container; results of earlier ones count no more.
  void Started(const std::string& run_id, const std::string& container) {
    std::erase_if(containers_, [&container](const auto& known) { return known.second == container; });
    containers_[run_id] = container;
  }
  // As the kubelet counts: a probe that could not be tried is none.
  void Count(const ProbeDone& done);
  // {"time":<Unix ns>,"probes":[{"container":"web","type":"Liveness","successful":3,"failed":1,"durationNanos":9000000,
  //   "within":[2,1,0,0,0,0,0,0,0,0,0,0]}]}, durations being those of successful ones, as the kubelet's are.
  [[nodiscard]] json::Object ToJson(absl::Time now) const;

 private:
  struct Results {
    int64_t successful = 0, failed = 0;
    int64_t duration_nanos = 0;
    std::array<int64_t, guestapi::kProbeBuckets.size() + 1> within{};
  };
  static void AddDuration(int64_t nanos, Results* results);

  std::map<std::string, std::string> containers_;  // by run
  std::map<std::pair<std::string, ProbeKind>, Results> results_;
};

}  // namespace vck::tether
