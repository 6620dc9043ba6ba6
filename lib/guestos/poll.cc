#include "guestos/poll.h"

#include <algorithm>

#include "absl/time/clock.h"

namespace vck::guestos {
namespace {
// Short at first: most waits are for what a driver does on the side.
constexpr absl::Duration kFirst = absl::Milliseconds(1);
constexpr absl::Duration kLongest = absl::Milliseconds(20);
}  // namespace

bool PollUntil(absl::Duration limit, const std::function<bool()>& done) {
  absl::Duration step = kFirst;
  for (absl::Duration waited;; waited += step) {
    if (done()) return true;
    if (waited >= limit) return false;
    absl::SleepFor(step);
    step = std::min(step * 2, kLongest);
  }
}

}  // namespace vck::guestos
