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

#include "absl/time/time.h"
#include "base/status.h"
#include "json/json.h"

namespace vck::guestapi {

// The longest time in a spec, some 30 years: sums with it stay far from overflow.
inline constexpr int64_t kMaxSpecSeconds = 1'000'000'000;
inline constexpr int kVersion = 1;  // of the whole protocol; a peer with another major version is refused with a reason

enum class RestartPolicy { kAlways, kOnFailure, kNever };

// What a probe or a hook does.
struct Handler {
  enum class Kind { kExec, kHttp, kTcp, kGrpc, kSleep };  // kGrpc: probes only, kSleep: hooks only
  Kind kind = Kind::kExec;
  std::vector<std::string> command;  // kExec
  std::string host;                  // kHttp, kTcp; "": the pod's IP
  int port = 0;                      // a named port is resolved by the kubelet; 0: there is no such port
  std::string path = "/";            // kHttp
  bool https = false;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string service;  // kGrpc
  int64_t seconds = 0;  // kSleep
  friend bool operator==(const Handler&, const Handler&) = default;
};

// core/v1 Probe; defaults are the API's.
struct Probe {
  Handler handler;
  int initial_delay = 0, timeout = 1, period = 10;  // seconds
  int success_threshold = 1, failure_threshold = 3;
  std::optional<int64_t> grace_seconds;  // terminationGracePeriodSeconds
  friend bool operator==(const Probe&, const Probe&) = default;
};

struct Mount {
  std::string volume;    // VolumeSpec.name
  std::string path;      // in the container
  std::string sub_path;  // $(VAR) already expanded
  bool read_only = false;
  bool bidirectional = false;  // mountPropagation; host_to_container likewise
  bool host_to_container = false;
  friend bool operator==(const Mount&, const Mount&) = default;
};

// A container's security context; the pod's part of it is already in here.
struct Security {
  std::optional<int64_t> user, group;  // absent: the image's
  bool run_as_non_root = false;
  bool privileged = false;
  bool read_only_root = false;
  bool no_new_privileges = false;                                // allowPrivilegeEscalation: false
  bool unmasked_proc = false;                                    // procMount: Unmasked
  std::vector<std::string> add_capabilities, drop_capabilities;  // "NET_ADMIN", "ALL"
  enum class Seccomp { kUnconfined, kRuntimeDefault };
  Seccomp seccomp = Seccomp::kUnconfined;
  friend bool operator==(const Security&, const Security&) = default;
};

// core/v1 ContainerRestartRule with the action Restart.
struct RestartRule {
  bool negated = false;  // NotIn
  std::vector<int> exit_codes;
  friend bool operator==(const RestartRule&, const RestartRule&) = default;
};

// cgroup limits and weights; 0: none.
struct Resources {
  int64_t cpu_limit_milli = 0, cpu_request_milli = 0;
  int64_t memory_limit_bytes = 0, memory_request_bytes = 0;
  friend bool operator==(const Resources&, const Resources&) = default;
};

// A key of a file in an emptyDir (core/v1 FileKeySelector).
struct EnvFileKey {
  std::string volume;  // VolumeSpec.name
  std::string path;    // in the volume, which links cannot lead out of
  std::string key;
  bool optional = false;  // the file has to be there all the same
  friend bool operator==(const EnvFileKey&, const EnvFileKey&) = default;
};

// A variable whose value is known only when the container is started.
struct LateVariable {
  std::string name;
  std::optional<EnvFileKey> file;
  std::string text;  // without a file: $(NAME) becomes the value of a variable, $$ is $
  friend bool operator==(const LateVariable&, const LateVariable&) = default;
};

struct ContainerSpec {
  enum class Kind { kInit, kSidecar, kMain, kEphemeral };  // sidecar: an init container with restartPolicy Always
  std::string name;
  Kind kind = Kind::kMain;
  std::string image;     // as the pod names it
  std::string image_id;  // repo@sha256:… of GuestSpec.images; empty where the runtime does not know images
  std::vector<std::string> command, args;  // $(VAR) already expanded; override the image's entry point and arguments
  std::vector<std::pair<std::string, std::string>> env;  // over the image's
  // Variables from files, and those that refer to them, in the pod's order; they are set over `env`. If there are any,
  // command, args and the mounts' sub_path still have to be expanded, too (guestapi/late_env.h).
  std::vector<LateVariable> late_env;
  std::string working_dir;  // "": the image's
  std::optional<Probe> startup, readiness, liveness;
  std::optional<Handler> post_start, pre_stop;
  std::string stop_signal;  // lifecycle.stopSignal; "": the image's, else SIGTERM
  std::vector<Mount> mounts;
  Security security;
  // As Resources.
  int64_t cpu_limit_milli = 0, cpu_request_milli = 0;
  int64_t memory_limit_bytes = 0, memory_request_bytes = 0;
  // Others take effect by a restart of the container (resizePolicy RestartContainer).
  bool restart_for_cpu = false, restart_for_memory = false;
  bool tty = false, stdin = false, stdin_once = false;
  std::string termination_message_path = "/dev/termination-log";
  bool termination_message_from_logs = false;  // terminationMessagePolicy: FallbackToLogsOnError
  // How an exit leads to a restart where it differs from the pod's policy (restartPolicy of a container).
  std::optional<RestartPolicy> restart_policy;
  // An exit code that one of them matches leads to a restart, whatever the policy (restartPolicyRules).
  std::vector<RestartRule> restart_rules;
  std::string target;  // ephemeral: the container whose process namespace it shares
  // Why it can't be started: it waits with CreateContainerConfigError until a later revision has none. What is in the
  // other fields is not complete then.
  std::string config_error;
  // This VM does not have its image yet: it is not started until a later revision says otherwise. One that runs goes on
  // with the image that it has.
  bool awaits_image = false;
  // Environment, command or arguments hold what came from a Secret or ConfigMap: not to be written to a disk.
  bool confidential = false;

