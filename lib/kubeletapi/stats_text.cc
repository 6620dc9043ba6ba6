#include "kubeletapi/stats_text.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace vck::kubeletapi {
namespace {

constexpr int64_t kGiga = 1'000'000'000;
constexpr std::string_view kPodsGroup = "/kubepods";
constexpr std::string_view kScratch = "scratch";  // the device of container_fs_usage_bytes
// Of CPU bandwidth control, in the guest as on any node.
constexpr int64_t kCpuPeriodMicros = 100'000;

// ---- JSON ----

void Separate(std::string* out) {
  if (out->back() != '{' && out->back() != '[') out->push_back(',');
}
void Key(std::string_view key, std::string* out) {
  Separate(out);
  absl::StrAppend(out, "\"", key, "\":");
}
void Field(std::string_view key, int64_t value, std::string* out) {
  if (value < 0) return;
  Key(key, out);
  absl::StrAppend(out, value);
}
void Field(std::string_view key, std::string_view value, std::string* out) {
  Key(key, out);
  absl::StrAppend(out, "\"", EscapeLabel(value), "\"");
}
// As metav1.Time.
void Field(std::string_view key, absl::Time value, std::string* out) {
  Key(key, out);
  if (value == absl::InfinitePast()) {
    out->append("null");
  } else {
    absl::StrAppend(out, "\"", absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", value, absl::UTCTimeZone()), "\"");
  }
}

void CpuField(absl::Time time, int64_t nano_cores, int64_t nanos, std::string* out) {
  if (nanos < 0) return;
  Key("cpu", out);
  out->push_back('{');
  Field("time", time, out);
  Field("usageNanoCores", nano_cores, out);
  Field("usageCoreNanoSeconds", nanos, out);
  out->push_back('}');
}

void MemoryField(absl::Time time, const Usage& usage, int64_t limit, std::string* out) {
  if (usage.memory_bytes < 0) return;
  Key("memory", out);
  out->push_back('{');
  Field("time", time, out);
  if (limit >= 0 && usage.working_set_bytes >= 0) {
    Field("availableBytes", std::max<int64_t>(0, limit - usage.working_set_bytes), out);
  }
  Field("usageBytes", usage.memory_bytes, out);
  Field("workingSetBytes", usage.working_set_bytes, out);
  Field("rssBytes", usage.rss_bytes, out);
  Field("pageFaults", usage.page_faults, out);
  Field("majorPageFaults", usage.major_page_faults, out);
  out->push_back('}');
}

void SwapField(absl::Time time, const Usage& usage, std::string* out) {
  if (usage.swap_bytes < 0) return;
  Key("swap", out);
  out->push_back('{');
  Field("time", time, out);
  Field("swapUsageBytes", usage.swap_bytes, out);
  out->push_back('}');
}

void FsField(std::string_view key, absl::Time time, const FileSystemStats& fs, std::string* out) {
  if (fs.capacity_bytes < 0) return;
  Key(key, out);
  out->push_back('{');
  Field("time", time, out);
  Field("availableBytes", fs.available_bytes, out);
  Field("capacityBytes", fs.capacity_bytes, out);
  Field("usedBytes", fs.used_bytes, out);
  Field("inodesFree", fs.free_inodes, out);
  Field("inodes", fs.inodes, out);
  if (fs.inodes >= 0 && fs.free_inodes >= 0) Field("inodesUsed", fs.inodes - fs.free_inodes, out);
  out->push_back('}');
}

// `tree` of the file system: it shares capacity and room with everything there.
void TreeFields(absl::Time time, const FileSystemStats& fs, const TreeStats& tree, std::string* out) {
  Field("time", time, out);
  Field("availableBytes", fs.available_bytes, out);
  Field("capacityBytes", fs.capacity_bytes, out);
  Field("usedBytes", tree.used_bytes, out);
  Field("inodesFree", fs.free_inodes, out);
  Field("inodes", fs.inodes, out);
  Field("inodesUsed", tree.inodes_used, out);
}

void TreeField(std::string_view key, const PodStats& pod, const TreeStats& tree, std::string* out) {
  if (tree.used_bytes < 0) return;
  Key(key, out);
  out->push_back('{');
  TreeFields(pod.time, pod.scratch, tree, out);
  out->push_back('}');
}

void VolumesField(const PodStats& pod, std::string* out) {
  if (pod.volumes.empty()) return;
  Key("volume", out);
  out->push_back('[');
  for (const VolumeStats& volume : pod.volumes) {
    Separate(out);
    out->push_back('{');
    TreeFields(pod.time, pod.scratch, volume.usage, out);
    Field("name", volume.name, out);
    out->push_back('}');
  }
  out->push_back(']');
}

void InterfaceFields(const InterfaceStats& interface, std::string* out) {
  Field("name", interface.name, out);
  Field("rxBytes", interface.rx_bytes, out);
  Field("rxErrors", interface.rx_errors, out);
  Field("txBytes", interface.tx_bytes, out);
  Field("txErrors", interface.tx_errors, out);
}

// The first is the default one.
void NetworkField(absl::Time time, std::span<const InterfaceStats> interfaces, std::string* out) {
  Key("network", out);
  out->push_back('{');
  Field("time", time, out);
  InterfaceFields(interfaces.front(), out);
  Key("interfaces", out);
  out->push_back('[');
  for (const InterfaceStats& interface : interfaces) {
    Separate(out);
    out->push_back('{');
    InterfaceFields(interface, out);
    out->push_back('}');
  }
  out->append("]}");
}

// ---- metrics ----

using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

void Line(std::string_view name, Labels labels, std::string_view value, absl::Time time, std::string* out) {
  out->append(name);
  char before = '{';
  for (const auto& [key, text] : labels) {
    out->push_back(before);
    absl::StrAppend(out, key, "=\"", EscapeLabel(text), "\"");
    before = ',';
  }
  if (before == ',') out->push_back('}');
  absl::StrAppend(out, " ", value);
  if (time != absl::InfinitePast()) absl::StrAppend(out, " ", absl::ToUnixMillis(time));
  out->push_back('\n');
}

constexpr absl::Time NoTime() { return absl::InfinitePast(); }

// Nanoseconds become seconds, anything else stays.
std::string Number(const MetricFamily& family, int64_t value) {
  return family.name.find("_seconds") != std::string_view::npos ? FromNanos(value) : absl::StrCat(value);
}

// Of /metrics/resource.
void ResourceContainers(const MetricFamily& family, const PodStats& pod, std::string* out) {
  for (const ContainerStats& container : pod.containers) {
    const int64_t value = container.usage.*family.figure;
    if (value < 0) continue;
    Line(family.name, {{"container", container.name}, {"namespace", pod.ns}, {"pod", pod.name}}, Number(family, value),
         pod.time, out);
  }
}
void ResourceStarts(const MetricFamily& family, const PodStats& pod, std::string* out) {
  for (const ContainerStats& container : pod.containers) {
    if (container.started == absl::InfinitePast()) continue;
    Line(family.name, {{"container", container.name}, {"namespace", pod.ns}, {"pod", pod.name}},
         FromNanos(absl::ToUnixNanos(container.started)), NoTime(), out);
  }
}
void ResourcePod(const MetricFamily& family, const PodStats& pod, std::string* out) {
  const int64_t value = pod.pod.*family.figure;
  if (value < 0) return;
  Line(family.name, {{"namespace", pod.ns}, {"pod", pod.name}}, Number(family, value), pod.time, out);
}
void ResourceNodeCpu(const MetricFamily& family, const NodeStats& node, std::string* out) {
  if (node.cpu_nanos >= 0) Line(family.name, {}, FromNanos(node.cpu_nanos), node.time, out);
}
void ResourceNodeMemory(const MetricFamily& family, const NodeStats& node, std::string* out) {
  if (node.memory_used_bytes >= 0) {
    Line(family.name, {}, absl::StrCat(node.memory_used_bytes), node.time, out);
  }
}

// Of /metrics/cadvisor. The extra label stands where it belongs by name: behind container, or behind image.
struct Group {
  std::string id;
  std::string_view container, image, name;
};
Group GroupOf(const PodStats& pod) { return {absl::StrCat(kPodsGroup, "/pod", pod.uid), "", "", ""}; }
Group GroupOf(const PodStats& pod, const ContainerStats& container) {
  return {absl::StrCat(kPodsGroup, "/pod", pod.uid, "/", container.id), container.name, container.image, container.id};
}

void CadvisorLine(const MetricFamily& family, const Group& g, const PodStats& pod, std::string_view value,
                  absl::Time time, std::string* out) {
  Line(family.name,
       {{"container", g.container},
        {"id", g.id},
        {"image", g.image},
        {"name", g.name},
        {"namespace", pod.ns},
        {"pod", pod.name}},
       value, time, out);
}

// The pod's group, then its containers'.
template <class Fn>
void ForEachGroup(const PodStats& pod, Fn&& fn) {
  fn(GroupOf(pod), pod.pod);
  for (const ContainerStats& container : pod.containers) fn(GroupOf(pod, container), container.usage);
}

void CadvisorUsage(const MetricFamily& family, const PodStats& pod, std::string* out) {
  ForEachGroup(pod, [&](const Group& group, const Usage& usage) {
    const int64_t value = usage.*family.figure;
    if (value >= 0) CadvisorLine(family, group, pod, Number(family, value), pod.time, out);
  });
}
void CadvisorCpu(const MetricFamily& family, const PodStats& pod, std::string* out) {
  ForEachGroup(pod, [&](const Group& g, const Usage& usage) {
    if (usage.cpu_nanos < 0) return;
    Line(family.name,
         {{"container", g.container},
          {"cpu", "total"},
          {"id", g.id},
          {"image", g.image},
          {"name", g.name},
          {"namespace", pod.ns},
          {"pod", pod.name}},
         FromNanos(usage.cpu_nanos), pod.time, out);
  });
}
// Containers without a limit are never throttled, and cAdvisor says nothing of them.
void CadvisorThrottling(const MetricFamily& family, const PodStats& pod, std::string* out) {
  for (const ContainerStats& container : pod.containers) {
    const int64_t value = container.usage.*family.figure;
    if (container.cpu_limit_milli < 0 || value < 0) continue;
    CadvisorLine(family, GroupOf(pod, container), pod, Number(family, value), pod.time, out);
  }
}
void CadvisorPageFaults(const MetricFamily& family, const PodStats& pod, std::string* out) {
  ForEachGroup(pod, [&](const Group& g, const Usage& usage) {
    for (const auto& [type, value] :
         {std::pair{"pgfault", usage.page_faults}, std::pair{"pgmajfault", usage.major_page_faults}}) {
      if (value < 0) continue;
      Line(family.name,
           {{"container", g.container},
            {"failure_type", type},
            {"id", g.id},
            {"image", g.image},
            {"name", g.name},
            {"namespace", pod.ns},
            {"pod", pod.name},
            {"scope", "hierarchy"}},
           absl::StrCat(value), pod.time, out);
    }
  });
}
void CadvisorLastSeen(const MetricFamily& family, const PodStats& pod, std::string* out) {
  ForEachGroup(pod, [&](const Group& group, const Usage&) {
    CadvisorLine(family, group, pod, absl::StrCat(absl::ToUnixSeconds(pod.time)), pod.time, out);
  });
}
void CadvisorStarts(const MetricFamily& family, const PodStats& pod, std::string* out) {
  for (const ContainerStats& container : pod.containers) {
    if (container.started == absl::InfinitePast()) continue;
    CadvisorLine(family, GroupOf(pod, container), pod, absl::StrCat(absl::ToUnixSeconds(container.started)), NoTime(),
                 out);
  }
}
void CadvisorCpuPeriod(const MetricFamily& family, const PodStats& pod, std::string* out) {
  for (const ContainerStats& container : pod.containers) {
    CadvisorLine(family, GroupOf(pod, container), pod, absl::StrCat(kCpuPeriodMicros), NoTime(), out);
  }
}
void CadvisorCpuQuota(const MetricFamily& family, const PodStats& pod, std::string* out) {
  for (const ContainerStats& container : pod.containers) {
    if (container.cpu_limit_milli < 0) continue;
    CadvisorLine(family, GroupOf(pod, container), pod,
                 absl::StrCat(container.cpu_limit_milli * kCpuPeriodMicros / 1000), NoTime(), out);
  }
}
void CadvisorMemoryLimit(const MetricFamily& family, const PodStats& pod, std::string* out) {
  for (const ContainerStats& container : pod.containers) {
    CadvisorLine(family, GroupOf(pod, container), pod, absl::StrCat(std::max<int64_t>(0, container.memory_limit_bytes)),
                 NoTime(), out);
  }
}
void CadvisorNetwork(const MetricFamily& family, const PodStats& pod, std::string* out) {
  const Group group = GroupOf(pod);
  for (const InterfaceStats& interface : pod.interfaces) {
    const int64_t value = interface.*family.interface_figure;
    if (value < 0) continue;
    Line(family.name,
         {{"container", ""},
          {"id", group.id},
          {"image", ""},
          {"interface", interface.name},
          {"name", ""},
          {"namespace", pod.ns},
          {"pod", pod.name}},
         absl::StrCat(value), pod.time, out);
  }
}
void DeviceLine(const MetricFamily& family, const Group& g, std::string_view device, const PodStats& pod, int64_t value,
                std::string* out) {
  if (value < 0) return;
  Line(family.name,
       {{"container", g.container},
        {"device", device},
        {"id", g.id},
        {"image", g.image},
        {"name", g.name},
        {"namespace", pod.ns},
        {"pod", pod.name}},
       absl::StrCat(value), pod.time, out);
}
// The file system is the pod's; of its own a container has what it writes to its layer and its logs.
void CadvisorFsUsage(const MetricFamily& family, const PodStats& pod, std::string* out) {
  DeviceLine(family, GroupOf(pod), kScratch, pod, pod.scratch.used_bytes, out);
  for (const ContainerStats& container : pod.containers) {
    if (container.root.used_bytes < 0) continue;
    DeviceLine(family, GroupOf(pod, container), kScratch, pod,
               container.root.used_bytes + std::max<int64_t>(0, container.logs.used_bytes), out);
  }
}
void CadvisorFsLimit(const MetricFamily& family, const PodStats& pod, std::string* out) {
  DeviceLine(family, GroupOf(pod), kScratch, pod, pod.scratch.capacity_bytes, out);
}
void CadvisorDevices(const MetricFamily& family, const PodStats& pod, std::string* out) {
  const auto lines = [&](const Group& group, const std::vector<DeviceStats>& devices) {
    for (const DeviceStats& device : devices) {
      DeviceLine(family, group, device.name, pod, device.*family.device_figure, out);
    }
  };
  lines(GroupOf(pod), pod.devices);
  for (const ContainerStats& container : pod.containers) lines(GroupOf(pod, container), container.devices);
}
// The node is cAdvisor's root group.
void CadvisorNodeCpu(const MetricFamily& family, const NodeStats& node, std::string* out) {
  if (node.cpu_nanos < 0) return;
  Line(family.name,
       {{"container", ""}, {"cpu", "total"}, {"id", "/"}, {"image", ""}, {"name", ""}, {"namespace", ""}, {"pod", ""}},
       FromNanos(node.cpu_nanos), node.time, out);
}
void CadvisorNodeMemory(const MetricFamily& family, const NodeStats& node, std::string* out) {
  if (node.memory_used_bytes < 0) return;
  Line(family.name, {{"container", ""}, {"id", "/"}, {"image", ""}, {"name", ""}, {"namespace", ""}, {"pod", ""}},
       absl::StrCat(node.memory_used_bytes), node.time, out);
}
void CadvisorNodeNetwork(const MetricFamily& family, const NodeStats& node, std::string* out) {
  const int64_t value = node.network.*family.interface_figure;
  if (value < 0) return;
  Line(family.name,
       {{"container", ""},
        {"id", "/"},
        {"image", ""},
        {"interface", node.network.name},
        {"name", ""},
        {"namespace", ""},
        {"pod", ""}},
       absl::StrCat(value), node.time, out);
}
void NodeFsLine(const MetricFamily& family, const NodeStats& node, int64_t value, std::string* out) {
  if (node.fs_capacity_bytes < 0) return;
  Line(family.name,
       {{"container", ""},
        {"device", node.fs_name},
        {"id", "/"},
        {"image", ""},
        {"name", ""},
        {"namespace", ""},
        {"pod", ""}},
       absl::StrCat(value), node.time, out);
}
void CadvisorNodeFsUsage(const MetricFamily& family, const NodeStats& node, std::string* out) {
  NodeFsLine(family, node, node.fs_capacity_bytes - node.fs_available_bytes, out);
}
void CadvisorNodeFsLimit(const MetricFamily& family, const NodeStats& node, std::string* out) {
  NodeFsLine(family, node, node.fs_capacity_bytes, out);
}
void MachineLine(const MetricFamily& family, const NodeStats& node, int64_t value, std::string* out) {
  if (value < 0) return;
  Line(family.name, {{"boot_id", node.boot_id}, {"machine_id", node.machine_id}, {"system_uuid", ""}},
       absl::StrCat(value), NoTime(), out);
}
void MachineCores(const MetricFamily& family, const NodeStats& node, std::string* out) {
  MachineLine(family, node, node.cpu_cores, out);
}
void MachineMemory(const MetricFamily& family, const NodeStats& node, std::string* out) {
  MachineLine(family, node, node.memory_capacity_bytes, out);
}
void NoScrapeError(const MetricFamily& family, const NodeStats&, std::string* out) {
  Line(family.name, {}, "0", NoTime(), out);
}
void GuestLine(const MetricFamily& family, const PodStats& pod, int64_t value, std::string* out) {
  if (value < 0) return;
  Line(family.name, {{"namespace", pod.ns}, {"pod", pod.name}}, Number(family, value), pod.time, out);
}
void GuestCpu(const MetricFamily& family, const PodStats& pod, std::string* out) {
  GuestLine(family, pod, pod.guest_cpu_nanos, out);
}
void GuestMemory(const MetricFamily& family, const PodStats& pod, std::string* out) {
  GuestLine(family, pod, pod.guest_memory_bytes, out);
}
void GuestAvailable(const MetricFamily& family, const PodStats& pod, std::string* out) {
  GuestLine(family, pod, pod.guest_available_bytes, out);
}

// Of /metrics/probes.
void ProbeDurations(const ProbeFamily& family, const PodProbes& pod, std::string* out) {
  for (const ProbeCount& probe : pod.probes) {
    int64_t count = 0;
    for (int64_t n : probe.within) count += n;
    if (count == 0) continue;
    const auto line = [&](std::string_view name, std::string_view bound, std::string_view value) {
      const std::string whole = absl::StrCat(family.name, name);
      if (bound.empty()) {
        Line(whole,
             {{"container", probe.container}, {"namespace", pod.ns}, {"pod", pod.name}, {"probe_type", probe.type}},
             value, NoTime(), out);
      } else {
        Line(whole,
             {{"container", probe.container},
              {"namespace", pod.ns},
              {"pod", pod.name},
              {"probe_type", probe.type},
              {"le", bound}},
             value, NoTime(), out);
      }
    };
    int64_t within = 0;
    for (size_t i = 0; i < guestapi::kProbeBuckets.size(); ++i) {
      within += probe.within[i];
      line("_bucket", FromNanos(guestapi::kProbeBuckets[i]), absl::StrCat(within));
    }
    line("_bucket", "+Inf", absl::StrCat(count));
    line("_sum", "", FromNanos(probe.duration_nanos));
    line("_count", "", absl::StrCat(count));
  }
}
void ProbeResults(const ProbeFamily& family, const PodProbes& pod, std::string* out) {
  for (const ProbeCount& probe : pod.probes) {
    for (const auto& [result, count] : {std::pair{"successful", probe.successful}, std::pair{"failed", probe.failed}}) {
      if (count == 0) continue;
      Line(family.name,
           {{"container", probe.container},
            {"namespace", pod.ns},
            {"pod", pod.name},
            {"pod_uid", pod.uid},
            {"probe_type", probe.type},
            {"result", result}},
           absl::StrCat(count), NoTime(), out);
    }
  }
}

void Header(std::string_view name, std::string_view type, std::string_view help, std::string* out) {
  absl::StrAppend(out, "# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
}

constexpr std::array kProbes = {
    ProbeFamily{.name = "prober_probe_duration_seconds",
                .type = "histogram",
                .help = "How long successful probes of containers took, in seconds",
                .append = ProbeDurations},
    ProbeFamily{.name = "prober_probe_total",
                .type = "counter",
                .help = "Results of probes of containers, by type",
                .append = ProbeResults},
};

constexpr MetricFamily OfUsage(std::string_view name, std::string_view type, std::string_view help,
                               int64_t Usage::* figure,
                               void (*pod)(const MetricFamily&, const PodStats&, std::string*) = CadvisorUsage,
                               void (*node)(const MetricFamily&, const NodeStats&, std::string*) = nullptr) {
  return {.name = name, .type = type, .help = help, .node = node, .pod = pod, .figure = figure};
}
constexpr MetricFamily OfDevice(std::string_view name, std::string_view help, int64_t DeviceStats::* figure) {
  return {.name = name, .type = "counter", .help = help, .pod = CadvisorDevices, .device_figure = figure};
}
constexpr MetricFamily OfInterface(std::string_view name, std::string_view help, int64_t InterfaceStats::* figure) {
  return {.name = name,
          .type = "counter",
          .help = help,
          .node = CadvisorNodeNetwork,
          .pod = CadvisorNetwork,
          .interface_figure = figure};
}

constexpr std::array kResource = {
    OfUsage("container_cpu_usage_seconds_total", "counter", "CPU time that the container has used, in core-seconds",
            &Usage::cpu_nanos, ResourceContainers),
    OfUsage("container_memory_working_set_bytes", "gauge", "Working set of the container in bytes",
            &Usage::working_set_bytes, ResourceContainers),
    MetricFamily{.name = "container_start_time_seconds",
                 .type = "gauge",
                 .help = "When the container was started, in seconds since the Unix epoch",
                 .pod = ResourceStarts},
    OfUsage("container_swap_usage_bytes", "gauge", "Swap that the container uses, in bytes", &Usage::swap_bytes,
            ResourceContainers),
    MetricFamily{.name = "node_cpu_usage_seconds_total",
                 .type = "counter",
                 .help = "CPU time that the node has used, in core-seconds",
                 .node = ResourceNodeCpu},
    MetricFamily{.name = "node_memory_working_set_bytes",
                 .type = "gauge",
                 .help = "Working set of the node in bytes",
                 .node = ResourceNodeMemory},
    OfUsage("pod_cpu_usage_seconds_total", "counter", "CPU time that the pod has used, in core-seconds",
            &Usage::cpu_nanos, ResourcePod),
    OfUsage("pod_memory_working_set_bytes", "gauge", "Working set of the pod in bytes", &Usage::working_set_bytes,
            ResourcePod),
    OfUsage("pod_swap_usage_bytes", "gauge", "Swap that the pod uses, in bytes", &Usage::swap_bytes, ResourcePod),
};

constexpr std::array kCadvisor = {
    OfUsage("container_cpu_cfs_periods_total", "counter", "Enforcement periods that have passed", &Usage::cpu_periods,
            CadvisorThrottling),
    OfUsage("container_cpu_cfs_throttled_periods_total", "counter", "Periods in which the container was throttled",
            &Usage::cpu_throttled_periods, CadvisorThrottling),
    OfUsage("container_cpu_cfs_throttled_seconds_total", "counter", "How long the container was throttled, in seconds",
            &Usage::cpu_throttled_nanos, CadvisorThrottling),
    OfUsage("container_cpu_system_seconds_total", "counter", "CPU time in the kernel, in seconds",
            &Usage::cpu_system_nanos),
    OfUsage("container_cpu_usage_seconds_total", "counter", "CPU time used, in seconds", &Usage::cpu_nanos, CadvisorCpu,
            CadvisorNodeCpu),
    OfUsage("container_cpu_user_seconds_total", "counter", "CPU time outside the kernel, in seconds",
            &Usage::cpu_user_nanos),
    MetricFamily{.name = "container_fs_limit_bytes",
                 .type = "gauge",
                 .help = "Size of the pod's scratch file system, or of the node's datastore, in bytes",
                 .node = CadvisorNodeFsLimit,
                 .pod = CadvisorFsLimit},
    OfDevice("container_fs_reads_bytes_total", "Bytes read from block devices", &DeviceStats::read_bytes),
    OfDevice("container_fs_reads_total", "Reads of block devices", &DeviceStats::reads),
    MetricFamily{.name = "container_fs_usage_bytes",
                 .type = "gauge",
                 .help = "Bytes in use on the pod's scratch file system, or on the node's datastore",
                 .node = CadvisorNodeFsUsage,
                 .pod = CadvisorFsUsage},
    OfDevice("container_fs_writes_bytes_total", "Bytes written to block devices", &DeviceStats::written_bytes),
    OfDevice("container_fs_writes_total", "Writes to block devices", &DeviceStats::writes),
    MetricFamily{.name = "container_last_seen",
                 .type = "gauge",
                 .help = "When the guest told of it last, in seconds since the Unix epoch",
                 .pod = CadvisorLastSeen},
    OfUsage("container_memory_cache", "gauge", "Bytes of page cache", &Usage::cache_bytes),
    OfUsage("container_memory_failcnt", "counter", "How often the memory limit was hit", &Usage::memory_failures),
    MetricFamily{.name = "container_memory_failures_total",
                 .type = "counter",
                 .help = "Page faults, by type",
                 .pod = CadvisorPageFaults},
    OfUsage("container_memory_mapped_file", "gauge", "Bytes of mapped files", &Usage::mapped_bytes),
    OfUsage("container_memory_max_usage_bytes", "gauge", "Most memory that was in use, in bytes", &Usage::peak_bytes),
    OfUsage("container_memory_rss", "gauge", "Bytes of anonymous memory", &Usage::rss_bytes),
    OfUsage("container_memory_swap", "gauge", "Swap in use, in bytes", &Usage::swap_bytes),
    OfUsage("container_memory_usage_bytes", "gauge", "Memory in use, in bytes, whenever it was last accessed",
            &Usage::memory_bytes, CadvisorUsage, CadvisorNodeMemory),
    OfUsage("container_memory_working_set_bytes", "gauge", "Working set in bytes", &Usage::working_set_bytes,
            CadvisorUsage, CadvisorNodeMemory),
    OfInterface("container_network_receive_bytes_total", "Bytes received", &InterfaceStats::rx_bytes),
    OfInterface("container_network_receive_errors_total", "Errors while receiving", &InterfaceStats::rx_errors),
    OfInterface("container_network_receive_packets_dropped_total", "Packets dropped while receiving",
                &InterfaceStats::rx_dropped),
    OfInterface("container_network_receive_packets_total", "Packets received", &InterfaceStats::rx_packets),
    OfInterface("container_network_transmit_bytes_total", "Bytes sent", &InterfaceStats::tx_bytes),
    OfInterface("container_network_transmit_errors_total", "Errors while sending", &InterfaceStats::tx_errors),
    OfInterface("container_network_transmit_packets_dropped_total", "Packets dropped while sending",
                &InterfaceStats::tx_dropped),
    OfInterface("container_network_transmit_packets_total", "Packets sent", &InterfaceStats::tx_packets),
    OfUsage("container_oom_events_total", "counter", "Processes killed for want of memory", &Usage::oom_kills),
    MetricFamily{.name = "container_scrape_error",
                 .type = "gauge",
                 .help = "1 if the figures could not be had, 0 otherwise",
                 .node = NoScrapeError},
    MetricFamily{.name = "container_spec_cpu_period",
                 .type = "gauge",
                 .help = "CPU period of the container in microseconds",
                 .pod = CadvisorCpuPeriod},
    MetricFamily{.name = "container_spec_cpu_quota",
                 .type = "gauge",
                 .help = "CPU quota of the container in microseconds",
                 .pod = CadvisorCpuQuota},
    MetricFamily{.name = "container_spec_memory_limit_bytes",
                 .type = "gauge",
                 .help = "Memory limit of the container in bytes, 0 if it has none",
                 .pod = CadvisorMemoryLimit},
    MetricFamily{.name = "container_start_time_seconds",
                 .type = "gauge",
                 .help = "When the container was started, in seconds since the Unix epoch",
                 .pod = CadvisorStarts},
    OfUsage("container_threads", "gauge", "Threads that run in the container", &Usage::threads),
    MetricFamily{.name = "machine_cpu_cores", .type = "gauge", .help = "Cores that the node has", .node = MachineCores},
    MetricFamily{.name = "machine_memory_bytes",
                 .type = "gauge",
                 .help = "Memory that the node has, in bytes",
                 .node = MachineMemory},
    MetricFamily{.name = "vch_guest_cpu_usage_seconds_total",
                 .type = "counter",
                 .help = "CPU time used in the pod's virtual machine since its boot, its kernel and tether included",
                 .pod = GuestCpu},
    MetricFamily{.name = "vch_guest_memory_available_bytes",
                 .type = "gauge",
                 .help = "Memory that the virtual machine's kernel could still give out",
                 .pod = GuestAvailable},
    MetricFamily{.name = "vch_guest_memory_bytes",
                 .type = "gauge",
                 .help = "Memory that the pod's virtual machine has for its kernel to give out",
                 .pod = GuestMemory},
};

}  // namespace

std::string FromNanos(int64_t nanos) {
  std::string out = absl::StrCat(nanos / kGiga);
  if (nanos % kGiga == 0) return out;
  absl::StrAppendFormat(&out, ".%09d", nanos % kGiga);
  out.erase(out.find_last_not_of('0') + 1);
  return out;
}

std::string EscapeLabel(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (c == '\n') {
      out.append("\\n");
    } else if (static_cast<unsigned char>(c) >= 0x20) {
      out.push_back(c);
    }
  }
  return out;
}

