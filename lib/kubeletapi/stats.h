// What is known of the use of resources by node, pods and containers; and how a guest tells its part. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"
#include "guestapi/probe_buckets.h"
#include "guestlink/links.h"
#include "kube/object.h"

namespace vck::kubeletapi {

// Everywhere here: -1 is not known, and is told to nobody.

// Of a control group: a container's, or the pod's with all its containers.
struct Usage {
  int64_t cpu_nanos = -1;       // since it was made, as all counters here
  int64_t cpu_nano_cores = -1;  // nanoseconds a second, between the last two samples
  int64_t cpu_user_nanos = -1, cpu_system_nanos = -1;
  int64_t cpu_periods = -1, cpu_throttled_periods = -1, cpu_throttled_nanos = -1;
  int64_t memory_bytes = -1;       // all that is charged
  int64_t working_set_bytes = -1;  // without what the kernel would give up first
  int64_t rss_bytes = -1, cache_bytes = -1, mapped_bytes = -1, swap_bytes = -1, peak_bytes = -1;
  int64_t memory_failures = -1, oom_kills = -1;
  int64_t page_faults = -1, major_page_faults = -1;
  int64_t threads = -1;
};

// A part of the pod's scratch file system.
struct TreeStats {
  int64_t used_bytes = -1, inodes_used = -1;
};

// What a control group has done with a block device.
struct DeviceStats {
  std::string name;  // "/dev/sda"
  int64_t read_bytes = -1, reads = -1, written_bytes = -1, writes = -1;
};

struct ContainerStats {
  std::string name, id, image;
  absl::Time started = absl::InfinitePast();  // InfinitePast: not known; here and below
  Usage usage;
  int64_t memory_limit_bytes = -1, cpu_limit_milli = -1;  // -1: none
  TreeStats root, logs;                                   // the writable layer; logs of all its runs
  std::vector<DeviceStats> devices;
};

struct InterfaceStats {
  std::string name;
  int64_t rx_bytes = -1, rx_packets = -1, rx_errors = -1, rx_dropped = -1;
  int64_t tx_bytes = -1, tx_packets = -1, tx_errors = -1, tx_dropped = -1;
};

struct FileSystemStats {
  int64_t capacity_bytes = -1, available_bytes = -1, used_bytes = -1, inodes = -1, free_inodes = -1;
};

struct VolumeStats {
  std::string name;
  TreeStats usage;
};

struct PodStats {
  std::string uid, name, ns;
  absl::Time time;        // when it was so, by our clock
  absl::Time guest_time;  // by the guest's
  absl::Time started = absl::InfinitePast();
  std::vector<ContainerStats> containers;  // those that run
  Usage pod;
  std::vector<DeviceStats> devices;
  FileSystemStats scratch;                 // where writable layers, emptyDirs and logs are
  std::vector<VolumeStats> volumes;        // emptyDirs on it
  std::vector<InterfaceStats> interfaces;  // the pod's own first
  int64_t guest_cpu_nanos = -1;            // of the whole virtual machine, its kernel and tether included
  int64_t guest_memory_bytes = -1, guest_available_bytes = -1;
};
using PodStatsPtr = std::shared_ptr<const PodStats>;

// As vCenter tells of the pool and the datastore, and the guests of what they send and receive.
struct NodeStats {
  std::string name, machine_id, boot_id;
  absl::Time time;
  absl::Time started = absl::InfinitePast();  // since when CPU is counted
  int64_t cpu_nanos = -1, cpu_nano_cores = -1, cpu_cores = -1;
  int64_t memory_capacity_bytes = -1, memory_used_bytes = -1;
  std::string fs_name;  // the datastore's
  int64_t fs_capacity_bytes = -1, fs_available_bytes = -1;
  InterfaceStats network;  // of all pods together; without a name: not known
};

// How often probes came out one way or the other, since the guest's boot.
struct ProbeCount {
  std::string container, type;  // Liveness, Readiness, Startup
  int64_t successful = 0, failed = 0;
  // Of those that were successful: by guestapi::kProbeBuckets, the last for what took longer than all.
  std::array<int64_t, guestapi::kProbeBuckets.size() + 1> within{};
  int64_t duration_nanos = 0;
};
struct PodProbes {
  std::string uid, name, ns;
  absl::Time time, guest_time;
  std::vector<ProbeCount> probes;
};
using PodProbesPtr = std::shared_ptr<const PodProbes>;

// A guest's answer to GET /v1/stats. Containers that do not run by its newest snapshot are left out. `previous` (may be
// null) is what it said last.
StatusOr<PodStatsPtr> DecodePodStats(const kube::Object& pod, const guestlink::LinkState& link, std::string_view body,
                                     absl::Time now, const PodStats* previous);
// A guest's answer to GET /v1/probes.
StatusOr<PodProbesPtr> DecodePodProbes(const kube::Object& pod, const guestlink::LinkState& link, std::string_view body,
                                       absl::Time now, const PodProbes* previous);

}  // namespace vck::kubeletapi
