// The guest's disks, found by their SCSI address: the kubelet's unit is the target on the PVSCSI controller.
#pragma once

#include <string>

#include "absl/time/time.h"
#include "base/status.h"

namespace vck::guestos {

// The block device ("/dev/sdb") of SCSI unit `unit`. `sys` is where sysfs is mounted. NotFound when there is none
// (yet).
StatusOr<std::string> FindDisk(int unit, const std::string& sys = "/sys");
// The same, but waits for the device to show up, and has the kernel look again: it may have missed a disk that was
// added while it ran. Blocks; DeadlineExceeded after `limit`.
StatusOr<std::string> AwaitDisk(int unit, absl::Duration limit);

}  // namespace vck::guestos
