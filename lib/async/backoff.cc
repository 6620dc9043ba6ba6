#include "async/backoff.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace vck {

uint64_t RandomSeed() {
  // Opening a random_device costs as much as a small request: once per thread is enough, SplitMix does the rest.
  static thread_local uint64_t state = [] {
    std::random_device device;
    return (static_cast<uint64_t>(device()) << 32) | device();
  }();
  NextRandom(state);
  return state | 1;
}

double NextRandom(uint64_t& state) {
  uint64_t z = (state += 0x9E3779B97F4A7C15ULL);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  z ^= z >> 31;
  return static_cast<double>(z >> 11) * 0x1.0p-53;
}

Backoff::Backoff(BackoffPolicy policy, uint64_t seed) : policy_(policy), state_(seed != 0 ? seed : RandomSeed()) {}

absl::Duration Backoff::Delay(const BackoffPolicy& policy, int failures) {
  double scale = std::pow(policy.factor, std::clamp(failures - 1, 0, 64));
  return std::min(policy.max, policy.initial * scale);
}

absl::Duration Backoff::Next() {
  ++failures_;
  absl::Duration base = Delay(policy_, failures_);
  return base * (1.0 - policy_.jitter + 2.0 * policy_.jitter * NextRandom(state_));
}

}  // namespace vck
