#include "podvm/resolve_spec.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "guestapi/frame.h"
#include "guestapi/identity.h"
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
    if (!internal::HasImage(in, c)) {
      // Its disk is still to be added: an ephemeral container comes with it, and all others stay as they are.
      if (c.kind() != ContainerView::Kind::kEphemeral) pending = true;
      return;
    }
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
