// vSphere: guestinfo and VMware Tools' calls over RPCI (vsock from a privileged port where the host offers it, else the
// backdoor), requests of the host over TCLO (the backdoor).
#pragma once

#include <memory>

#include "guestos/hypervisor.h"
#include "guestos/vmware_rpc.h"

namespace vck::guestos {

struct VmwareOptions {
  bool vsock = true;  // tried first for RPCI
};

// `backdoor` is not null.
std::unique_ptr<Hypervisor> MakeVmwareHypervisor(Executor executor, Clock& clock, std::unique_ptr<Backdoor> backdoor,
                                                 VmwareOptions options = {});

}  // namespace vck::guestos
