#include "guestos/pressure.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "guestos/files.h"
#include "guestos/projects.h"

namespace vck::guestos {
namespace {

// With less than this, writes of usual sizes fail.
constexpr int64_t kFullBytes = int64_t{1} << 20;
// Once it is this far away from it, another time is worth another word.
constexpr int64_t kRoomyBytes = 4 * kFullBytes;

int64_t UsedBytes(const std::string& directory) {
  auto usage = ReadTree(directory);
  return usage ? usage->used_bytes : 0;
}

Written Measure(const StatsSources& sources) {
  Written out;
  for (const auto& [name, path] : sources.volumes) out.volumes[name] = UsedBytes(path);
  for (const auto& [name, container] : sources.containers) {
    out.containers[name] = UsedBytes(container.root) + UsedBytes(container.logs);
  }
  return out;
}

}  // namespace

const guestapi::StorageLimit* FindExceeded(const std::vector<guestapi::StorageLimit>& limits, const Written& written) {
  using Kind = guestapi::StorageLimit::Kind;
  int64_t all = 0;
  for (const auto* part : {&written.volumes, &written.containers}) {
    for (const auto& [name, bytes] : *part) all += bytes;
  }
  for (const guestapi::StorageLimit& limit : limits) {
    int64_t used = all;
    if (limit.kind != Kind::kPod) {
      const auto& part = limit.kind == Kind::kVolume ? written.volumes : written.containers;
      auto found = part.find(limit.name);
      used = found == part.end() ? 0 : found->second;
    }
    if (used > limit.bytes) return &limit;
  }
  return nullptr;
}

std::vector<tether::Event> Pressure::Look(const PressureSources& sources) {
  std::vector<tether::Event> out;
  const FileSystemUsage disk = ReadFileSystem(sources.stats.scratch);
  const bool full = disk.available_bytes < kFullBytes || (disk.inodes > 0 && disk.free_inodes == 0);
  if (full && disk.capacity_bytes > 0 && !std::exchange(disk_full_, true)) {
    out.emplace_back(tether::Noticed{
        .container = "",
        .reason = "DiskFull",
        .message = absl::StrCat("No space left on the pod's scratch disk of ", disk.capacity_bytes >> 20,
                                " MiB: its containers cannot write to their own files, emptyDirs and logs. Its size "
                                "follows limits of ephemeral-storage and sizeLimit of emptyDirs")});
  }
  if (disk.available_bytes > kRoomyBytes && disk.free_inodes > 0) disk_full_ = false;

  std::map<std::string, int64_t> refused;
  for (const auto& [name, container] : sources.stats.containers) {
    auto events = ReadFile(container.cgroup + "/pids.events", 4096);
    const int64_t count = events.ok() ? FlatValue(*events, "max") : 0;
    if (count > refused_forks_[container.cgroup]) {
      out.emplace_back(tether::Noticed{
          .container = name,
          .reason = "ProcessLimitReached",
          .message = absl::StrCat("Container ", name, " cannot start more processes or threads: its VM has no more")});
    }
    refused[container.cgroup] = count;
  }
  refused_forks_ = std::move(refused);

  for (const auto& [name, why] : sources.lost_output) {
    if (lost_output_.contains(name)) continue;
    out.emplace_back(tether::Noticed{.container = name,
                                     .reason = "LogsLost",
                                     .message = absl::StrCat("Output of container ", name, " is lost: ", why)});
  }
  lost_output_ = sources.lost_output;

  if (const auto* exceeded = FindExceeded(sources.limits, Measure(sources.stats)); exceeded != nullptr) {
    out.emplace_back(tether::Exceeded{exceeded->message});
  }
  return out;
}

}  // namespace vck::guestos
