// The first steps of PID 1, from what the kernel leaves to a machine on which programs can run. See docs/guest.md.
#pragma once

#include <string>

#include "base/status.h"

namespace vck::guestos {

// File systems, modules, limits, cgroups, loopback, entropy, clock. Blocks; nothing else runs yet. An error is one with
// which there is no point in going on.
Status BootGuest();

// Identifies this boot; of the kernel's own boot id.
StatusOr<std::string> BootId();

}  // namespace vck::guestos