  [[nodiscard]] Resources resources() const {
    return {cpu_limit_milli, cpu_request_milli, memory_limit_bytes, memory_request_bytes};
  }
  void set_resources(const Resources& r) {
    cpu_limit_milli = r.cpu_limit_milli, cpu_request_milli = r.cpu_request_milli;
    memory_limit_bytes = r.memory_limit_bytes, memory_request_bytes = r.memory_request_bytes;
  }
  friend bool operator==(const ContainerSpec&, const ContainerSpec&) = default;
};

// An image's disk in this VM: a squashfs with the image's configuration as config.json and its files in rootfs/.
struct ImageSpec {
  std::string id;  // repo@sha256:…
  int unit = 0;    // SCSI unit
  friend bool operator==(const ImageSpec&, const ImageSpec&) = default;
};

// A file of a volume. Its content is in memory only: never written to a disk.
struct FileSpec {
  std::string path;  // relative, without ".."
  std::string content;
  int mode = 0644;
  std::optional<int64_t> user;  // its owner; absent: root
  friend bool operator==(const FileSpec&, const FileSpec&) = default;
};

struct VolumeSpec {
  // files: configMap, secret, downwardAPI and projected, in the atomic-writer layout, read-only for containers.
  enum class Kind { kEmptyDir, kMemory, kFiles, kHostPath };
  std::string name;
  Kind kind = Kind::kEmptyDir;
  int64_t size_limit = 0;  // bytes; 0: none
  std::string host_path;   // of the guest's own file system
  std::string host_path_type;
  std::vector<FileSpec> files;
  friend bool operator==(const VolumeSpec&, const VolumeSpec&) = default;
};

// A limit whose excess evicts the pod: of an emptyDir on the disk, of all that the pod writes, or of a container's
// writable layer and logs. In the order in which they are looked at.
struct StorageLimit {
  enum class Kind { kVolume, kPod, kContainer };
  Kind kind = Kind::kPod;
  std::string name;  // of the volume or container
  int64_t bytes = 0;
  std::string message;  // why the pod is evicted then
  friend bool operator==(const StorageLimit&, const StorageLimit&) = default;
};

struct GuestSpec {
  std::string pod_uid, pod_namespace, pod_name;
  int64_t revision = 0;    // grows with every push; the tether ignores an older one
  int64_t generation = 0;  // the pod's metadata.generation that this was made from: becomes observedGeneration
  RestartPolicy restart_policy = RestartPolicy::kAlways;
  std::optional<int64_t> active_deadline_seconds;
  // What the deadline counts from: status.startTime; on the wire by the guest's clock. InfinitePast: unknown, and it
  // counts from the first spec.
  absl::Time start_time = absl::InfinitePast();
  int64_t grace_seconds = 30;  // terminationGracePeriodSeconds: for stops that nobody sent a StopRequest for
  // In the pod's order; init containers and sidecars first.
  std::vector<ContainerSpec> containers;
  std::vector<ImageSpec> images;
  std::vector<VolumeSpec> volumes;
  std::vector<StorageLimit> storage_limits;
  // Whole files, as the kubelet writes them for every container that mounts nothing else at their paths: "" leaves the
  // image's.
  std::string hosts_file, resolv_conf;
  std::string host_name;  // of the UTS namespace: hostname, or the FQDN with setHostnameAsFQDN; the node's with
                          // host_network
  bool host_network = false, host_pid = false, host_ipc = false, share_processes = false;
  std::vector<std::pair<std::string, std::string>> sysctls;
  std::optional<int64_t> fs_group;
  std::vector<int64_t> supplemental_groups;
  // Answers to this spec's log policy: containerLogMaxSize, containerLogMaxFiles.
  int64_t log_max_bytes = int64_t{10} << 20;
  int log_max_files = 5;
  friend bool operator==(const GuestSpec&, const GuestSpec&) = default;
};

// Stop request: run preStop, TERM, then KILL when grace is over. A later request may only shorten the grace.
struct StopRequest {
  int64_t grace_seconds = 30;
  std::string reason;
  // The guest stays on until it is told to power off, for its logs to be read. The last request counts.
  bool stay_on = false;
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
