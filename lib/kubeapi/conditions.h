// Conditions of pods and nodes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "json/json.h"

namespace vck::kubeapi {

struct Condition {
  std::string type;
  std::string status = "False";  // True, False, Unknown
  std::string reason, message;
  std::string last_transition_time;  // RFC 3339; "" if absent
  std::string last_heartbeat_time;   // nodes only
  int64_t observed_generation = 0;   // pods only; 0: absent
  friend bool operator==(const Condition&, const Condition&) = default;
};

Condition ParseCondition(const json::Value& value);
// The condition of that type in the array `conditions` of a status; null if there is none.
const json::Value* FindCondition(const json::Value* status, std::string_view type);
bool IsTrue(const json::Value* status, std::string_view type);

// Completes `wanted` from what the API has: lastTransitionTime is kept while the status stays, else it is `now`.
// True if anything but observed_generation differs from what the API has.
bool Transition(const json::Value* have, absl::Time now, Condition* wanted);

}  // namespace vck::kubeapi
