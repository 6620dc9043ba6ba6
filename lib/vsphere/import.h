// ImportVApp with its HTTP lease: a VM with disks from streamOptimized VMDKs, on VMFS, NFS and vSAN alike.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "vsphere/calls.h"

namespace vck::vsphere {

struct ImportDisk {
  int64_t size = 0;  // of the VMDK file, in bytes
  // Called once for each attempt, when the lease is ready.
  std::function<http::BodySource()> open;
};

struct ImportRequest {
  MoRef pool;
  MoRef folder;
  std::optional<MoRef> host;
  vim::VirtualMachineConfigSpec spec;  // with a VirtualDisk for each of `disks`, in order, fileOperation "create"
  std::vector<ImportDisk> disks;
  absl::Duration timeout = absl::Minutes(60);
};

// Clients of other origins than the session's: hosts take uploads themselves, with a certificate known by thumbprint.
using ClientFactory = std::function<StatusOr<std::shared_ptr<http::Client>>(http::Url origin, std::string thumbprint)>;

// The VM, complete. On an error the lease is aborted, which removes what was made.
Task<StatusOr<MoRef>> ImportVm(Clock& clock, Calls& calls, ClientFactory clients, ImportRequest request);

}  // namespace vck::vsphere
