// VmOps: what the reconcilers ask of vCenter. A narrow seam: vsphere behind it, a fake in tests.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "async/task.h"
#include "base/status.h"
#include "podvm/vm_spec.h"
#include "vimtypes/types.gen.h"

namespace vck::node {

// Each call awaits its task and is done when vCenter says so. What to do about an error says vimtypes::RetryClassOf():
// one of kReadBack may have taken effect. Calls that find what they want already done succeed.
class VmOps {
 public:
  virtual ~VmOps() = default;
  virtual Task<StatusOr<vimtypes::MoRef>> Create(vimtypes::VirtualMachineConfigSpec spec) = 0;
  virtual Task<Status> PowerOn(vimtypes::MoRef vm) = 0;
  virtual Task<Status> PowerOff(vimtypes::MoRef vm) = 0;
  virtual Task<Status> Destroy(vimtypes::MoRef vm) = 0;
  // Adds image disks at these SCSI units of the VM's controller, which may be on, and writes its vch.pod key. A unit
  // that is taken: FailedPrecondition.
  struct ImageAtUnit {
    int unit = 0;
    podvm::ImageDisk disk;
  };
  virtual Task<Status> AddImages(vimtypes::MoRef vm, std::vector<ImageAtUnit> images, std::string pod_key) = 0;
  virtual Task<Status> Answer(vimtypes::MoRef vm, std::string question, std::string choice) = 0;
  // The VM of that name in the pod folder, asked from vCenter itself.
  virtual Task<StatusOr<std::optional<vimtypes::MoRef>>> FindByName(std::string name) = 0;
};

}  // namespace vck::node
