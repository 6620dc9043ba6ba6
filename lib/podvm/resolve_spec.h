// ResolveSpec: a pod and the objects it refers to -> GuestSpec, in which nothing refers to the Kubernetes API any more.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guestapi/spec.h"
#include "kubeapi/pod_view.h"

namespace vck::podvm {

// A ConfigMap or Secret that the pod refers to.
struct ObjectRef {
  enum class Kind { kConfigMap, kSecret };
  Kind kind = Kind::kConfigMap;
  std::string name;
  friend auto operator<=>(const ObjectRef&, const ObjectRef&) = default;
};
struct LookupResult {
  enum class State { kFound, kMissing, kUnknown };  // unknown: not listed yet
  State state = State::kUnknown;
  // The decoded data (of a Secret: after base64).
  const std::map<std::string, std::string>* data = nullptr;
};
using Lookup = std::function<LookupResult(const ObjectRef&)>;

struct ResolveInputs {
  const kubeapi::PodView* pod = nullptr;
  int64_t revision = 0;
  std::string_view pod_ip, host_ip, node_name;
  // Of the node, for resourceFieldRef without a limit.
  int64_t allocatable_cpu_milli = 0, allocatable_memory_bytes = 0;
  Lookup lookup;
};

struct ResolveResult {
  // Set if everything is there.
  std::optional<guestapi::GuestSpec> spec;
  // Otherwise the waiting reason (CreateContainerConfigError), or "" while objects are still being read.
  std::string reason, message;
};

ResolveResult ResolveSpec(const ResolveInputs& in);
// What has to be watched for this pod, each once.
std::vector<ObjectRef> ReferencedObjects(const kubeapi::PodView& pod);

// $(NAME) with the value from `env`, $$ is $, anything else stays (k8s.io/kubernetes
// third_party/forked/golang/expansion).
std::string Expand(std::string_view text, const std::function<const std::string*(std::string_view)>& env);

}  // namespace vck::podvm
