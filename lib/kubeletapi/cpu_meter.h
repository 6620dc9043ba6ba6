// CpuMeter: CPU time from a rate that somebody tells now and then. Pure.
#pragma once

#include <cstdint>

#include "async/clock.h"

namespace vck::kubeletapi {

// The time is the sum of each rate over the time for which it was the newest one: it never decreases, and is as exact
// as the rates are often. While the rate is not known nothing is added.
class CpuMeter {
 public:
  // From `now` on; in nanoseconds a second, -1 if it is not known.
  void Set(Instant now, int64_t nano_cores) {
    nanos_ = Nanos(now);
    since_ = now;
    rate_ = nano_cores;
    if (rate_ >= 0 && nanos_ < 0) nanos_ = 0;
  }
  // CPU time until `now`, which is not before the last Set(); -1 before the first rate.
  [[nodiscard]] int64_t Nanos(Instant now) const {
    if (rate_ < 0) return nanos_;
    return nanos_ + static_cast<int64_t>(static_cast<double>(rate_) * absl::ToDoubleSeconds(now - since_));
  }
  [[nodiscard]] int64_t nano_cores() const { return rate_; }

 private:
  int64_t nanos_ = -1;
  int64_t rate_ = -1;
  Instant since_;
};

}  // namespace vck::kubeletapi
