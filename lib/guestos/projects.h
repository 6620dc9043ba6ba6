// What directories of the scratch disk take. ext4's project quotas count it, so that nobody has to look through files,
// however many there are.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"

namespace vck::guestos {

struct TreeUsage {
  int64_t used_bytes = 0, inodes = 0;  // with the directory itself
};

// What is made below the directory from now on counts as its. Does nothing on a file system that counts nothing, such
// as a tmpfs. Blocking.
Status CountTree(const std::string& directory);

// Nothing, if it is not counted. Blocking.
std::optional<TreeUsage> ReadTree(const std::string& directory);

}  // namespace vck::guestos
