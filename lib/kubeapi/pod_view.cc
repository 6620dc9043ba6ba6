#include "kubeapi/pod_view.h"

#include "kubeapi/conditions.h"
#include "kubeapi/node_view.h"
#include "kubeapi/timestamp.h"

namespace vck::kubeapi {
namespace {

std::optional<Quantity> QuantityAt(const json::Value* list, std::string_view resource) {
  const json::Value* value = json::Get(list, resource);
  if (value == nullptr) return std::nullopt;
  auto quantity = Quantity::Parse(*value);
  return quantity.ok() ? std::optional(*quantity) : std::nullopt;
}

std::optional<int64_t> IntAt(const json::Value* value, std::string_view key) {
  const json::Value* member = json::Get(value, key);
  return member != nullptr && member->is_number() ? std::optional(json::Int(value, key)) : std::nullopt;
}

template <class Fn>
bool AnyStatus(const json::Value* status, Fn&& fn) {
  for (std::string_view field : {"initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"}) {
    for (const json::Value& container : json::Items(status, field)) {
      if (fn(container)) return true;
    }
  }
  return false;
}

}  // namespace

PodPhase ParsePhase(std::string_view text) {
  if (text == "Pending") return PodPhase::kPending;
  if (text == "Running") return PodPhase::kRunning;
  if (text == "Succeeded") return PodPhase::kSucceeded;
  if (text == "Failed") return PodPhase::kFailed;
  return PodPhase::kUnknown;
}

std::string_view PhaseName(PodPhase phase) {
  switch (phase) {
    case PodPhase::kPending:
      return "Pending";
    case PodPhase::kRunning:
      return "Running";
    case PodPhase::kSucceeded:
      return "Succeeded";
    case PodPhase::kFailed:
      return "Failed";
    case PodPhase::kUnknown:
      break;
  }
  return {};
}

std::string_view StatusField(ContainerView::Kind kind) {
  switch (kind) {
    case ContainerView::Kind::kInit:
    case ContainerView::Kind::kSidecar:
      return "initContainerStatuses";
    case ContainerView::Kind::kEphemeral:
      return "ephemeralContainerStatuses";
    case ContainerView::Kind::kMain:
      break;
  }
  return "containerStatuses";
}

std::optional<Quantity> ContainerView::Request(std::string_view resource) const {
  const json::Value* resources = json::Get(value_, "resources");
  auto request = QuantityAt(json::Get(resources, "requests"), resource);
  return request ? request : QuantityAt(json::Get(resources, "limits"), resource);
}

std::optional<Quantity> ContainerView::Limit(std::string_view resource) const {
  return QuantityAt(json::Get(json::Get(value_, "resources"), "limits"), resource);
}

PodView::PodView(const json::Value& pod)
    : metadata_(json::Get(pod, "metadata")), spec_(json::Get(pod, "spec")), status_(json::Get(pod, "status")) {}

std::optional<absl::Time> PodView::deletion_timestamp() const {
  return ParseTime(json::String(metadata_, "deletionTimestamp"));
}

std::optional<int64_t> PodView::deletion_grace_seconds() const {
  return IntAt(metadata_, "deletionGracePeriodSeconds");
}

std::optional<absl::Time> PodView::creation_timestamp() const {
  return ParseTime(json::String(metadata_, "creationTimestamp"));
}

std::string_view PodView::annotation(std::string_view key) const {
  return json::String(json::Get(metadata_, "annotations"), key);
}

std::string_view PodView::label(std::string_view key) const {
  return json::String(json::Get(metadata_, "labels"), key);
}

bool PodView::is_static() const {
  const std::string_view source = annotation("kubernetes.io/config.source");
  return !source.empty() && source != "api";
}

RestartPolicy PodView::restart_policy() const {
  const std::string_view text = json::String(spec_, "restartPolicy");
  if (text == "Never") return RestartPolicy::kNever;
  if (text == "OnFailure") return RestartPolicy::kOnFailure;
  return RestartPolicy::kAlways;
}

std::optional<int64_t> PodView::active_deadline_seconds() const { return IntAt(spec_, "activeDeadlineSeconds"); }

std::string_view PodView::hostname() const {
  std::string_view host = json::String(spec_, "hostnameOverride");
  if (host.empty()) host = json::String(spec_, "hostname");
  if (host.empty()) host = name();
  host = host.substr(0, 63);
  while (!host.empty() && (host.back() == '-' || host.back() == '.')) host.remove_suffix(1);
  return host;
}

std::optional<Quantity> PodView::Overhead(std::string_view resource) const {
  return QuantityAt(json::Get(spec_, "overhead"), resource);
}

std::optional<Quantity> PodView::PodRequest(std::string_view resource) const {
  const json::Value* resources = json::Get(spec_, "resources");
  auto request = QuantityAt(json::Get(resources, "requests"), resource);
  return request ? request : PodLimit(resource);
}

std::optional<Quantity> PodView::PodLimit(std::string_view resource) const {
  return QuantityAt(json::Get(json::Get(spec_, "resources"), "limits"), resource);
}

const json::Value* PodView::Condition(std::string_view type) const { return FindCondition(status_, type); }

const json::Value* PodView::ContainerStatus(ContainerView::Kind kind, std::string_view name) const {
  for (const json::Value& container : json::Items(status_, StatusField(kind))) {
    if (json::String(container, "name") == name) return &container;
  }
  return nullptr;
}

bool PodView::HasRun() const {
  return AnyStatus(status_, [](const json::Value& container) {
    const json::Value* state = json::Get(container, "state");
    return !json::String(container, "containerID").empty() || json::Get(state, "running") != nullptr ||
           json::Get(state, "terminated") != nullptr ||
           json::Get(json::Get(container, "lastState"), "terminated") != nullptr;
  });
}

bool PodView::AnyRunning() const {
  return AnyStatus(status_, [](const json::Value& container) {
    return json::Get(json::Get(container, "state"), "running") != nullptr;
  });
}

ContainerView::Kind PodView::InitKind(const json::Value& init_container) {
  return json::String(init_container, "restartPolicy") == "Always" ? ContainerView::Kind::kSidecar
                                                                   : ContainerView::Kind::kInit;
}

std::optional<Quantity> NodeView::Allocatable(std::string_view resource) const {
  auto quantity = QuantityAt(json::Get(status_, "allocatable"), resource);
  return quantity ? quantity : Capacity(resource);
}

std::optional<Quantity> NodeView::Capacity(std::string_view resource) const {
  return QuantityAt(json::Get(status_, "capacity"), resource);
}

}  // namespace vck::kubeapi
