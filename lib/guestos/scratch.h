// The scratch disk: what containers write, their logs, and the tether's journal.
#pragma once

#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "async/task.h"
#include "base/status.h"
#include "guestos/process.h"

namespace vck::guestos {

struct Scratch {
  std::string device;    // "": a tmpfs
  bool earlier = false;  // it has a file system of an earlier boot: the journal tells of it
};

// True if the first bytes of a disk (2 KiB or more) are those of an ext4 file system. Pure.
bool HasExt4(std::string_view head);

// Mounts the disk of SCSI unit `unit` at kScratchDir, after making a file system where there is none; -1: a tmpfs. One
// whose file system cannot be mounted any more is made anew, and that is logged: the pod's data on it is lost.
Task<StatusOr<Scratch>> MountScratch(Reaper* reaper, int unit);

}  // namespace vck::guestos
