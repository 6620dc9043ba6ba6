// PodView: a pod's JSON through typed accessors. Views live as long as the JSON they are made from; making one costs
// nothing, and absent or malformed fields read as their defaults.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/time/time.h"
#include "json/json.h"
#include "kubeapi/quantity.h"

namespace vck::kubeapi {

enum class RestartPolicy { kAlways, kOnFailure, kNever };
enum class PodPhase { kUnknown, kPending, kRunning, kSucceeded, kFailed };
PodPhase ParsePhase(std::string_view text);
std::string_view PhaseName(PodPhase phase);  // "" for kUnknown
inline bool IsTerminal(PodPhase phase) { return phase == PodPhase::kSucceeded || phase == PodPhase::kFailed; }

// An element of spec.containers, initContainers or ephemeralContainers.
class ContainerView {
 public:
  enum class Kind { kInit, kSidecar, kMain, kEphemeral };  // sidecar: an init container with restartPolicy Always
  ContainerView(const json::Value& value, Kind kind) : value_(&value), kind_(kind) {}
  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] bool is_init() const { return kind_ == Kind::kInit || kind_ == Kind::kSidecar; }
  [[nodiscard]] std::string_view name() const { return json::String(value_, "name"); }
  [[nodiscard]] std::string_view image() const { return json::String(value_, "image"); }
  [[nodiscard]] std::string_view working_dir() const { return json::String(value_, "workingDir"); }
  [[nodiscard]] const json::Array& command() const { return json::Items(value_, "command"); }
  [[nodiscard]] const json::Array& args() const { return json::Items(value_, "args"); }
  [[nodiscard]] const json::Array& env() const { return json::Items(value_, "env"); }
  [[nodiscard]] const json::Array& env_from() const { return json::Items(value_, "envFrom"); }
  [[nodiscard]] const json::Array& ports() const { return json::Items(value_, "ports"); }
  // Of resources.requests / limits; nullopt if absent or malformed. A request defaults to the limit, as the API server
  // does it.
  [[nodiscard]] std::optional<Quantity> Request(std::string_view resource) const;
  [[nodiscard]] std::optional<Quantity> Limit(std::string_view resource) const;
  [[nodiscard]] bool has_readiness_probe() const { return json::Get(value_, "readinessProbe") != nullptr; }
  [[nodiscard]] bool has_startup_probe() const { return json::Get(value_, "startupProbe") != nullptr; }
  [[nodiscard]] const json::Value& json() const { return *value_; }

 private:
  const json::Value* value_;
  Kind kind_;
};

class PodView {
 public:
  explicit PodView(const json::Value& pod);

  // metadata
  [[nodiscard]] std::string_view name() const { return json::String(metadata_, "name"); }
  [[nodiscard]] std::string_view ns() const { return json::String(metadata_, "namespace"); }
  [[nodiscard]] std::string_view uid() const { return json::String(metadata_, "uid"); }
  [[nodiscard]] std::string_view resource_version() const { return json::String(metadata_, "resourceVersion"); }
  [[nodiscard]] int64_t generation() const { return json::Int(metadata_, "generation"); }
  [[nodiscard]] bool deleting() const { return json::Get(metadata_, "deletionTimestamp") != nullptr; }
  // The time by which it shall be gone (the API server's clock): deletion requested + grace.
  [[nodiscard]] std::optional<absl::Time> deletion_timestamp() const;
  [[nodiscard]] std::optional<int64_t> deletion_grace_seconds() const;
  [[nodiscard]] std::optional<absl::Time> creation_timestamp() const;
  [[nodiscard]] std::string_view annotation(std::string_view key) const;
  [[nodiscard]] std::string_view label(std::string_view key) const;
  // A pod from a manifest file of a kubelet, or its copy in the API (kubernetes.io/config.source, config.mirror).
  [[nodiscard]] bool is_static() const;
  [[nodiscard]] bool is_mirror() const { return !annotation("kubernetes.io/config.mirror").empty(); }

  // spec
  [[nodiscard]] std::string_view node_name() const { return json::String(spec_, "nodeName"); }
  [[nodiscard]] std::string_view os() const { return json::String(json::Get(spec_, "os"), "name"); }
  [[nodiscard]] std::string_view service_account() const { return json::String(spec_, "serviceAccountName"); }
  [[nodiscard]] bool host_network() const { return json::Bool(spec_, "hostNetwork"); }
  [[nodiscard]] RestartPolicy restart_policy() const;
  [[nodiscard]] int64_t termination_grace_seconds() const {
    return json::Int(spec_, "terminationGracePeriodSeconds", 30);
  }
  [[nodiscard]] std::optional<int64_t> active_deadline_seconds() const;
  // spec.hostnameOverride, spec.hostname or the pod's name, cut to 63 characters as the kubelet does.
  [[nodiscard]] std::string_view hostname() const;
  [[nodiscard]] const json::Array& containers() const { return json::Items(spec_, "containers"); }
  [[nodiscard]] const json::Array& init_containers() const { return json::Items(spec_, "initContainers"); }
  [[nodiscard]] const json::Array& ephemeral_containers() const { return json::Items(spec_, "ephemeralContainers"); }
  [[nodiscard]] const json::Array& readiness_gates() const { return json::Items(spec_, "readinessGates"); }
  [[nodiscard]] const json::Array& volumes() const { return json::Items(spec_, "volumes"); }
  [[nodiscard]] std::optional<Quantity> Overhead(std::string_view resource) const;
  // Pod-level resources (spec.resources).
  [[nodiscard]] std::optional<Quantity> PodRequest(std::string_view resource) const;
  [[nodiscard]] std::optional<Quantity> PodLimit(std::string_view resource) const;

  // status, as the API server has it
  [[nodiscard]] PodPhase phase() const { return ParsePhase(json::String(status_, "phase")); }
  [[nodiscard]] std::string_view pod_ip() const { return json::String(status_, "podIP"); }
  [[nodiscard]] std::string_view qos_class() const { return json::String(status_, "qosClass"); }
  [[nodiscard]] const json::Value* Condition(std::string_view type) const;
  // Of the container's kind; null if the status has none of that name.
  [[nodiscard]] const json::Value* ContainerStatus(ContainerView::Kind kind, std::string_view name) const;
  // Any container has run according to the API: it has an id, a state or a last state other than waiting.
  [[nodiscard]] bool HasRun() const;
  [[nodiscard]] bool AnyRunning() const;

  // Null if absent.
  [[nodiscard]] const json::Value* metadata() const { return metadata_; }
  [[nodiscard]] const json::Value* spec() const { return spec_; }
  [[nodiscard]] const json::Value* status() const { return status_; }

  // fn(ContainerView) for init containers and sidecars, main, ephemeral, in the pod's order.
  template <class Fn>
  void ForEachContainer(Fn&& fn) const {
    for (const json::Value& c : init_containers()) fn(ContainerView(c, InitKind(c)));
    for (const json::Value& c : containers()) fn(ContainerView(c, ContainerView::Kind::kMain));
    for (const json::Value& c : ephemeral_containers()) fn(ContainerView(c, ContainerView::Kind::kEphemeral));
  }
  static ContainerView::Kind InitKind(const json::Value& init_container);

 private:
  const json::Value* metadata_;
  const json::Value* spec_;
  const json::Value* status_;
};

// "containerStatuses" and its siblings.
std::string_view StatusField(ContainerView::Kind kind);

}  // namespace vck::kubeapi
