// A ContainerSpec as JSON. Not for other layers.
#pragma once

#include <string>
#include <string_view>

#include "guestapi/spec.h"

namespace vck::guestapi::internal {

inline constexpr std::string_view kPolicies[] = {"Always", "OnFailure", "Never"};
// Some 30 years: sums with it stay far from overflow.
inline constexpr int64_t kMaxSeconds = 1'000'000'000;

json::Object ToJson(const ContainerSpec& container, const boost::json::storage_ptr& storage);
StatusOr<ContainerSpec> ContainerFromJson(const json::Value& value, const std::string& where);

}  // namespace vck::guestapi::internal
