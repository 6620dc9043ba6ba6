#include "node/pod_facts.h"

#include "vch/names.h"

namespace vck::node {

PodFacts GatherVmFacts(const FactSources& from, const std::string& uid, kube::ObjectPtr object,
                       const PodMemory* memory) {
  PodFacts facts;
  facts.object = std::move(object);
  if (facts.object != nullptr) {
    facts.vm_name = vch::PodVmName(from.vch_id, uid, facts.object->ns(), facts.object->name());
  }
  facts.vm.synced = from.vms.Synced() && from.fresh();
  facts.records = from.vms.Find(uid);
  for (const auto& vm : facts.records) {
    facts.vm.vms.push_back({.vm = vm.get(), .ours = true, .named = vm->name == facts.vm_name});
    const vch::PodKey* key = from.vms.KeyOf(vm->vm.value);
    if (key != nullptr && !key->pod_ip.empty()) facts.ip = key->pod_ip;
  }
  if (facts.records.empty() && !facts.vm_name.empty()) {
    if (auto other = from.vms.FindByName(facts.vm_name)) {
      facts.records.push_back(other);
      facts.vm.vms.push_back({.vm = other.get(), .ours = false, .named = true});
    }
  }
  if (memory != nullptr) facts.vm.create_in_flight = memory->creating || memory->created.has_value();
  facts.link = from.links.states().Get(uid);
  if (facts.link != nullptr) {
    facts.guest = {
        .state = &facts.link->guest,
        .connected = facts.link->connected,
        .streaming = from.links.Streaming(uid),
        .disconnected_for = facts.link->connected ? absl::ZeroDuration() : from.clock.Now() - facts.link->since,
        .clock_offset = facts.link->clock_offset};
  } else if (memory != nullptr) {
    // Never heard of since this kubelet started.
    facts.guest.disconnected_for = from.clock.Now() - memory->since;
  }
  return facts;
}

StatusOr<PodFacts> GatherFacts(const FactSources& from, const std::string& uid, kube::ObjectPtr object,
                               const PodMemory* memory) {
  PodFacts facts = GatherVmFacts(from, uid, std::move(object), memory);
  if (facts.object != nullptr) RETURN_IF_ERROR(facts.SetPod(from, facts.object));
  return facts;
}

Status PodFacts::SetPod(const FactSources& from, kube::ObjectPtr newer) {
  ASSIGN_OR_RETURN(document, from.documents->Get(newer));
  object = std::move(newer);
  pod.emplace(document->root());
  return absl::OkStatus();
}

}  // namespace vck::node
