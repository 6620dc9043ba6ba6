// Files by which one talks to the kernel: /proc, /sys, cgroups.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace vck::guestos {

// One write of the whole value to a file that exists.
Status WriteKernelFile(const std::string& path, std::string_view value);
// Without the newline at its end.
StatusOr<std::string> ReadKernelFile(const std::string& path);

}  // namespace vck::guestos
