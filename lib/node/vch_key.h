// The VCH's key: one P-256 key in a file of its own, made at the first start.
#pragma once

#include <string>

#include "base/status.h"

namespace vck::node {

// Reads `<state_dir>/vch.key` (PEM), or makes it and the directory, readable by the owner only. Whoever holds this key
// is the kubelet of the VCH's pod VMs: with another one their tethers refuse to talk.
StatusOr<std::string> LoadOrMakeVchKey(const std::string& state_dir);

}  // namespace vck::node
