#include "node/part_options.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/digest.h"
#include "base/log.h"
#include "kubeapi/quantity.h"
#include "node/host.h"

namespace vck::node {
namespace {

int64_t Bytes(const std::string& quantity) {
  auto parsed = kubeapi::Quantity::Parse(quantity);
  return parsed.ok() ? parsed->Value() : 0;
}
int64_t Milli(const std::string& quantity) {
  auto parsed = kubeapi::Quantity::Parse(quantity);
  return parsed.ok() ? parsed->MilliValue() : 0;
}

}  // namespace

StatusOr<NodeIdentity> IdentityOf(const Options& options, const std::string& host_ip) {
  NodeIdentity identity{.name = options.kube.node_name,
                        .vch_id = options.pod.vch_id,
                        .internal_ip = host_ip,
                        .kubelet_port = static_cast<uint16_t>(options.api.port),
                        .boot_id = FirstLine("/proc/sys/kernel/random/boot_id"),
                        .machine_id = FirstLine("/etc/machine-id")};
  ASSIGN_OR_RETURN(identity.labels, ParseLabels(options.kube.node_labels));
  for (std::string_view text : absl::StrSplit(options.kube.taints, ',', absl::SkipWhitespace())) {
    ASSIGN_OR_RETURN(Taint taint, ParseTaint(text));
    identity.taints.push_back(std::move(taint));
  }
  return identity;
}

NodeThresholds ThresholdsOf(const KubeOptions& options) {
  return {.datastore_free = options.disk_pressure / 100,
          .memory_free = options.memory_pressure / 100,
          .report_every = options.status_report};
}

kube::LeaderElectionOptions ElectionOptionsOf(const Options& options) {
  const ElectionOptions& o = options.election;
  return {.ns = o.lease_namespace,
          .name = o.lease_name.empty() ? absl::StrCat("vch-kubelet-", options.kube.node_name) : o.lease_name,
          .identity = o.identity.empty() ? absl::StrCat(HostName(), "_", RandomHex(4)) : o.identity,
          .lease_duration = o.lease_duration,
          .renew_deadline = o.renew_deadline,
          .retry_period = o.retry_period};
}

flow::WorkQueueOptions QueueOptions(std::string name, const ReconcilerOptions& options) {
  return {.name = std::move(name),
          .backoff = {.initial = options.retry_initial, .max = options.retry_max, .factor = 2, .jitter = 0.2},
          .retries_per_second = options.retry_qps,
          .retry_burst = options.retry_burst};
}

SpecSyncOptions SpecOptions(const Options& options, const std::string& host_ip) {
  const PodOptions& o = options.pod;
  SpecSyncOptions spec{.node_name = options.kube.node_name,
                       .host_ip = host_ip,
                       .dns = {.cluster_dns = absl::StrSplit(o.cluster_dns, ',', absl::SkipEmpty()),
                               .cluster_domain = o.cluster_domain,
                               .host = std::nullopt},
                       .log_max_bytes = Bytes(o.log_max_size),
                       .log_max_files = o.log_max_files,
                       .streaming_list = options.kube.streaming_list,
                       .page_size = options.kube.page_size};
  if (!o.resolv_conf.empty()) {
    auto text = ReadFile(o.resolv_conf);
    if (!text.ok()) Log(Severity::kWarning, "There is no DNS configuration of the host's", {{"err", text.status()}});
    spec.dns.host = podvm::ParseResolvConf(text.value_or(""));
  }
  if (!o.dns.empty()) {
    if (!spec.dns.host) spec.dns.host.emplace();
    spec.dns.host->servers = absl::StrSplit(o.dns, ',');
  }
  return spec;
}

VmReconcilerOptions VmOptions(const Options& options) {
  const PodOptions& o = options.pod;
  VmReconcilerOptions out;
  out.vch_id = o.vch_id;
  out.node_name = options.kube.node_name;
  out.tether_port = static_cast<uint16_t>(o.tether_port);
  // Validate() has seen it.
  out.sysctls = podvm::SysctlAllowlist::Make(absl::StrSplit(o.unsafe_sysctls, ',', absl::SkipWhitespace())).value();
  out.gateway = o.gateway;
  if (!o.dns.empty()) out.dns = absl::StrSplit(o.dns, ',');
  out.orphan_interval = o.orphan_interval;
  out.create_unknown = options.vcenter.create_unknown;
  out.power_on = {.initial = options.vcenter.power_on_retry_initial, .max = options.vcenter.power_on_retry_max};
  out.plan.orphan_grace = o.orphan_grace;
  out.plan.boot_slack = o.boot_slack;
  out.plan.stop_slack = o.stop_slack;
  out.plan.halt_slack = o.halt_slack;
  out.plan.save_slack = o.save_slack;
  return out;
}

podvm::VmSettings VmSettingsOf(const Options& options, const Placement& placement, const vsphere::Capacity& capacity) {
  podvm::VmSettings s;
  s.guest_id = placement.guest_id;
  s.hardware_version = placement.hardware_version;
  s.network = placement.network;
  s.datastore = placement.datastore_name;
  s.iso_path = options.vcenter.bootstrap_iso;
  s.cpu_mhz_per_core = std::max<int64_t>(1, capacity.MhzPerCore());
  s.default_memory_bytes = Bytes(options.pod.default_memory);
  s.default_cpu_milli = Milli(options.pod.default_cpu);
  s.default_ephemeral_bytes = Bytes(options.pod.default_ephemeral_storage);
  s.guest_overhead_bytes = Bytes(options.pod.memory_overhead);
  return s;
}

Resources OverheadOf(const PodOptions& options) {
  return {.cpu_millis = Milli(options.cpu_overhead), .memory_bytes = Bytes(options.memory_overhead)};
}

}  // namespace vck::node
