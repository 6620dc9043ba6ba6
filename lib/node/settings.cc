#include "node/settings.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/digest.h"
#include "kubeapi/quantity.h"
#include "node/host.h"

namespace vck::node {
namespace {

kubeapi::Quantity Amount(const std::string& text) {
  return kubeapi::Quantity::Parse(text).value_or(kubeapi::Quantity());
}
int64_t Bytes(const std::string& text) { return Amount(text).Value(); }
int64_t Milli(const std::string& text) { return Amount(text).MilliValue(); }

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

NodeThresholds ThresholdsOf(const Options& options) {
  return {.datastore_free = options.kube.disk_pressure / 100,
          .memory_free = options.kube.memory_pressure / 100,
          .report_every = options.kube.status_report};
}

kube::NodeLeaseOptions LeaseOf(const Options& options) {
  return {.node = options.kube.node_name,
          .duration = options.kube.lease_duration,
          .renew = options.kube.lease_duration / 4};
}

kube::LeaderElectionOptions ElectionOf(const Options& options) {
  const ElectionOptions& o = options.election;
  return {.ns = o.lease_namespace,
          .name = o.lease_name.empty() ? absl::StrCat("vch-kubelet-", options.kube.node_name) : o.lease_name,
          .identity = o.identity.empty() ? absl::StrCat(HostName(), "_", RandomHex(4)) : o.identity,
          .lease_duration = o.lease_duration,
          .renew_deadline = o.renew_deadline,
          .retry_period = o.retry_period};
}

vsphere::InventoryOptions InventoryOf(const VCenterOptions& options, const Placement& placement) {
  return {.folder = placement.folder,
          .resource_pool = placement.pool,
          .compute_resource = placement.compute,
          .datastores = {placement.datastore},
          .round = options.tick,
          .tick = options.tick,
          .relist = options.relist};
}

vsphere::CallsOptions CallsOf(const VCenterOptions& options) {
  return {.concurrency = options.concurrency,
          .task_timeout = options.task_timeout,
          .power_on_batch = options.power_on_delay,
          .power_on_max = static_cast<size_t>(options.power_on_batch)};
}

flow::WorkQueueOptions QueueOf(const Options& options, std::string name) {
  const ReconcilerOptions& r = options.reconcilers;
  return {.name = std::move(name),
          .backoff = {.initial = r.retry_initial, .max = r.retry_max, .factor = 2, .jitter = 0.2},
          .retries_per_second = r.retry_qps,
          .retry_burst = r.retry_burst};
}

VmReconcilerOptions VmReconcilerOf(const Options& options) {
  const PodOptions& pod = options.pod;
  VmReconcilerOptions out;
  out.vch_id = pod.vch_id;
  out.node_name = options.kube.node_name;
  out.tether_port = static_cast<uint16_t>(pod.tether_port);
  out.sysctls = podvm::SysctlAllowlist::Make(absl::StrSplit(pod.unsafe_sysctls, ',', absl::SkipWhitespace())).value();
  out.gateway = pod.gateway;
  if (!pod.dns.empty()) out.dns = absl::StrSplit(pod.dns, ',');
  out.orphan_interval = pod.orphan_interval;
  out.create_unknown = options.vcenter.create_unknown;
  out.power_on = {.initial = options.vcenter.power_on_retry_initial, .max = options.vcenter.power_on_retry_max};
  out.plan.orphan_grace = pod.orphan_grace;
  out.plan.boot_slack = pod.boot_slack;
  out.plan.stop_slack = pod.stop_slack;
  out.plan.halt_slack = pod.halt_slack;
  out.plan.save_slack = pod.save_slack;
  return out;
}

podvm::VmSettings PodVmOf(const Options& options, const Placement& placement, int64_t cpu_mhz_per_core) {
  const PodOptions& pod = options.pod;
  return {.guest_id = placement.guest_id,
          .hardware_version = placement.hardware_version,
          .network = placement.network,
          .datastore = placement.datastore_name,
          .iso_path = options.vcenter.bootstrap_iso,
          .cpu_mhz_per_core = std::max<int64_t>(1, cpu_mhz_per_core),
          .default_memory_bytes = Bytes(pod.default_memory),
          .default_cpu_milli = Milli(pod.default_cpu),
          .guest_overhead_bytes = Bytes(pod.memory_overhead),
          .guest_overhead_cpu_milli = Milli(pod.cpu_overhead),
          .default_ephemeral_bytes = Bytes(pod.default_ephemeral_storage)};
}

SpecSyncOptions SpecOf(const Options& options, std::string host_ip, const std::optional<std::string>& resolv_conf) {
  const PodOptions& pod = options.pod;
  SpecSyncOptions out{.node_name = options.kube.node_name,
                      .host_ip = std::move(host_ip),
                      .dns = {.cluster_dns = absl::StrSplit(pod.cluster_dns, ',', absl::SkipEmpty()),
                              .cluster_domain = pod.cluster_domain,
                              .host = std::nullopt},
                      .log_max_bytes = Bytes(pod.log_max_size),
                      .log_max_files = pod.log_max_files,
                      .streaming_list = options.kube.streaming_list,
                      .page_size = options.kube.page_size};
  if (resolv_conf) out.dns.host = podvm::ParseResolvConf(*resolv_conf);
  if (!pod.dns.empty()) {
    if (!out.dns.host) out.dns.host.emplace();
    out.dns.host->servers = absl::StrSplit(pod.dns, ',');
  }
  return out;
}

image::ImageServiceOptions ImagesOf(const Options& options) {
  const ImageOptions& images = options.images;
  return {.work_dir = images.work_dir.empty() ? absl::StrCat(options.pod.state_dir, "/images") : images.work_dir,
          .parallel_pulls = images.parallel_pulls,
          .gc_high = images.gc_high,
          .gc_low = images.gc_low,
          .gc_min_age = images.gc_min_age,
          .gc_max_age = images.gc_max_age,
          .gc_interval = images.gc_interval};
}

Resources OverheadOf(const Options& options) {
  return {.cpu_millis = Milli(options.pod.cpu_overhead), .memory_bytes = Bytes(options.pod.memory_overhead)};
}

}  // namespace vck::node
