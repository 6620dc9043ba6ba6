#include "podvm/facts.h"

#include <tuple>

#include "vch/pod_key.h"

namespace vck::podvm {

VmSighting Sight(const vimtypes::VmRecord& vm, std::string_view vch_id, std::string_view pod_uid,
                 std::string_view vm_name) {
  VmSighting sighting{.vm = &vm, .named = vm.name == vm_name};
  if (vm.is_template) return sighting;
  auto key = vch::ParsePodKey(vm.pod_key);
  sighting.ours = key.ok() && key->vch_id == vch_id && key->pod_uid == pod_uid;
  return sighting;
}

const VmSighting* ChooseVm(const VmFacts& facts) {
  auto rank = [](const VmSighting& s) {
    return std::tuple(!s.named, !s.vm->reachable(), s.vm->power != vimtypes::PowerState::kOn,
                      std::string_view(s.vm->vm.value));
  };
  const VmSighting* best = nullptr;
  for (const VmSighting& s : facts.vms) {
    if (s.ours && (best == nullptr || rank(s) < rank(*best))) best = &s;
  }
  return best;
}

}  // namespace vck::podvm
