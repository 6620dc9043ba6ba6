// The containerID of the API: which run of a container a status speaks of (see status.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kubeapi/pod_view.h"
#include "podvm/facts.h"

namespace vck::podvm {

// The first 12 letters and digits of a guest's boot id.
std::string BootPrefix(std::string_view boot_id);

struct RunId {
  std::string_view boot;  // "" where the id is not one of ours
  int64_t n = 0;          // the guest's restart count
  std::string_view id;    // the guest's
};
std::string FormatRunId(std::string_view boot_prefix, int64_t n, std::string_view id);  // with "vch://"
RunId ParseRunId(std::string_view container_id);

// The prefix of the first boot of the history that the guest goes on with (GuestState::first_boot): the connected
// guest's, else the announced one; "" if unknown. An announcement is never older than the last state of a guest that is
// not connected any more. A guest that has kept its journal tells by itself what became of the runs of earlier boots.
std::string CurrentBoot(std::string_view guest_key, const GuestFacts& guest);
// The API has a run of another history than the current one, and none of the current one.
bool Rebooted(const kubeapi::PodView& pod, std::string_view guest_key, const GuestFacts& guest);

}  // namespace vck::podvm
