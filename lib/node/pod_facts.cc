#include "node/pod_facts.h"

#include "vch/names.h"

namespace vck::node {

StatusOr<PodFacts> GatherFacts(const FactSources& from, const std::string& uid, const PodMemory* memory) {
  PodFacts facts;
  facts.object = from.pods.Get(uid);
  if (facts.object != nullptr) {
    ASSIGN_OR_RETURN(auto document, json::Document::Parse(facts.object->json()));
    facts.document.emplace(std::move(document));
    facts.pod.emplace(facts.document->root());
    facts.vm_name = vch::PodVmName(from.vch_id, uid, facts.pod->ns(), facts.pod->name());
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

}  // namespace vck::node
