// The end of a guest, and who asks for it.
#pragma once

#include <functional>

#include "async/clock.h"
#include "async/task.h"
#include "base/status.h"
#include "guestos/hypervisor.h"

namespace vck::guestos {

// What is asked of this process and of the machine beside the hypervisor's own way: SIGTERM and SIGINT (ctrl-alt-del),
// and the ACPI power button. Until cancelled.
Task<Status> WatchPowerRequests(Executor executor, std::function<void(PowerRequest)> on_request);

// Writes what is dirty to the disks, unmounts the scratch disk, and switches the machine off (or boots it again). Does
// not return.
[[noreturn]] void EndGuest(PowerRequest how);

}  // namespace vck::guestos
