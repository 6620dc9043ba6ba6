// The RuntimeDefault seccomp profile: what containers of Docker and containerd may call, for x86-64. Pure.
#pragma once

#include <string>
#include <vector>

#include "json/json.h"

namespace vck::guestos {

// linux.seccomp of the runtime spec for a process with these capabilities ("CAP_…"): some calls are allowed only
// together with the capability that they need anyway.
json::Object DefaultSeccomp(const std::vector<std::string>& capabilities);

}  // namespace vck::guestos