void AppendNodeSummary(const NodeStats& node, bool all, std::string* out) {
  out->push_back('{');
  Field("nodeName", node.name, out);
  Field("startTime", node.started, out);
  CpuField(node.time, node.cpu_nano_cores, node.cpu_nanos, out);
  Usage memory;
  memory.memory_bytes = memory.working_set_bytes = node.memory_used_bytes;
  MemoryField(node.time, memory, node.memory_capacity_bytes, out);
  if (all && !node.network.name.empty()) NetworkField(node.time, {&node.network, 1}, out);
  FileSystemStats fs{.capacity_bytes = node.fs_capacity_bytes, .available_bytes = node.fs_available_bytes};
  if (all && fs.capacity_bytes >= 0) {
    fs.used_bytes = fs.capacity_bytes - fs.available_bytes;
    FsField("fs", node.time, fs, out);
    // Images are on the same datastore.
    Key("runtime", out);
    out->push_back('{');
    FsField("imageFs", node.time, fs, out);
    out->push_back('}');
  }
  out->push_back('}');
}

void AppendPodSummary(const PodStats& pod, bool all, std::string* out) {
  out->append(R"({"podRef":{)");
  Field("name", pod.name, out);
  Field("namespace", pod.ns, out);
  Field("uid", pod.uid, out);
  out->push_back('}');
  Field("startTime", pod.started, out);
  Key("containers", out);
  out->push_back('[');
  for (const ContainerStats& container : pod.containers) {
    Separate(out);
    out->push_back('{');
    Field("name", container.name, out);
    Field("startTime", container.started, out);
    CpuField(pod.time, container.usage.cpu_nano_cores, container.usage.cpu_nanos, out);
    MemoryField(pod.time, container.usage, container.memory_limit_bytes, out);
    SwapField(pod.time, container.usage, out);
    if (all) {
      TreeField("rootfs", pod, container.root, out);
      TreeField("logs", pod, container.logs, out);
    }
    out->push_back('}');
  }
  out->push_back(']');
  CpuField(pod.time, pod.pod.cpu_nano_cores, pod.pod.cpu_nanos, out);
  MemoryField(pod.time, pod.pod, -1, out);
  SwapField(pod.time, pod.pod, out);
  if (all) {
    if (!pod.interfaces.empty()) NetworkField(pod.time, pod.interfaces, out);
    VolumesField(pod, out);
    FsField("ephemeral-storage", pod.time, pod.scratch, out);
  }
  out->push_back('}');
}

std::span<const MetricFamily> ResourceFamilies() { return kResource; }
std::span<const MetricFamily> CadvisorFamilies() { return kCadvisor; }

std::span<const ProbeFamily> ProbeFamilies() { return kProbes; }

void AppendHeader(const MetricFamily& family, std::string* out) { Header(family.name, family.type, family.help, out); }
void AppendHeader(const ProbeFamily& family, std::string* out) { Header(family.name, family.type, family.help, out); }

}  // namespace vck::kubeletapi
