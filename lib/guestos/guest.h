// The guest's first process, from boot to power-off.
#pragma once

#include <functional>

#include "async/clock.h"
#include "async/task.h"
#include "guestapi/identity.h"
#include "guestos/hypervisor.h"
#include "guestos/process.h"
#include "guestos/scratch.h"
#include "tether/tether.h"

namespace vck::guestos {

// What the guest gives to whoever runs its containers. All outlives the tether.
struct GuestParts {
  Executor executor;
  Clock& clock;
  Reaper& reaper;
  const guestapi::BootConfig& config;
  const Scratch& scratch;
};
// Fills in what the tether runs containers with.
using EquipTether = std::function<Status(GuestParts, tether::Options*)>;

// Boots, serves the tether until the pod's end, and switches the machine off. Only for PID 1; does not return.
[[noreturn]] void RunGuest(const EquipTether& equip);

}  // namespace vck::guestos
