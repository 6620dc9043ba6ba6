// What containers and the guest use, as /v1/stats tells it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "guestos/projects.h"
#include "json/json.h"

namespace vck::guestos {

struct Usage {
  int64_t cpu_nanos = 0;  // since the start
  int64_t cpu_user_nanos = 0, cpu_system_nanos = 0;
  int64_t cpu_periods = 0, cpu_throttled_periods = 0, cpu_throttled_nanos = 0;  // of CPU limits
  int64_t memory_bytes = 0;                                                     // all that is charged
  int64_t working_set_bytes = 0;  // without what the kernel would give up first
  int64_t rss_bytes = 0, cache_bytes = 0, mapped_bytes = 0, swap_bytes = 0, peak_bytes = 0;
  int64_t memory_failures = 0, oom_kills = 0;  // the limit was hit; processes were killed for it
  int64_t page_faults = 0, major_page_faults = 0;
  int64_t processes = 0;  // threads count each
};

// Blocking. Zero where a file is missing.
Usage ReadUsage(const std::string& cgroup_directory);

// What a control group has read from and written to a block device. Names are the members' of JSON, and "name" that of
// its file in /dev.
struct Device {
  std::string name;
  int64_t read_bytes = 0, reads = 0, written_bytes = 0, writes = 0;
};
// io.stat. `name_of` tells a device's file by its "major:minor"; devices for which it says "" are left out. Pure.
std::vector<Device> ParseIoStat(std::string_view text,
                                const std::function<std::string(std::string_view number)>& name_of);

struct FileSystemUsage {
  int64_t capacity_bytes = 0, available_bytes = 0, used_bytes = 0, inodes = 0, free_inodes = 0;
};
FileSystemUsage ReadFileSystem(const std::string& path);

// One line of /proc/net/dev. Names are the members' of JSON.
struct Interface {
  std::string name;
  int64_t rx_bytes = 0, rx_packets = 0, rx_errors = 0, rx_dropped = 0;
  int64_t tx_bytes = 0, tx_packets = 0, tx_errors = 0, tx_dropped = 0;
};
// All but loopback, in the kernel's order. Pure.
std::vector<Interface> ParseInterfaces(std::string_view proc_net_dev);

// Of the whole guest.
struct Machine {
  int64_t cpu_nanos = 0;  // since its boot
  int64_t memory_bytes = 0, available_bytes = 0;
};
// /proc/stat, whose times are in ticks of 1/`ticks` s, and /proc/meminfo. Pure.
Machine ParseMachine(std::string_view stat, std::string_view meminfo, int64_t ticks);

// What /v1/stats answers: of containers and emptyDirs by name, and of the pod, the scratch file system and the guest.
// Directories all. Blocking.
struct StatsSources {
  struct Container {
    std::string cgroup, root, logs;
  };
  std::map<std::string, Container> containers;
  std::map<std::string, std::string> volumes;
  std::string pod, scratch;
  std::string proc = "/proc", sys = "/sys";
};
json::Object ReadStats(const StatsSources& sources, absl::Time now);

// The value after `key` in the kernel's "key value" lines; 0 if it is not there. Pure.
int64_t FlatValue(std::string_view text, std::string_view key);

json::Object ToJson(const Usage& usage);
json::Object ToJson(const Device& device);
json::Object ToJson(const FileSystemUsage& usage);
json::Object ToJson(const TreeUsage& usage);
json::Object ToJson(const Interface& interface);

}  // namespace vck::guestos
