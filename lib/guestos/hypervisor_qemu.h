// QEMU: configuration through fw_cfg, everything else through a virtio-serial port. See docs/guest.md.
#pragma once

#include <memory>

#include "guestos/hypervisor.h"

namespace vck::guestos {

// True where the firmware's configuration device is QEMU's.
bool IsQemu();
std::unique_ptr<Hypervisor> MakeQemuHypervisor(Executor executor, Clock& clock);

}  // namespace vck::guestos
