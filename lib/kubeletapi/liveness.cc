#include "kubeletapi/liveness.h"

#include <utility>

namespace vck::kubeletapi {
namespace {

constexpr absl::Duration kLook = absl::Seconds(2);
// What is under way when a side hangs up may still be of use to the other.
constexpr absl::Duration kHungUp = absl::Seconds(10);

}  // namespace

Liveness::Liveness(Clock& clock, absl::Duration idle_timeout, Probe probe)
    : clock_(clock), idle_timeout_(idle_timeout), probe_(std::move(probe)), since_(clock.Now()) {
  timer_ = clock_.Schedule(clock_.Now() + kLook, [this] { Look(); });
}

void Liveness::Look() {
  const Instant now = clock_.Now();
  const uint64_t moved = probe_.moved();
  if (moved != moved_) {
    moved_ = moved;
    since_ = now;
  }
  const absl::Duration still = now - since_;
  if ((idle_timeout_ > absl::ZeroDuration() && still >= idle_timeout_) || (still >= kHungUp && probe_.hung_up())) {
    probe_.end();
    return;
  }
  timer_ = clock_.Schedule(now + kLook, [this] { Look(); });
}

}  // namespace vck::kubeletapi
