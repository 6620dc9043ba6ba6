#include "kubeletapi/summary.h"

#include <algorithm>
#include <span>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "kubeletapi/metric_text.h"

namespace vck::kubeletapi {
namespace {

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

void FsField(std::string_view key, absl::Time time, const FileSystemStats& fs, std::string* out) {
  if (fs.capacity_bytes < 0) return;
  Key(key, out);
  out->push_back('{');
  const bool counts_inodes = fs.inodes >= 0 && fs.free_inodes >= 0;
  const TreeStats all{.used_bytes = fs.used_bytes, .inodes_used = counts_inodes ? fs.inodes - fs.free_inodes : -1};
  TreeFields(time, fs, all, out);
  out->push_back('}');
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

}  // namespace

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

}  // namespace vck::kubeletapi
