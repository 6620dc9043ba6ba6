// ResolveSpec: a pod and the objects it refers to -> GuestSpec, in which nothing refers to the Kubernetes API any more.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guestapi/spec.h"
#include "kubeapi/pod_view.h"
#include "podvm/resolv_conf.h"
#include "podvm/service_env.h"

namespace vck::podvm {

// A ConfigMap or Secret that the pod refers to.
struct ObjectRef {
  enum class Kind { kConfigMap, kSecret };
  Kind kind = Kind::kConfigMap;
  std::string name;
  friend auto operator<=>(const ObjectRef&, const ObjectRef&) = default;
};
struct LookupResult {
  // kUnknown: not read yet; kFailed: it could not be read for some time, `error` says why.
  enum class State { kFound, kMissing, kUnknown, kFailed };
  State state = State::kUnknown;
  // The decoded content: `data` (of a Secret: after base64) and a ConfigMap's binaryData. Null: none.
  const std::map<std::string, std::string>* data = nullptr;
  const std::map<std::string, std::string>* binary = nullptr;
  std::string error = {};
  // Another one for other content.
  std::string_view version = {};
};
using Lookup = std::function<LookupResult(const ObjectRef&)>;

// A token of the pod's service account, as a projected volume asks for it.
struct TokenRef {
  std::string audience;  // "": the API server's
  int64_t expiration_seconds = 3600;
  friend auto operator<=>(const TokenRef&, const TokenRef&) = default;
};
struct TokenResult {
  enum class State { kReady, kPending, kFailed };
  State state = State::kPending;
  std::string_view token = {};
  std::string error = {};  // kFailed
};
using TokenLookup = std::function<TokenResult(const TokenRef&)>;

// Of the node: what a resourceFieldRef to a limit that is not set reads as.
struct Allocatable {
  int64_t cpu_milli = 0, memory_bytes = 0, ephemeral_bytes = 0;
};

struct ResolveInputs {
  const kubeapi::PodView* pod = nullptr;
  int64_t revision = 0;
  std::string_view pod_ip, host_ip, node_name;
  Allocatable allocatable;
  Lookup lookup;
  TokenLookup token;
  // Of the Services that the pod is told about; null while they are not known.
  const ServiceEnv* service_env = nullptr;
  DnsSettings dns;
  int64_t log_max_bytes = int64_t{10} << 20;
  int log_max_files = 5;
  // Images as the pod names them, with their ids, in the order of the VM's disks. Empty where guests do not know
  // images. A container whose image is not among them waits alone (awaits_image); an ephemeral one is left out.
  std::vector<std::pair<std::string, std::string>> images;
};

struct ResolveResult {
  struct Event {
    bool warning = true;
    std::string reason, message;
    friend auto operator<=>(const Event&, const Event&) = default;
  };
  // Set unless something that all of the pod needs is missing. A container whose configuration can't be resolved has a
  // config_error in it, and keeps no others from running, as with the kubelet.
  std::optional<guestapi::GuestSpec> spec;
  // Otherwise the waiting reason of the containers; "" while objects are still being read.
  std::string reason, message;
  // What people should be told, with a spec or without, in the kubelet's words.
  std::vector<Event> events;
};

ResolveResult ResolveSpec(const ResolveInputs& in);

// What has to be watched for this pod, each once: of its containers' environments and of the volumes that they mount.
std::vector<ObjectRef> ReferencedObjects(const kubeapi::PodView& pod);
std::vector<TokenRef> ReferencedTokens(const kubeapi::PodView& pod);
// Names of the Secrets for registries (spec.imagePullSecrets).
std::vector<std::string> PullSecretNames(const kubeapi::PodView& pod);

}  // namespace vck::podvm
