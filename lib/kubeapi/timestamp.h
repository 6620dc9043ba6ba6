// metav1.Time: RFC 3339 in UTC, to the second.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace vck::kubeapi {

// nullopt for "" and for what is not RFC 3339. Fractions are read and kept.
std::optional<absl::Time> ParseTime(std::string_view text);
// "2026-01-02T03:04:05Z", cut to the second. "" for the infinities and for years that have no four digits.
std::string FormatTime(absl::Time time);

}  // namespace vck::kubeapi
