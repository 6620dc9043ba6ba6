#include "kubeapi/node_match.h"

#include "absl/strings/numbers.h"

namespace vck::kubeapi {
namespace {

bool Contains(const json::Array& values, std::string_view text) {
  for (const json::Value& value : values) {
    if (json::AsString(value) == text) return true;
  }
  return false;
}

// `value` null: the node has no such label or field.
bool MatchesRequirement(const json::Value& requirement, const std::string_view* value) {
  const std::string_view op = json::String(requirement, "operator");
  const json::Array& values = json::Items(requirement, "values");
  if (op == "In") return value != nullptr && Contains(values, *value);
  if (op == "NotIn") return value == nullptr || !Contains(values, *value);
  if (op == "Exists") return value != nullptr;
  if (op == "DoesNotExist") return value == nullptr;
  if (op == "Gt" || op == "Lt") {
    int64_t have = 0, bound = 0;
    if (value == nullptr || values.size() != 1 || !absl::SimpleAtoi(*value, &have) ||
        !absl::SimpleAtoi(json::AsString(values.front()), &bound)) {
      return false;
    }
    return op == "Gt" ? have > bound : have < bound;
  }
  return false;
}

bool MatchesTerm(const json::Value& term, const NodeView& node) {
  const json::Array& expressions = json::Items(term, "matchExpressions");
  const json::Array& fields = json::Items(term, "matchFields");
  if (expressions.empty() && fields.empty()) return false;  // an empty term matches nothing
  for (const json::Value& requirement : expressions) {
    const json::Value* label = node.labels().if_contains(json::String(requirement, "key"));
    const std::string_view value = label == nullptr ? std::string_view() : json::AsString(*label);
    if (!MatchesRequirement(requirement, label == nullptr ? nullptr : &value)) return false;
  }
  for (const json::Value& requirement : fields) {
    if (json::String(requirement, "key") != "metadata.name") return false;
    const std::string_view name = node.name();
    if (!MatchesRequirement(requirement, &name)) return false;
  }
  return true;
}

}  // namespace

bool SelectsNode(const PodView& pod, const NodeView& node) {
  for (const auto& wanted : json::Members(pod.spec(), "nodeSelector")) {
    const json::Value* label = node.labels().if_contains(wanted.key());
    if (label == nullptr || json::AsString(*label) != json::AsString(wanted.value())) return false;
  }
  const json::Value* affinity = json::Get(json::Get(pod.spec(), "affinity"), "nodeAffinity");
  const json::Value* required = json::Get(affinity, "requiredDuringSchedulingIgnoredDuringExecution");
  if (required == nullptr) return true;
  for (const json::Value& term : json::Items(required, "nodeSelectorTerms")) {
    if (MatchesTerm(term, node)) return true;
  }
  return false;
}

bool Tolerates(const json::Value& toleration, const json::Value& taint) {
  const std::string_view effect = json::String(toleration, "effect");
  if (!effect.empty() && effect != json::String(taint, "effect")) return false;
  const std::string_view key = json::String(toleration, "key");
  if (!key.empty() && key != json::String(taint, "key")) return false;
  const std::string_view op = json::String(toleration, "operator");
  if (op == "Exists") return true;
  // An empty key with Equal is invalid, and matches only a taint without a value.
  return (op.empty() || op == "Equal") && json::String(toleration, "value") == json::String(taint, "value");
}

const json::Value* FirstUntolerated(const PodView& pod, const json::Array& taints, bool also_no_schedule) {
  const json::Array& tolerations = json::Items(pod.spec(), "tolerations");
  for (const json::Value& taint : taints) {
    const std::string_view effect = json::String(taint, "effect");
    if (effect != "NoExecute" && !(also_no_schedule && effect == "NoSchedule")) continue;
    bool tolerated = false;
    for (const json::Value& toleration : tolerations) tolerated |= Tolerates(toleration, taint);
    if (!tolerated) return &taint;
  }
  return nullptr;
}

}  // namespace vck::kubeapi
