#include "guestos/stats.h"

#include <algorithm>

#include <sys/statvfs.h>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
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
  out.cpu_nanos = FlatValue(Read(cgroup_directory + "/cpu.stat"), "usage_usec") * 1000;
  out.memory_bytes = ReadNumber(cgroup_directory + "/memory.current");
  const std::string memory = Read(cgroup_directory + "/memory.stat");
  out.working_set_bytes = std::max<int64_t>(0, out.memory_bytes - FlatValue(memory, "inactive_file"));
  out.rss_bytes = FlatValue(memory, "anon");
  out.page_faults = FlatValue(memory, "pgfault");
  out.major_page_faults = FlatValue(memory, "pgmajfault");
  out.processes = ReadNumber(cgroup_directory + "/pids.current");
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

json::Object ToJson(const Usage& usage) {
  json::Object out;
  out["cpuNanos"] = usage.cpu_nanos;
  out["memoryBytes"] = usage.memory_bytes;
  out["workingSetBytes"] = usage.working_set_bytes;
  out["rssBytes"] = usage.rss_bytes;
  out["pageFaults"] = usage.page_faults;
  out["majorPageFaults"] = usage.major_page_faults;
  out["processes"] = usage.processes;
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
