#include "podvm/resolve_spec.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "guestapi/frame.h"
#include "guestapi/identity.h"
#include "kubeapi/resources.h"
#include "podvm/go_quote.h"
#include "podvm/resolve_parts.h"
#include "podvm/status.h"
#include "podvm/sysctls.h"

namespace vck::podvm {
namespace {

using kubeapi::ContainerView;
using kubeapi::PodView;

guestapi::RestartPolicy PolicyOf(const PodView& pod) {
  switch (pod.restart_policy()) {
    case kubeapi::RestartPolicy::kOnFailure:
      return guestapi::RestartPolicy::kOnFailure;
    case kubeapi::RestartPolicy::kNever:
      return guestapi::RestartPolicy::kNever;
    case kubeapi::RestartPolicy::kAlways:
      break;
  }
  return guestapi::RestartPolicy::kAlways;
}

// As the kubelet's eviction manager looks at them (localStorageEviction), with its words.
void ResolveStorageLimits(const PodView& pod, guestapi::GuestSpec* spec) {
  using Kind = guestapi::StorageLimit::Kind;
  constexpr int64_t kSystemCritical = 2'000'000'000;
  constexpr std::string_view kStorage = "ephemeral-storage";
  if (json::Int(pod.spec(), "priority") >= kSystemCritical) return;
  const auto add = [spec](Kind kind, std::string_view name, const json::Value* limit, const auto& message) {
    if (limit == nullptr) return;
    auto size = kubeapi::Quantity::Parse(*limit);
    if (!size.ok() || size->Value() <= 0) return;
    spec->storage_limits.push_back(
        {.kind = kind,
         .name = std::string(name),
         .bytes = size->Value(),
         .message = message(std::string(limit->is_string() ? json::AsString(*limit) : size->ToString()))});
  };
  for (const json::Value& volume : pod.volumes()) {
    const json::Value* empty_dir = json::Get(volume, "emptyDir");
    const std::string_view name = json::String(volume, "name");
    // What is in memory cannot become larger.
    if (json::String(empty_dir, "medium") == "Memory" || !internal::IsMounted(pod, name)) continue;
    add(Kind::kVolume, name, json::Get(empty_dir, "sizeLimit"), [&](const std::string& size) {
      return absl::StrCat("Usage of EmptyDir volume ", GoQuote(name), " exceeds the limit ", GoQuote(size), ". ");
    });
  }
  if (const kubeapi::Quantity all = kubeapi::PodLimits(pod, kStorage); !all.IsZero()) {
    spec->storage_limits.push_back(
        {.kind = Kind::kPod,
         .bytes = std::max<int64_t>(1, all.Value()),
         .message = absl::StrCat("Pod ephemeral local storage usage exceeds the total limit of containers ",
                                 all.ToBinaryString(), ". ")});
  }
  for (const json::Value& c : pod.containers()) {
    const std::string_view name = json::String(c, "name");
    const json::Value* limits = json::Get(json::Get(c, "resources"), "limits");
    add(Kind::kContainer, name, json::Get(limits, kStorage), [&](const std::string& size) {
      return absl::StrCat("Container ", name, " exceeded its local ephemeral storage limit ", GoQuote(size), ". ");
    });
  }
}

void ResolveOwnFields(const ResolveInputs& in, guestapi::GuestSpec* spec) {
  const PodView& pod = *in.pod;
  spec->pod_uid = pod.uid();
  spec->pod_namespace = pod.ns();
  spec->pod_name = pod.name();
  spec->revision = in.revision;
  spec->generation = std::max<int64_t>(0, pod.generation());
  spec->grace_seconds = std::clamp<int64_t>(pod.termination_grace_seconds(), 0, guestapi::kMaxSpecSeconds);
  spec->restart_policy = PolicyOf(pod);
  if (auto deadline = pod.active_deadline_seconds()) {
    spec->active_deadline_seconds = std::clamp<int64_t>(*deadline, 0, guestapi::kMaxSpecSeconds);
    if (const auto start = StartTime(pod)) spec->start_time = *start;
  }
  for (size_t i = 0; i < in.images.size(); ++i) {
    if (in.images[i].second.empty()) continue;  // the scratch disk
    spec->images.push_back({.id = in.images[i].second, .unit = guestapi::UnitOfDisk(static_cast<int>(i))});
  }
  spec->host_network = pod.host_network();
  spec->host_pid = json::Bool(pod.spec(), "hostPID");
  spec->host_ipc = json::Bool(pod.spec(), "hostIPC");
  spec->share_processes = json::Bool(pod.spec(), "shareProcessNamespace");
  const json::Value* security = json::Get(pod.spec(), "securityContext");
  for (const json::Value& sysctl : json::Items(security, "sysctls")) {
    spec->sysctls.emplace_back(NormalizeSysctl(json::String(sysctl, "name")), json::String(sysctl, "value"));
  }
  if (json::Get(security, "fsGroup") != nullptr) spec->fs_group = std::max<int64_t>(0, json::Int(security, "fsGroup"));
  for (const json::Value& group : json::Items(security, "supplementalGroups")) {
    if (group.is_int64() && group.get_int64() >= 0) spec->supplemental_groups.push_back(group.get_int64());
  }
  ResolveStorageLimits(pod, spec);
  spec->log_max_bytes = in.log_max_bytes;
  spec->log_max_files = in.log_max_files;
}

// All of it is one message to the guest.
Status CheckSize(const guestapi::GuestSpec& spec) {
  size_t bytes = spec.hosts_file.size() + spec.resolv_conf.size();
  for (const auto& volume : spec.volumes) {
    for (const auto& file : volume.files) bytes += file.path.size() + file.content.size();
  }
  for (const auto& container : spec.containers) {
    for (const auto& [name, value] : container.env) bytes += name.size() + value.size();
    for (const auto* words : {&container.command, &container.args}) {
      for (const std::string& word : *words) bytes += word.size();
    }
  }
  // JSON makes at most six bytes of one; most often it is far less than that, so look closely only then.
  if (bytes < guestapi::kMaxFrameBytes / 8) return absl::OkStatus();
  const size_t size = guestapi::EncodeFrame(spec).size();
  if (size <= guestapi::kMaxFrameBytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("the pod with its ConfigMaps and Secrets takes ", size >> 20,
                                                   " MiB, more than the ", guestapi::kMaxFrameBytes >> 20,
                                                   " MiB that a pod VM can be told"));
}

}  // namespace

ResolveResult ResolveSpec(const ResolveInputs& in) {
  const PodView& pod = *in.pod;
  ResolveResult result;
  guestapi::GuestSpec spec;
  ResolveOwnFields(in, &spec);
  bool pending = false;
  // What has failed is told before what is still being read; the first failure gives the reason.
  const auto fail = [&](std::string_view event, std::string message) {
    result.events.push_back({.warning = true, .reason = std::string(event), .message = message});
    if (result.reason.empty()) result.reason = "ContainerCreating", result.message = std::move(message);
  };
  for (const json::Value& volume : pod.volumes()) {
    const std::string_view name = json::String(volume, "name");
    if (!internal::IsMounted(pod, name)) continue;
    auto resolved = internal::ResolveVolume(in, volume);
    if (resolved.ok()) {
      spec.volumes.push_back(*std::move(resolved));
    } else if (internal::IsPending(resolved.status())) {
      pending = true;
    } else {
      fail("FailedMount",
           absl::StrCat("MountVolume.SetUp failed for volume ", GoQuote(name), " : ", resolved.status().message()));
    }
  }
  if (Status network = internal::ResolveNetwork(in, &spec, &result.events); internal::IsPending(network)) {
    pending = true;
  } else if (!network.ok()) {
    fail("FailedCreatePodSandBox", absl::StrCat("Failed to create pod sandbox: ", network.message()));
  }
  pod.ForEachContainer([&](const ContainerView& c) {
    // It comes with its disk; any other has its place in the pod without it, too.
    if (c.kind() == ContainerView::Kind::kEphemeral && !internal::HasImage(in, c)) return;
    guestapi::ContainerSpec& container = spec.containers.emplace_back();
    if (!internal::ResolveContainer(in, c, &container).ok()) pending = true;
    if (!container.config_error.empty()) {
      result.events.push_back(
          {.warning = true, .reason = "Failed", .message = absl::StrCat("Error: ", container.config_error)});
    }
  });
  if (pending || !result.reason.empty()) return result;
  if (Status size = CheckSize(spec); !size.ok()) {
    fail("FailedCreatePodSandBox", absl::StrCat("Failed to create pod sandbox: ", size.message()));
    return result;
  }
  result.spec = std::move(spec);
  return result;
}

}  // namespace vck::podvm
