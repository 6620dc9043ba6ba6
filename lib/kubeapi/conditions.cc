#include "kubeapi/conditions.h"

#include "kubeapi/timestamp.h"

namespace vck::kubeapi {

Condition ParseCondition(const json::Value& value) {
  return {.type = std::string(json::String(value, "type")),
          .status = std::string(json::String(value, "status")),
          .reason = std::string(json::String(value, "reason")),
          .message = std::string(json::String(value, "message")),
          .last_transition_time = std::string(json::String(value, "lastTransitionTime")),
          .last_heartbeat_time = std::string(json::String(value, "lastHeartbeatTime")),
          .observed_generation = json::Int(value, "observedGeneration")};
}

const json::Value* FindCondition(const json::Value* status, std::string_view type) {
  for (const json::Value& condition : json::Items(status, "conditions")) {
    if (json::String(condition, "type") == type) return &condition;
  }
  return nullptr;
}

bool IsTrue(const json::Value* status, std::string_view type) {
  return json::String(FindCondition(status, type), "status") == "True";
}

bool Transition(const json::Value* have, absl::Time now, Condition* wanted) {
  const bool same_status = have != nullptr && json::String(have, "status") == wanted->status;
  const std::string_view since = json::String(have, "lastTransitionTime");
  wanted->last_transition_time = same_status && !since.empty() ? std::string(since) : kubeapi::FormatTime(now);
  return !same_status || since.empty() || json::String(have, "reason") != wanted->reason ||
         json::String(have, "message") != wanted->message;
}

}  // namespace vck::kubeapi
