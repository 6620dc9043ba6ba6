// Gives a guest's tether its container runtime.
#pragma once

#include "base/status.h"
#include "guestos/guest.h"

namespace vck::guestos {

// For RunGuest: containers by crun, with their logs and sessions. What it makes lives as long as the process.
Status EquipWithCrun(GuestParts parts, tether::Options* options);

}  // namespace vck::guestos
