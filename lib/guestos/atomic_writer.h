// Files of configMap, secret, downwardAPI and projected volumes in the layout of Kubernetes' atomic writer: readers see
// the old content or the new one, never a mixture. Blocking: for Offload.
//
//   ..2026_01_02_03_04_05.0000000001/a/b   the files
//   ..data -> ..2026_01_02_03_04_05.0000000001
//   a -> ..data/a
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"
#include "guestapi/spec.h"

namespace vck::guestos {

// Makes `directory` show exactly `files`. With `group` (fsGroup) they belong to it and it may read them. When it fails
// the old content stays.
Status WriteAtomically(const std::string& directory, const std::vector<guestapi::FileSpec>& files,
                       std::optional<int64_t> group, absl::Time now);

}  // namespace vck::guestos
