#include "guestos/stats.h"

#include <algorithm>
#include <utility>

#include <sys/statvfs.h>
#include <unistd.h>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "guestos/files.h"

namespace vck::guestos {
namespace {

constexpr size_t kMaxFile = size_t{64} * 1024;

std::string Read(const std::string& path) {
  auto text = ReadFile(path, kMaxFile);
  return text.ok() ? *std::move(text) : "";
}

int64_t ReadNumber(const std::string& path) {
  int64_t number = 0;
  return absl::SimpleAtoi(Read(path), &number) ? number : 0;
}

// "8:0" is /dev/sda: "DEVNAME=sda" of what the kernel tells udev.
std::string DeviceName(const std::string& sys, std::string_view number) {
  const std::string text = Read(absl::StrCat(sys, "/dev/block/", number, "/uevent"));
  for (std::string_view line : absl::StrSplit(text, '\n')) {
    if (absl::ConsumePrefix(&line, "DEVNAME=") && !line.empty()) return absl::StrCat("/dev/", line);
  }
  return "";
}

json::Array DevicesOf(const std::string& sys, const std::string& cgroup) {
  json::Array out;
  for (const Device& device :
       ParseIoStat(Read(cgroup + "/io.stat"), [&sys](std::string_view number) { return DeviceName(sys, number); })) {
    out.push_back(ToJson(device));
  }
  return out;
}

}  // namespace

int64_t FlatValue(std::string_view text, std::string_view key) {
  for (std::string_view line : absl::StrSplit(text, '\n')) {
    int64_t number = 0;
    if (!absl::ConsumePrefix(&line, key) || !absl::ConsumePrefix(&line, " ")) continue;
    if (absl::SimpleAtoi(line, &number)) return number;
  }
  return 0;
}

Usage ReadUsage(const std::string& cgroup_directory) {
  Usage out;
  const std::string cpu = Read(cgroup_directory + "/cpu.stat");
  out.cpu_nanos = FlatValue(cpu, "usage_usec") * 1000;
  out.cpu_user_nanos = FlatValue(cpu, "user_usec") * 1000;
  out.cpu_system_nanos = FlatValue(cpu, "system_usec") * 1000;
  out.cpu_periods = FlatValue(cpu, "nr_periods");
  out.cpu_throttled_periods = FlatValue(cpu, "nr_throttled");
  out.cpu_throttled_nanos = FlatValue(cpu, "throttled_usec") * 1000;
  out.memory_bytes = ReadNumber(cgroup_directory + "/memory.current");
  const std::string memory = Read(cgroup_directory + "/memory.stat");
  out.working_set_bytes = std::max<int64_t>(0, out.memory_bytes - FlatValue(memory, "inactive_file"));
  out.rss_bytes = FlatValue(memory, "anon");
  out.cache_bytes = FlatValue(memory, "file");
  out.mapped_bytes = FlatValue(memory, "file_mapped");
  out.swap_bytes = ReadNumber(cgroup_directory + "/memory.swap.current");
  out.peak_bytes = ReadNumber(cgroup_directory + "/memory.peak");
  const std::string events = Read(cgroup_directory + "/memory.events");
  out.memory_failures = FlatValue(events, "max");
  out.oom_kills = FlatValue(events, "oom_kill");
  out.page_faults = FlatValue(memory, "pgfault");
  out.major_page_faults = FlatValue(memory, "pgmajfault");
  out.processes = ReadNumber(cgroup_directory + "/pids.current");
  return out;
}

std::vector<Device> ParseIoStat(std::string_view text,
                                const std::function<std::string(std::string_view number)>& name_of) {
  std::vector<Device> out;
  for (std::string_view line : absl::StrSplit(text, '\n')) {
    // "8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0"; nothing behind the number of a device that was not
    // used.
    const std::vector<std::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (words.size() < 2) continue;
    Device device{.name = name_of(words[0])};
    if (device.name.empty()) continue;
    for (std::string_view word : words) {
      for (const auto& [key, figure] :
           {std::pair{"rbytes=", &device.read_bytes}, std::pair{"wbytes=", &device.written_bytes},
            std::pair{"rios=", &device.reads}, std::pair{"wios=", &device.writes}}) {
        std::string_view value = word;
        int64_t number = 0;
        if (absl::ConsumePrefix(&value, key) && absl::SimpleAtoi(value, &number)) *figure = number;
      }
    }
    out.push_back(std::move(device));
  }
  return out;
}

FileSystemUsage ReadFileSystem(const std::string& path) {
  FileSystemUsage out;
  struct statvfs info{};
  if (::statvfs(path.c_str(), &info) != 0) return out;
  const auto block = static_cast<int64_t>(info.f_frsize);
  out.capacity_bytes = static_cast<int64_t>(info.f_blocks) * block;
  out.available_bytes = static_cast<int64_t>(info.f_bavail) * block;
  out.used_bytes = static_cast<int64_t>(info.f_blocks - info.f_bfree) * block;
  out.inodes = static_cast<int64_t>(info.f_files);
  out.free_inodes = static_cast<int64_t>(info.f_ffree);
  return out;
}

std::vector<Interface> ParseInterfaces(std::string_view proc_net_dev) {
  std::vector<Interface> out;
  for (std::string_view line : absl::StrSplit(proc_net_dev, '\n')) {
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;  // the two lines of headings
    const std::vector<std::string_view> fields = absl::StrSplit(line.substr(colon + 1), ' ', absl::SkipEmpty());
    if (fields.size() < 12) continue;
    const auto number = [&fields](size_t i) {
      int64_t value = 0;
      return absl::SimpleAtoi(fields[i], &value) ? value : 0;
    };
    Interface interface{.name = std::string(absl::StripAsciiWhitespace(line.substr(0, colon))),
                        .rx_bytes = number(0),
                        .rx_packets = number(1),
                        .rx_errors = number(2),
                        .rx_dropped = number(3),
                        .tx_bytes = number(8),
                        .tx_packets = number(9),
                        .tx_errors = number(10),
                        .tx_dropped = number(11)};
    if (interface.name != "lo") out.push_back(std::move(interface));
  }
  return out;
}

Machine ParseMachine(std::string_view stat, std::string_view meminfo, int64_t ticks) {
  Machine out;
  // "cpu  user nice system idle iowait irq softirq steal …"; virtual machines of it are within user.
  const std::vector<std::string_view> fields = absl::StrSplit(stat.substr(0, stat.find('\n')), ' ', absl::SkipEmpty());
  if (fields.size() >= 8 && fields[0] == "cpu" && ticks > 0) {
    for (size_t i : {1, 2, 3, 6, 7}) {
      int64_t value = 0;
      if (absl::SimpleAtoi(fields[i], &value)) out.cpu_nanos += value;
    }
    out.cpu_nanos *= 1'000'000'000 / ticks;
  }
  for (std::string_view line : absl::StrSplit(meminfo, '\n')) {
    int64_t* target = nullptr;
    if (absl::ConsumePrefix(&line, "MemTotal:")) target = &out.memory_bytes;
    if (absl::ConsumePrefix(&line, "MemAvailable:")) target = &out.available_bytes;
    int64_t kib = 0;
    if (target != nullptr && absl::ConsumeSuffix(&line, " kB") && absl::SimpleAtoi(line, &kib)) *target = kib * 1024;
  }
  return out;
}

json::Object ReadStats(const StatsSources& sources, absl::Time now) {
  json::Array containers;
  for (const auto& [name, container] : sources.containers) {
    json::Object item = ToJson(ReadUsage(container.cgroup));
    item["name"] = name;
    item["devices"] = DevicesOf(sources.sys, container.cgroup);
    if (auto usage = ReadTree(container.root)) item["rootfs"] = ToJson(*usage);
    if (auto usage = ReadTree(container.logs)) item["logs"] = ToJson(*usage);
    containers.push_back(std::move(item));
  }
  json::Array volumes;
  for (const auto& [name, directory] : sources.volumes) {
    auto usage = ReadTree(directory);
    if (!usage) continue;
    json::Object item = ToJson(*usage);
    item["name"] = name;
    volumes.push_back(std::move(item));
  }
  json::Array interfaces;
  for (const Interface& interface : ParseInterfaces(Read(sources.proc + "/net/dev"))) {
    interfaces.push_back(ToJson(interface));
  }
  const Machine machine =
      ParseMachine(Read(sources.proc + "/stat"), Read(sources.proc + "/meminfo"), ::sysconf(_SC_CLK_TCK));
  json::Object guest;
  guest["cpuNanos"] = machine.cpu_nanos;
  guest["memoryBytes"] = machine.memory_bytes;
  guest["availableBytes"] = machine.available_bytes;
  json::Object out;
  out["time"] = absl::ToUnixNanos(now);
  out["containers"] = std::move(containers);
  out["volumes"] = std::move(volumes);
  json::Object pod = ToJson(ReadUsage(sources.pod));
  pod["devices"] = DevicesOf(sources.sys, sources.pod);
  out["pod"] = std::move(pod);
  out["scratch"] = ToJson(ReadFileSystem(sources.scratch));
  out["interfaces"] = std::move(interfaces);
  out["guest"] = std::move(guest);
  return out;
}

json::Object ToJson(const Interface& interface) {
  json::Object out;
  out["name"] = interface.name;
  out["rxBytes"] = interface.rx_bytes;
  out["rxPackets"] = interface.rx_packets;
  out["rxErrors"] = interface.rx_errors;
  out["rxDropped"] = interface.rx_dropped;
  out["txBytes"] = interface.tx_bytes;
  out["txPackets"] = interface.tx_packets;
  out["txErrors"] = interface.tx_errors;
  out["txDropped"] = interface.tx_dropped;
  return out;
}

json::Object ToJson(const Device& device) {
  json::Object out;
  out["name"] = device.name;
  out["readBytes"] = device.read_bytes;
  out["reads"] = device.reads;
  out["writtenBytes"] = device.written_bytes;
  out["writes"] = device.writes;
  return out;
}

json::Object ToJson(const Usage& usage) {
  json::Object out;
  out["cpuNanos"] = usage.cpu_nanos;
  out["cpuUserNanos"] = usage.cpu_user_nanos;
  out["cpuSystemNanos"] = usage.cpu_system_nanos;
  out["cpuPeriods"] = usage.cpu_periods;
  out["cpuThrottledPeriods"] = usage.cpu_throttled_periods;
  out["cpuThrottledNanos"] = usage.cpu_throttled_nanos;
  out["memoryBytes"] = usage.memory_bytes;
  out["workingSetBytes"] = usage.working_set_bytes;
  out["rssBytes"] = usage.rss_bytes;
  out["cacheBytes"] = usage.cache_bytes;
  out["mappedBytes"] = usage.mapped_bytes;
  out["swapBytes"] = usage.swap_bytes;
  out["peakBytes"] = usage.peak_bytes;
  out["memoryFailures"] = usage.memory_failures;
  out["oomKills"] = usage.oom_kills;
  out["pageFaults"] = usage.page_faults;
  out["majorPageFaults"] = usage.major_page_faults;
  out["processes"] = usage.processes;
  return out;
}

json::Object ToJson(const TreeUsage& usage) {
  json::Object out;
  out["usedBytes"] = usage.used_bytes;
  out["inodesUsed"] = usage.inodes;
  return out;
}

json::Object ToJson(const FileSystemUsage& usage) {
  json::Object out;
  out["capacityBytes"] = usage.capacity_bytes;
  out["availableBytes"] = usage.available_bytes;
  out["usedBytes"] = usage.used_bytes;
  out["inodes"] = usage.inodes;
  out["freeInodes"] = usage.free_inodes;
  return out;
}

}  // namespace vck::guestos
