// The parts of ResolveSpec. Not for other layers.
//
// Errors: Unavailable means that an object is still being read; everything else says why the thing can't be resolved,
// in the kubelet's words.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "base/status.h"
#include "guestapi/variables.h"
#include "podvm/resolve_spec.h"

namespace vck::podvm::internal {

inline Status Pending() { return absl::UnavailableError("objects that the pod refers to are still being read"); }
inline bool IsPending(const Status& status) { return absl::IsUnavailable(status); }

// ---- resolve_references.cc ----
// Names of the volumes that containers mount. Others are not looked at, as the kubelet does it.
bool IsMounted(const kubeapi::PodView& pod, std::string_view volume);
// Of that name; null: the pod has none.
const json::Value* FindVolume(const kubeapi::PodView& pod, std::string_view name);
// An object; without content if it is missing and optional.
StatusOr<LookupResult> ReadObject(const ResolveInputs& in, const ObjectRef& ref, bool optional);
std::string_view KindName(ObjectRef::Kind kind);  // "configmap", "secret"

// ---- resolve_fields.cc ----
// fieldRef of a volume's file: metadata alone. Whole maps are lines of key="value", sorted.
StatusOr<std::string> PodField(const kubeapi::PodView& pod, std::string_view path);
// fieldRef of an environment variable.
StatusOr<std::string> EnvField(const ResolveInputs& in, std::string_view path);
// resourceFieldRef. `self`: the container whose environment it is; null: of a volume's file.
StatusOr<std::string> ResourceField(const ResolveInputs& in, const json::Value& selector,
                                    const kubeapi::ContainerView* self);

// ---- resolve_env.cc ----
class Env {
 public:
  using Vars = guestapi::Variables::List;
  using Late = std::vector<guestapi::LateVariable>;
  void Set(std::string_view name, std::string value) { vars_.Set(name, std::move(value)); }
  [[nodiscard]] const std::string* Find(std::string_view name) const { return vars_.Find(name); }
  // Only the guest can tell the value, from here on: later settings of the name have to be late, too.
  void SetLate(guestapi::LateVariable variable);
  [[nodiscard]] bool IsLate(std::string_view name) const { return late_names_.contains(name); }
  [[nodiscard]] const Vars& vars() const { return vars_.list(); }
  [[nodiscard]] const Late& late() const { return late_; }
  Vars Take() { return vars_.Take(); }
  Late TakeLate() { return std::move(late_); }
  // Something in it came from a Secret or ConfigMap.
  bool confidential = false;

 private:
  guestapi::Variables vars_;
  Late late_;
  absl::flat_hash_set<std::string> late_names_;
};
// envFrom, env and the Services' variables of one container.
Status ResolveEnv(const ResolveInputs& in, const kubeapi::ContainerView& container, Env* env);

// ---- resolve_probes.cc ----
std::optional<guestapi::Probe> ResolveProbe(const kubeapi::ContainerView& container, std::string_view field);
std::optional<guestapi::Handler> ResolveHook(const kubeapi::ContainerView& container, std::string_view field);

// ---- resolve_security.cc ----
StatusOr<guestapi::Security> ResolveSecurity(const kubeapi::PodView& pod, const kubeapi::ContainerView& container);
// The user that owns tokens: the one that all containers run as, if there is one.
std::optional<int64_t> CommonUser(const kubeapi::PodView& pod);

// ---- resolve_container.cc ----
// False: the pod VM does not have its image (yet).
bool HasImage(const ResolveInputs& in, const kubeapi::ContainerView& container);
// cgroup limits and weights of a container, by its own resources and the pod's.
guestapi::Resources ResolveResources(const kubeapi::PodView& pod, const kubeapi::ContainerView& container);
// Unavailable only; what else is wrong is in `spec->config_error`.
Status ResolveContainer(const ResolveInputs& in, const kubeapi::ContainerView& container,
                        guestapi::ContainerSpec* spec);

// ---- resolve_volumes.cc ----
StatusOr<guestapi::VolumeSpec> ResolveVolume(const ResolveInputs& in, const json::Value& volume);

// ---- resolve_network.cc ----
// Host name, hosts and resolv.conf.
Status ResolveNetwork(const ResolveInputs& in, guestapi::GuestSpec* spec, std::vector<ResolveResult::Event>* events);

}  // namespace vck::podvm::internal
