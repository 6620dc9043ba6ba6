// Ends a stream between a client and a guest that has no more use.
#pragma once

#include <functional>

#include "async/clock.h"

namespace vck::kubeletapi {

// Looks at the stream every other second: costs a timer, no coroutine. Calls `end` once, when nothing has moved for the
// idle time, or when one side has hung up and nothing has moved for a while (the other side may not be read from at
// that time, so that nobody would notice).
class Liveness {
 public:
  struct Probe {
    std::function<uint64_t()> moved;  // grows with every byte
    std::function<bool()> hung_up;    // one side has
    std::function<void()> end;
  };
  // `idle_timeout` zero: none.
  Liveness(Clock& clock, absl::Duration idle_timeout, Probe probe);
  Liveness(const Liveness&) = delete;
  Liveness& operator=(const Liveness&) = delete;

 private:
  void Look();

  Clock& clock_;
  absl::Duration idle_timeout_;
  Probe probe_;
  uint64_t moved_ = 0;
  Instant since_;  // of the last move
  Clock::Timer timer_;
};

}  // namespace vck::kubeletapi
