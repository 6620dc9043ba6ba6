// The disks of a VM, as its configuration names them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "vimtypes/wire.h"

namespace vck::vsphere {

struct VmDisk {
  int32_t controller_key = 0;
  int unit = -1;
  std::string file;    // "[datastore] folder/name.vmdk"; "" where the backing has no file
  std::string parent;  // of a child disk: the file below it; "" for others
  int64_t capacity_bytes = 0;
};

// From the property config.hardware.device (ArrayOfVirtualDevice), in its order; other devices are skipped.
StatusOr<std::vector<VmDisk>> ParseDisks(const vimtypes::RawXml& devices);

}  // namespace vck::vsphere
