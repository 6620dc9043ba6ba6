// What the kubelet remembers of a pod between two reconciles. All of it can be lost at any moment: a restart only makes
// some waits begin again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "async/clock.h"
#include "guestapi/spec.h"
#include "podvm/admission.h"
#include "podvm/resolve_spec.h"
#include "vimtypes/wire.h"

namespace vck::node {

struct PodMemory {
  Instant since;  // first looked at by this kubelet
  // A CreateVM is being awaited, or its outcome is unknown since then.
  bool creating = false;
  std::optional<absl::Time> create_unknown_since;
  // Created by us, and not in the inventory yet.
  std::optional<vimtypes::MoRef> created;
  absl::Time created_at;
  // vCenter refused to create it for a reason that people have to mend: not again before.
  std::optional<absl::Time> create_not_before;
  // The first admission decides; what it takes of the node since is in `usage`.
  bool admitted = false;
  podvm::NodeUsage usage;
  podvm::Verdict verdict;     // why there is no VM or container yet: admission, its address
  podvm::Verdict unresolved;  // what of its spec can't be resolved (SpecSync)
  // Containers whose images can't be had, by name.
  std::map<std::string, podvm::ContainerWait> image_waits;
  std::string missing_secrets;  // pull secrets that it was told about
  // The API has had its terminal phase since.
  std::optional<absl::Time> final_since;
  // The newest resolved spec, until the guest has it (a spec takes some KiB); its revision (0: none yet), and a hash of
  // all else that it says.
  std::shared_ptr<const guestapi::GuestSpec> spec;
  int64_t spec_revision = 0;
  size_t spec_hash = 0;
  std::string spec_source;                            // what it was made from; SpecSync's
  std::set<podvm::ResolveResult::Event> spec_events;  // that were told when it was made
  int64_t pushed_revision = 0;
  std::optional<absl::Time> booting_since, stop_since, finished_since, power_on_not_before;
  std::optional<absl::Duration> asked_grace;
  bool asked_to_stay_on = false;
  int power_failures = 0;
  std::optional<absl::Time> orphan_since;
  std::string last_warning;

  // There is none that the guest has, or can be given.
  [[nodiscard]] bool lacks_spec() const { return spec == nullptr && pushed_revision == 0; }
  // What keeps its containers from running; it counts for those that do not run.
  [[nodiscard]] const podvm::Verdict& waits_for() const { return verdict.admitted() ? unresolved : verdict; }
};

using PodMemories = absl::flat_hash_map<std::string, std::unique_ptr<PodMemory>>;

}  // namespace vck::node
