// What is known of a pod's VM and guest when a reconciler looks. Pointers live as long as the reconciler's snapshot.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "guestapi/state.h"
#include "vimtypes/vm_record.h"

namespace vck::podvm {

// A VM that was found by the pod's `vch.pod` key or by the pod VM's name.
struct VmSighting {
  const vimtypes::VmRecord* vm = nullptr;
  // Its vch.pod key names this VCH and this pod UID. False: it only has the name.
  bool ours = false;
  // It has the deterministic name.
  bool named = false;
};

// Judges one record. A template is never a pod's VM; other VCHs' keys and malformed ones are not ours.
VmSighting Sight(const vimtypes::VmRecord& vm, std::string_view vch_id, std::string_view pod_uid,
                 std::string_view vm_name);

struct VmFacts {
  // The inventory has shown the whole set since the last (re)connect. While it is false, absence means nothing.
  bool synced = false;
  // A CreateVM was sent and neither its failure nor its VM has been seen yet.
  bool create_in_flight = false;
  // Another mutation of this pod's VM is under way, or done and not yet visible in the inventory.
  bool task_in_flight = false;
  std::vector<VmSighting> vms;
};

// The link's store entry, without the link layer's types.
struct GuestFacts {
  const guestapi::GuestState* state = nullptr;  // null or sequence 0: none since this kubelet started
  bool connected = false;
  bool streaming = false;  // logs of it are being read, or the like
  // How long there has been no channel to a powered-on VM (since this kubelet started, at most). Zero while connected.
  absl::Duration disconnected_for;
  // Kubelet's clock minus the guest's.
  absl::Duration clock_offset;

  [[nodiscard]] bool known() const { return state != nullptr && state->sequence > 0; }
};

// The VM that counts among the sightings: ours; then named, reachable, powered on; then by moref. Null if none is ours.
const VmSighting* ChooseVm(const VmFacts& facts);

}  // namespace vck::podvm
