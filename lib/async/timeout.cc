#include "async/timeout.h"

namespace vck::internal {

Status TimeoutError(const std::string& what, absl::Duration limit) {
  return absl::DeadlineExceededError(absl::StrCat(what, " took longer than ", absl::FormatDuration(limit)));
}

}  // namespace vck::internal
