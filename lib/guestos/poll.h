// Waiting for the kernel before there is an event loop.
#pragma once

#include <functional>

#include "absl/time/time.h"

namespace vck::guestos {

// True as soon as `done` says so, false when it has not within `limit`. Blocks the whole process: for the boot only.
bool PollUntil(absl::Duration limit, const std::function<bool()>& done);

}  // namespace vck::guestos
