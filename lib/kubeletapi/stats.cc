#include "kubeletapi/stats.h"

#include <cmath>
#include <utility>

#include "json/json.h"
#include "kubeapi/pod_view.h"
#include "kubeapi/timestamp.h"

namespace vck::kubeletapi {
namespace {

Usage UsageOf(const json::Value* value) {
  const auto number = [value](std::string_view key) { return json::Int(value, key, -1); };
  Usage out;
  out.cpu_nanos = number("cpuNanos");
  out.cpu_user_nanos = number("cpuUserNanos");
  out.cpu_system_nanos = number("cpuSystemNanos");
  out.cpu_periods = number("cpuPeriods");
  out.cpu_throttled_periods = number("cpuThrottledPeriods");
  out.cpu_throttled_nanos = number("cpuThrottledNanos");
  out.memory_bytes = number("memoryBytes");
  out.working_set_bytes = number("workingSetBytes");
  out.rss_bytes = number("rssBytes");
  out.cache_bytes = number("cacheBytes");
  out.mapped_bytes = number("mappedBytes");
  out.swap_bytes = number("swapBytes");
  out.peak_bytes = number("peakBytes");
  out.memory_failures = number("memoryFailures");
  out.oom_kills = number("oomKills");
  out.page_faults = number("pageFaults");
  out.major_page_faults = number("majorPageFaults");
  out.threads = number("processes");
  return out;
}

InterfaceStats InterfaceOf(const json::Value& value) {
  const auto number = [&value](std::string_view key) { return json::Int(value, key, -1); };
  return {.name = std::string(json::String(value, "name")),
          .rx_bytes = number("rxBytes"),
          .rx_packets = number("rxPackets"),
          .rx_errors = number("rxErrors"),
          .rx_dropped = number("rxDropped"),
          .tx_bytes = number("txBytes"),
          .tx_packets = number("txPackets"),
          .tx_errors = number("txErrors"),
          .tx_dropped = number("txDropped")};
}

// What was used a second, between two samples of the same counter.
int64_t NanoCores(int64_t now, int64_t before, absl::Duration between) {
  if (now < 0 || before < 0 || now < before || between <= absl::ZeroDuration()) return -1;
  return std::llround(static_cast<double>(now - before) / absl::ToDoubleSeconds(between));
}

const guestapi::ContainerState* Running(const guestapi::GuestState& guest, std::string_view name) {
  for (const guestapi::ContainerState& container : guest.containers) {
    if (container.name == name && container.phase == guestapi::ContainerState::Phase::kRunning) return &container;
  }
  return nullptr;
}

const ContainerStats* SameRun(const PodStats* pod, const ContainerStats& container) {
  if (pod == nullptr) return nullptr;
  for (const ContainerStats& other : pod->containers) {
    if (other.name == container.name && other.id == container.id) return &other;
  }
  return nullptr;
}

template <class T>
StatusOr<json::Document> Begin(const kube::Object& pod, std::string_view body, absl::Time now, T* out) {
  ASSIGN_OR_RETURN(auto document, json::Document::Parse(body));
  const int64_t time = json::Int(document.root(), "time");
  if (time <= 0) return absl::InvalidArgumentError("the guest's figures have no time");
  out->uid = pod.uid();
  out->name = pod.name();
  out->ns = pod.ns();
  out->time = now;
  out->guest_time = absl::FromUnixNanos(time);
  return document;
}

TreeStats TreeOf(const json::Value* item) {
  return {.used_bytes = json::Int(item, "usedBytes", -1), .inodes_used = json::Int(item, "inodesUsed", -1)};
}

std::vector<DeviceStats> DevicesOf(const json::Value* group) {
  std::vector<DeviceStats> out;
  if (group == nullptr) return out;
  for (const json::Value& item : json::Items(*group, "devices")) {
    DeviceStats device{.name = std::string(json::String(item, "name")),
                       .read_bytes = json::Int(item, "readBytes", -1),
                       .reads = json::Int(item, "reads", -1),
                       .written_bytes = json::Int(item, "writtenBytes", -1),
                       .writes = json::Int(item, "writes", -1)};
    if (!device.name.empty()) out.push_back(std::move(device));
  }
  return out;
}

}  // namespace

StatusOr<PodStatsPtr> DecodePodStats(const kube::Object& pod, const guestlink::LinkState& link, std::string_view body,
                                     absl::Time now, const PodStats* previous) {
  auto out = std::make_shared<PodStats>();
  ASSIGN_OR_RETURN(auto document, Begin(pod, body, now, out.get()));
  const json::Value& root = document.root();
  ASSIGN_OR_RETURN(auto object, json::Document::Parse(pod.json()));
  const kubeapi::PodView view(object.root());
  if (auto started = kubeapi::ParseTime(json::String(view.status(), "startTime"))) out->started = *started;
  const absl::Duration between = previous != nullptr ? out->guest_time - previous->guest_time : absl::ZeroDuration();
  for (const json::Value& item : json::Items(root, "containers")) {
    ContainerStats container{.name = std::string(json::String(item, "name")), .usage = UsageOf(&item)};
    const guestapi::ContainerState* state = Running(link.guest, container.name);
    if (state == nullptr) continue;
    container.id = state->id;
    if (state->started_at > absl::UnixEpoch()) container.started = state->started_at + link.clock_offset;
    view.ForEachContainer([&](const kubeapi::ContainerView& spec) {
      if (spec.name() != container.name) return;
      container.image = spec.image();
      if (auto limit = spec.Limit("memory")) container.memory_limit_bytes = limit->Value();
      if (auto limit = spec.Limit("cpu")) container.cpu_limit_milli = limit->MilliValue();
    });
    container.root = TreeOf(json::Get(item, "rootfs"));
    container.logs = TreeOf(json::Get(item, "logs"));
    container.devices = DevicesOf(&item);
    if (const ContainerStats* before = SameRun(previous, container)) {
      container.usage.cpu_nano_cores = NanoCores(container.usage.cpu_nanos, before->usage.cpu_nanos, between);
    }
    out->containers.push_back(std::move(container));
  }
  out->pod = UsageOf(json::Get(root, "pod"));
  out->devices = DevicesOf(json::Get(root, "pod"));
  if (previous != nullptr) {
    out->pod.cpu_nano_cores = NanoCores(out->pod.cpu_nanos, previous->pod.cpu_nanos, between);
  }
  const json::Value* scratch = json::Get(root, "scratch");
  out->scratch = {.capacity_bytes = json::Int(scratch, "capacityBytes", -1),
                  .available_bytes = json::Int(scratch, "availableBytes", -1),
                  .used_bytes = json::Int(scratch, "usedBytes", -1),
                  .inodes = json::Int(scratch, "inodes", -1),
                  .free_inodes = json::Int(scratch, "freeInodes", -1)};
  for (const json::Value& item : json::Items(root, "volumes")) {
    out->volumes.push_back({.name = std::string(json::String(item, "name")), .usage = TreeOf(&item)});
  }
  for (const json::Value& item : json::Items(root, "interfaces")) {
    if (InterfaceStats interface = InterfaceOf(item); !interface.name.empty()) {
      out->interfaces.push_back(std::move(interface));
    }
  }
  const json::Value* guest = json::Get(root, "guest");
  out->guest_cpu_nanos = json::Int(guest, "cpuNanos", -1);
  out->guest_memory_bytes = json::Int(guest, "memoryBytes", -1);
  out->guest_available_bytes = json::Int(guest, "availableBytes", -1);
  return out;
}

StatusOr<PodProbesPtr> DecodePodProbes(const kube::Object& pod, const guestlink::LinkState&, std::string_view body,
                                       absl::Time now, const PodProbes*) {
  auto out = std::make_shared<PodProbes>();
  ASSIGN_OR_RETURN(auto document, Begin(pod, body, now, out.get()));
  for (const json::Value& item : json::Items(document.root(), "probes")) {
    ProbeCount probe{.container = std::string(json::String(item, "container")),
                     .type = std::string(json::String(item, "type")),
                     .successful = json::Int(item, "successful"),
                     .failed = json::Int(item, "failed"),
                     .duration_nanos = json::Int(item, "durationNanos")};
    size_t i = 0;
    for (const json::Value& count : json::Items(item, "within")) {
      if (i < probe.within.size() && count.is_int64()) probe.within[i] = count.get_int64();
      ++i;
    }
    out->probes.push_back(std::move(probe));
  }
  return out;
}

}  // namespace vck::kubeletapi
