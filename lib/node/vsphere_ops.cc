#include "node/vsphere_ops.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "vch/keys.h"
#include "vimtypes/vm_spec.h"
#include "vsphere/vm_disks.h"

namespace vck::node {

Task<Status> VSphereOps::AddImages(vimtypes::MoRef vm, std::vector<ImageAtUnit> images, std::string pod_key) {
  CO_ASSIGN_OR_RETURN(auto objects, co_await calls_.Retrieve({vm}, {"config.hardware.device"}));
  std::vector<vsphere::VmDisk> have;
  for (const vsphere::ObjectChange& object : objects) {
    for (const vsphere::PropertyValue& property : object.changes) {
      const auto* devices = std::get_if<vimtypes::RawXml>(&property.value);
      if (devices == nullptr) continue;
      CO_ASSIGN_OR_RETURN(have, vsphere::ParseDisks(*devices));
    }
  }
  // A pod VM's disks are all on one controller.
  if (have.empty()) co_return absl::FailedPreconditionError("the pod VM has no disk, so no controller for another one");
  std::vector<vimtypes::AddedDisk> disks;
  for (const ImageAtUnit& image : images) {
    const auto here = std::find_if(have.begin(), have.end(), [&](const auto& disk) { return disk.unit == image.unit; });
    if (here == have.end()) {
      disks.push_back(
          {.unit = image.unit, .disk = {.parent = image.disk.parent_path, .parent_bytes = image.disk.capacity_bytes}});
    } else if (here->parent != image.disk.parent_path) {
      co_return absl::FailedPreconditionError(
          absl::StrCat("SCSI unit ", image.unit, " of the pod VM has disk ", here->file, " already"));
    }
  }
  CO_ASSIGN_OR_RETURN(auto spec, vimtypes::BuildAddDisks(have.front().controller_key, disks));
  spec.extraConfig.push_back({.key = std::string(vch::kPodKey), .value = std::move(pod_key)});
  co_return co_await calls_.Reconfigure(vm, std::move(spec));
}

}  // namespace vck::node
