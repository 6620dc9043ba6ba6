// Exponential backoff with jitter.
#pragma once

#include <cstdint>

#include "absl/time/time.h"

namespace vck {

struct BackoffPolicy {
  absl::Duration initial = absl::Milliseconds(100);
  absl::Duration max = absl::Seconds(30);
  double factor = 2.0;
  double jitter = 0.2;  // the delay is multiplied by a random number in [1 - jitter, 1 + jitter]
};

// The delays of one thing that fails again and again: capped, and with no end.
class Backoff {
 public:
  // `seed` makes the jitter repeatable in tests; 0 takes one from the system.
  explicit Backoff(BackoffPolicy policy, uint64_t seed = 0);
  absl::Duration Next();
  void Reset() { failures_ = 0; }
  [[nodiscard]] int failures() const { return failures_; }
  // The delay after `failures` failures (1 or more), before jitter.
  static absl::Duration Delay(const BackoffPolicy& policy, int failures);

 private:
  BackoffPolicy policy_;
  int failures_ = 0;
  uint64_t state_;
};

// A random number in [0, 1) from a state of one's own (SplitMix64).
double NextRandom(uint64_t& state);
uint64_t RandomSeed();

}  // namespace vck
