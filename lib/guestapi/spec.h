// GuestSpec: what a pod VM shall run. Resolved by the kubelet (nothing in it refers to the Kubernetes API), pushed over
// the channel as versioned JSON, applied by the tether.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "json/json.h"

namespace vck::guestapi {

inline constexpr int kVersion = 1;  // of the whole protocol; a peer with another major version is refused with a reason

enum class RestartPolicy { kAlways, kOnFailure, kNever };

struct ContainerSpec {
  enum class Kind { kInit, kSidecar, kMain, kEphemeral };  // sidecar: an init container with restartPolicy Always
  std::string name;
  Kind kind = Kind::kMain;
  std::string image;                       // as the pod names it
  std::string image_id;                    // repo@sha256:…; empty where the runtime does not know images
  std::vector<std::string> command, args;  // $(VAR) already expanded
  std::vector<std::pair<std::string, std::string>> env;
  std::string working_dir;
  bool has_readiness_probe = false;  // until probes are carried: such a container is never Ready by itself
  bool has_startup_probe = false;
};

struct GuestSpec {
  std::string pod_uid, pod_namespace, pod_name;
  int64_t revision = 0;    // grows with every push; the tether ignores an older one
  int64_t generation = 0;  // the pod's metadata.generation that this was made from: becomes observedGeneration
  RestartPolicy restart_policy = RestartPolicy::kAlways;
  std::optional<int64_t> active_deadline_seconds;
  int64_t grace_seconds = 30;  // terminationGracePeriodSeconds: for stops that nobody sent a StopRequest for
  // In the pod's order; init containers and sidecars first.
  std::vector<ContainerSpec> containers;
  std::vector<std::pair<std::string, std::string>> hosts;  // room for resolv.conf and hosts
};

// Stop request: run preStop, TERM, then KILL when grace is over. A later request may only shorten the grace.
struct StopRequest {
  int64_t grace_seconds = 30;
  std::string reason;
};

// JSON. Decoding skips unknown fields; InvalidArgument names the field that is missing or of the wrong type.
std::string Encode(const GuestSpec& spec);
StatusOr<GuestSpec> DecodeSpec(std::string_view text);
std::string Encode(const StopRequest& request);
StatusOr<StopRequest> DecodeStop(std::string_view text);

json::Object ToJson(const GuestSpec& spec, const boost::json::storage_ptr& storage = {});
StatusOr<GuestSpec> SpecFromJson(const json::Value& value);
json::Object ToJson(const StopRequest& request, const boost::json::storage_ptr& storage = {});
StatusOr<StopRequest> StopFromJson(const json::Value& value);

}  // namespace vck::guestapi
