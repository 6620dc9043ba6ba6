// VmOps over a real vCenter.
#pragma once

#include "node/placement.h"
#include "node/vm_ops.h"
#include "vsphere/calls.h"

namespace vck::node {

class VSphereOps : public VmOps {
 public:
  VSphereOps(vsphere::Calls& calls, const Placement& placement) : calls_(calls), placement_(placement) {}
  Task<StatusOr<vimtypes::MoRef>> Create(vimtypes::VirtualMachineConfigSpec spec) override {
    co_return co_await calls_.CreateVm(placement_.folder, std::move(spec), placement_.pool);
  }
  Task<Status> PowerOn(vimtypes::MoRef vm) override { return calls_.PowerOn(std::move(vm), placement_.datacenter); }
  Task<Status> PowerOff(vimtypes::MoRef vm) override { return calls_.PowerOff(std::move(vm)); }
  Task<Status> Destroy(vimtypes::MoRef vm) override { return calls_.Destroy(std::move(vm)); }
  Task<Status> AddImages(vimtypes::MoRef vm, std::vector<ImageAtUnit> images, std::string pod_key) override;
  Task<Status> Answer(vimtypes::MoRef vm, std::string question, std::string choice) override {
    return calls_.Answer(std::move(vm), std::move(question), std::move(choice));
  }
  Task<StatusOr<std::optional<vimtypes::MoRef>>> FindByName(std::string name) override {
    CO_ASSIGN_OR_RETURN(vimtypes::MoRef found, co_await calls_.FindChild(placement_.folder, std::move(name)));
    if (found.empty()) co_return std::nullopt;
    co_return found;
  }

 private:
  vsphere::Calls& calls_;
  const Placement& placement_;
};

}  // namespace vck::node
