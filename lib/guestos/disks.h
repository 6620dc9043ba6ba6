// The guest's disks, found by their SCSI address: the kubelet's unit is the target on the PVSCSI controller.
#pragma once

#include <string>

#include "absl/time/time.h"
#include "base/status.h"

namespace vck::guestos {

// The block device ("/dev/sdb") of SCSI unit `unit`. `sys` is where sysfs is mounted. NotFound when there is none
// (yet).
StatusOr<std::string> FindDisk(int unit, const std::string& sys = "/sys");
// Has the kernel look for a disk at `unit`; the device shows up a little later. The kernel does not look by itself
// (scsi_mod.scan=manual): that would ask each address of the controller, at each boot.
void ScanDisk(int unit, const std::string& sys = "/sys");
// FindDisk, but has the kernel look for it and waits for it to show up. Blocks; DeadlineExceeded after `limit`.
StatusOr<std::string> AwaitDisk(int unit, absl::Duration limit);

}  // namespace vck::guestos
