// The guest's file systems, except for disks.
#pragma once

#include "base/status.h"

namespace vck::guestos {

// First of all: makes the initramfs a mount that containers can pivot away from (the kernel's own root is none), and
// mounts what programs expect: proc, sys, dev with pts, shm and mqueue, run, tmp, and cgroup v2.
Status MountGuest();

}  // namespace vck::guestos
