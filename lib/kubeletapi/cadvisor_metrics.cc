#include "kubeletapi/cadvisor_metrics.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"

namespace vck::kubeletapi {
namespace {

constexpr std::string_view kPodsGroup = "/kubepods";
constexpr std::string_view kScratch = "scratch";  // the device of container_fs_usage_bytes
// Of CPU bandwidth control, in the guest as on any node.
constexpr int64_t kCpuPeriodMicros = 100'000;

// A control group with the labels that all its lines have.
struct Group {
  std::string id;
  std::string_view container, image, name, ns, pod;
};
Group GroupOf(const PodStats& pod) {
  return {.id = absl::StrCat(kPodsGroup, "/pod", pod.uid), .ns = pod.ns, .pod = pod.name};
}
Group GroupOf(const PodStats& pod, const ContainerStats& container) {
  return {.id = absl::StrCat(kPodsGroup, "/pod", pod.uid, "/", container.id),
          .container = container.name,
          .image = container.image,
          .name = container.id,
          .ns = pod.ns,
          .pod = pod.name};
}
// The node is cAdvisor's root group.
Group Root() { return {.id = "/"}; }

// A line with the group's labels and `more` (two at most, by name), all of them by name.
void Line(const MetricFamily& family, const Group& g, std::initializer_list<Label> more, std::string_view value,
          absl::Time time, std::string* out) {
  const Label own[] = {{"container", g.container}, {"id", g.id},        {"image", g.image},
                       {"name", g.name},           {"namespace", g.ns}, {"pod", g.pod}};
  std::array<Label, 8> all;
  const auto end = std::merge(std::begin(own), std::end(own), more.begin(), more.end(), all.begin(),
                              [](const Label& a, const Label& b) { return a.first < b.first; });
  AppendLine(family.name, std::span(all.begin(), end), value, time, out);
}
// Nothing if the figure is not known.
void Figure(const MetricFamily& family, const Group& g, std::initializer_list<Label> more, int64_t value,
            absl::Time time, std::string* out) {
  if (value >= 0) Line(family, g, more, Number(family, value), time, out);
}

// ---- pods and containers ----

// The pod's group, then its containers'.
template <class Fn>
void ForEachGroup(const PodStats& pod, Fn&& fn) {
  fn(GroupOf(pod), pod.pod);
  for (const ContainerStats& container : pod.containers) fn(GroupOf(pod, container), container.usage);
}

void PodUsage(const MetricFamily& family, const PodStats& pod, std::string* out) {
  ForEachGroup(pod, [&](const Group& group, const Usage& usage) {
    Figure(family, group, {}, usage.*family.figure, pod.time, out);
  });
}
void PodCpu(const MetricFamily& family, const PodStats& pod, std::string* out) {
  ForEachGroup(pod, [&](const Group& group, const Usage& usage) {
    Figure(family, group, {{"cpu", "total"}}, usage.*family.figure, pod.time, out);
  });
}
void PodPageFaults(const MetricFamily& family, const PodStats& pod, std::string* out) {
  ForEachGroup(pod, [&](const Group& group, const Usage& usage) {
    for (const auto& [type, value] :
         {std::pair{"pgfault", usage.page_faults}, std::pair{"pgmajfault", usage.major_page_faults}}) {
      Figure(family, group, {{"failure_type", type}, {"scope", "hierarchy"}}, value, pod.time, out);
    }
  });
}
void PodLastSeen(const MetricFamily& family, const PodStats& pod, std::string* out) {
  ForEachGroup(pod, [&](const Group& group, const Usage&) {
    Line(family, group, {}, absl::StrCat(absl::ToUnixSeconds(pod.time)), pod.time, out);
  });
}
void PodNetwork(const MetricFamily& family, const PodStats& pod, std::string* out) {
  const Group group = GroupOf(pod);
  for (const InterfaceStats& interface : pod.interfaces) {
    Figure(family, group, {{"interface", interface.name}}, interface.*family.interface_figure, pod.time, out);
  }
}
void PodDevices(const MetricFamily& family, const PodStats& pod, std::string* out) {
  const auto lines = [&](const Group& group, const std::vector<DeviceStats>& devices) {
    for (const DeviceStats& device : devices) {
      Figure(family, group, {{"device", device.name}}, device.*family.device_figure, pod.time, out);
    }
  };
  lines(GroupOf(pod), pod.devices);
  for (const ContainerStats& container : pod.containers) lines(GroupOf(pod, container), container.devices);
}
// The file system is the pod's; of its own a container has what it writes to its layer and its logs.
void PodFsUsage(const MetricFamily& family, const PodStats& pod, std::string* out) {
  Figure(family, GroupOf(pod), {{"device", kScratch}}, pod.scratch.used_bytes, pod.time, out);
  for (const ContainerStats& container : pod.containers) {
    if (container.root.used_bytes < 0) continue;
    Figure(family, GroupOf(pod, container), {{"device", kScratch}},
           container.root.used_bytes + std::max<int64_t>(0, container.logs.used_bytes), pod.time, out);
  }
}
void PodFsLimit(const MetricFamily& family, const PodStats& pod, std::string* out) {
  Figure(family, GroupOf(pod), {{"device", kScratch}}, pod.scratch.capacity_bytes, pod.time, out);
}

// Containers without a limit are never throttled, and cAdvisor says nothing of them.
void Throttling(const MetricFamily& family, const PodStats& pod, std::string* out) {
  for (const ContainerStats& container : pod.containers) {
    if (container.cpu_limit_milli < 0) continue;
    Figure(family, GroupOf(pod, container), {}, container.usage.*family.figure, pod.time, out);
  }
}
void Starts(const MetricFamily& family, const PodStats& pod, std::string* out) {
  for (const ContainerStats& container : pod.containers) {
    if (container.started == absl::InfinitePast()) continue;
    Line(family, GroupOf(pod, container), {}, absl::StrCat(absl::ToUnixSeconds(container.started)), NoTime(), out);
  }
}
void CpuPeriod(const MetricFamily& family, const PodStats& pod, std::string* out) {
  for (const ContainerStats& container : pod.containers) {
    Line(family, GroupOf(pod, container), {}, absl::StrCat(kCpuPeriodMicros), NoTime(), out);
  }
}
void CpuQuota(const MetricFamily& family, const PodStats& pod, std::string* out) {
  for (const ContainerStats& container : pod.containers) {
    if (container.cpu_limit_milli < 0) continue;
    Line(family, GroupOf(pod, container), {}, absl::StrCat(container.cpu_limit_milli * kCpuPeriodMicros / 1000),
         NoTime(), out);
  }
}
void MemoryLimit(const MetricFamily& family, const PodStats& pod, std::string* out) {
  for (const ContainerStats& container : pod.containers) {
    Line(family, GroupOf(pod, container), {}, absl::StrCat(std::max<int64_t>(0, container.memory_limit_bytes)),
         NoTime(), out);
  }
}

// ---- the node ----

void NodeCpu(const MetricFamily& family, const NodeStats& node, std::string* out) {
  Figure(family, Root(), {{"cpu", "total"}}, node.cpu_nanos, node.time, out);
}
void NodeMemory(const MetricFamily& family, const NodeStats& node, std::string* out) {
  Figure(family, Root(), {}, node.memory_used_bytes, node.time, out);
}
void NodeNetwork(const MetricFamily& family, const NodeStats& node, std::string* out) {
  Figure(family, Root(), {{"interface", node.network.name}}, node.network.*family.interface_figure, node.time, out);
}
void NodeFsUsage(const MetricFamily& family, const NodeStats& node, std::string* out) {
  if (node.fs_capacity_bytes < 0) return;
  Line(family, Root(), {{"device", node.fs_name}}, absl::StrCat(node.fs_capacity_bytes - node.fs_available_bytes),
       node.time, out);
}
void NodeFsLimit(const MetricFamily& family, const NodeStats& node, std::string* out) {
  Figure(family, Root(), {{"device", node.fs_name}}, node.fs_capacity_bytes, node.time, out);
}
void MachineLine(const MetricFamily& family, const NodeStats& node, int64_t value, std::string* out) {
  if (value < 0) return;
  AppendLine(family.name, {{"boot_id", node.boot_id}, {"machine_id", node.machine_id}, {"system_uuid", ""}},
             absl::StrCat(value), NoTime(), out);
}
void MachineCores(const MetricFamily& family, const NodeStats& node, std::string* out) {
  MachineLine(family, node, node.cpu_cores, out);
}
void MachineMemory(const MetricFamily& family, const NodeStats& node, std::string* out) {
  MachineLine(family, node, node.memory_capacity_bytes, out);
}
void NoScrapeError(const MetricFamily& family, const NodeStats&, std::string* out) {
  AppendLine(family.name, {}, "0", NoTime(), out);
}

// ---- virtual machines ----

void GuestLine(const MetricFamily& family, const PodStats& pod, int64_t value, std::string* out) {
  if (value < 0) return;
  AppendLine(family.name, {{"namespace", pod.ns}, {"pod", pod.name}}, Number(family, value), pod.time, out);
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

// ---- families ----

constexpr MetricFamily OfUsage(std::string_view name, std::string_view type, std::string_view help,
                               int64_t Usage::* figure,
                               void (*pod)(const MetricFamily&, const PodStats&, std::string*) = PodUsage,
                               void (*node)(const MetricFamily&, const NodeStats&, std::string*) = nullptr) {
  return {.name = name, .type = type, .help = help, .node = node, .pod = pod, .figure = figure};
}
constexpr MetricFamily OfDevice(std::string_view name, std::string_view help, int64_t DeviceStats::* figure) {
  return {.name = name, .type = "counter", .help = help, .pod = PodDevices, .device_figure = figure};
}
constexpr MetricFamily OfInterface(std::string_view name, std::string_view help, int64_t InterfaceStats::* figure) {
  return {.name = name,
          .type = "counter",
          .help = help,
          .node = NodeNetwork,
          .pod = PodNetwork,
          .interface_figure = figure};
}

constexpr std::array kCadvisor = {
    OfUsage("container_cpu_cfs_periods_total", "counter", "Enforcement periods that have passed", &Usage::cpu_periods,
            Throttling),
    OfUsage("container_cpu_cfs_throttled_periods_total", "counter", "Periods in which the container was throttled",
            &Usage::cpu_throttled_periods, Throttling),
    OfUsage("container_cpu_cfs_throttled_seconds_total", "counter", "How long the container was throttled, in seconds",
            &Usage::cpu_throttled_nanos, Throttling),
    OfUsage("container_cpu_system_seconds_total", "counter", "CPU time in the kernel, in seconds",
            &Usage::cpu_system_nanos),
    OfUsage("container_cpu_usage_seconds_total", "counter", "CPU time used, in seconds", &Usage::cpu_nanos, PodCpu,
            NodeCpu),
    OfUsage("container_cpu_user_seconds_total", "counter", "CPU time outside the kernel, in seconds",
            &Usage::cpu_user_nanos),
    MetricFamily{.name = "container_fs_limit_bytes",
                 .type = "gauge",
                 .help = "Size of the pod's scratch file system, or of the node's datastore, in bytes",
                 .node = NodeFsLimit,
                 .pod = PodFsLimit},
    OfDevice("container_fs_reads_bytes_total", "Bytes read from block devices", &DeviceStats::read_bytes),
    OfDevice("container_fs_reads_total", "Reads of block devices", &DeviceStats::reads),
    MetricFamily{.name = "container_fs_usage_bytes",
                 .type = "gauge",
                 .help = "Bytes in use on the pod's scratch file system, or on the node's datastore",
                 .node = NodeFsUsage,
                 .pod = PodFsUsage},
    OfDevice("container_fs_writes_bytes_total", "Bytes written to block devices", &DeviceStats::written_bytes),
    OfDevice("container_fs_writes_total", "Writes to block devices", &DeviceStats::writes),
    MetricFamily{.name = "container_last_seen",
                 .type = "gauge",
                 .help = "When the guest told of it last, in seconds since the Unix epoch",
                 .pod = PodLastSeen},
    OfUsage("container_memory_cache", "gauge", "Bytes of page cache", &Usage::cache_bytes),
    OfUsage("container_memory_failcnt", "counter", "How often the memory limit was hit", &Usage::memory_failures),
    MetricFamily{.name = "container_memory_failures_total",
                 .type = "counter",
                 .help = "Page faults, by type",
                 .pod = PodPageFaults},
    OfUsage("container_memory_mapped_file", "gauge", "Bytes of mapped files", &Usage::mapped_bytes),
    OfUsage("container_memory_max_usage_bytes", "gauge", "Most memory that was in use, in bytes", &Usage::peak_bytes),
    OfUsage("container_memory_rss", "gauge", "Bytes of anonymous memory", &Usage::rss_bytes),
    OfUsage("container_memory_swap", "gauge", "Swap in use, in bytes", &Usage::swap_bytes),
    OfUsage("container_memory_usage_bytes", "gauge", "Memory in use, in bytes, whenever it was last accessed",
            &Usage::memory_bytes, PodUsage, NodeMemory),
    OfUsage("container_memory_working_set_bytes", "gauge", "Working set in bytes", &Usage::working_set_bytes, PodUsage,
            NodeMemory),
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
                 .pod = CpuPeriod},
    MetricFamily{.name = "container_spec_cpu_quota",
                 .type = "gauge",
                 .help = "CPU quota of the container in microseconds",
                 .pod = CpuQuota},
    MetricFamily{.name = "container_spec_memory_limit_bytes",
                 .type = "gauge",
                 .help = "Memory limit of the container in bytes, 0 if it has none",
                 .pod = MemoryLimit},
    MetricFamily{.name = "container_start_time_seconds",
                 .type = "gauge",
                 .help = "When the container was started, in seconds since the Unix epoch",
                 .pod = Starts},
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

std::span<const MetricFamily> CadvisorFamilies() { return kCadvisor; }

}  // namespace vck::kubeletapi
