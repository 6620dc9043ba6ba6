#include "node/spec_sync.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"

namespace vck::node {

void SpecSync::Sync(const Pod& pod, PodMemory& memory) {
  podvm::ResolveInputs inputs;
  inputs.pod = &pod.view;
  inputs.pod_ip = pod.ip;
  inputs.host_ip = options_.host_ip;
  inputs.node_name = options_.node_name;
  std::tie(inputs.allocatable_cpu_milli, inputs.allocatable_memory_bytes) = deps_.allocatable();
  inputs.lookup = [&](const podvm::ObjectRef& ref) { return deps_.references.Lookup(pod.view, ref); };
  // What it was made from: the pod's spec and what it refers to.
  std::string source = absl::StrCat(pod.view.generation(), "/", pod.ip);
  for (const podvm::ObjectRef& ref : podvm::ReferencedObjects(pod.view)) {
    podvm::LookupResult found = deps_.references.Lookup(pod.view, ref);
    absl::StrAppend(
        &source, "/", static_cast<int>(found.state), ":",
        found.data != nullptr ? absl::StrCat(absl::Hash<std::map<std::string, std::string>>{}(*found.data)) : "");
  }
  if (memory.spec && memory.spec_source == source) return;
  // Larger than any that an earlier kubelet pushed, as long as clocks do not run back.
  inputs.revision = std::max<int64_t>(absl::ToUnixMicros(pod.now), memory.spec ? memory.spec->revision + 1 : 0);
  podvm::ResolveResult result = podvm::ResolveSpec(inputs);
  podvm::Verdict before = std::exchange(memory.unresolved, {});
  if (result.spec) {
    memory.spec = std::make_shared<const guestapi::GuestSpec>(*std::move(result.spec));
    memory.spec_source = std::move(source);
  } else if (!result.reason.empty()) {
    memory.unresolved = podvm::Verdict::Wait(result.reason, result.message);
    if (before.message != result.message)
      deps_.events.event(pod.object, true, "Failed", absl::StrCat("Error: ", result.message));
  }
  if (before.message != memory.unresolved.message) deps_.events.status_changed(std::string(pod.object.uid()));
}

}  // namespace vck::node
