// A ContainerSpec as JSON. Not for other layers.
#pragma once

#include <string>
#include <string_view>

#include "guestapi/fields.h"
#include "guestapi/spec.h"

namespace vck::guestapi::internal {

inline constexpr std::string_view kPolicies[] = {"Always", "OnFailure", "Never"};
inline constexpr int64_t kMaxSeconds = kMaxSpecSeconds;

json::Object ToJson(const ContainerSpec& container, const boost::json::storage_ptr& storage);
StatusOr<ContainerSpec> ContainerFromJson(const json::Value& value, const std::string& where);
void PutResources(json::Object* out, const Resources& resources);
Resources ReadResources(Fields* in);

}  // namespace vck::guestapi::internal
