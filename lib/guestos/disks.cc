#include "guestos/disks.h"

#include <filesystem>
#include <system_error>

#include <fcntl.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "guestos/fd.h"
#include "guestos/kernel_files.h"
#include "guestos/poll.h"

namespace vck::guestos {
namespace {

namespace fs = std::filesystem;

// What the driver calls itself in sysfs. Other controllers (the CD-ROM's) have units of their own.
constexpr std::string_view kDriver = "vmw_pvscsi";

constexpr absl::Duration kScanInterval = absl::Milliseconds(200);

// devtmpfs makes the node later than sysfs the name, and the kernel opens the disk (ENXIO) yet a little later.
bool CanBeOpened(const std::string& device) { return Fd(::open(device.c_str(), O_RDONLY | O_CLOEXEC)).valid(); }

}  // namespace

void ScanDisk(int unit, const std::string& sys) {
  std::error_code ec;
  for (const auto& host : fs::directory_iterator(sys + "/class/scsi_host", ec)) {
    auto driver = ReadKernelFile((host.path() / "proc_name").string());
    if (driver.ok() && *driver == kDriver) {
      (void)WriteKernelFile((host.path() / "scan").string(), absl::StrCat("0 ", unit, " 0"));
    }
  }
}

StatusOr<std::string> FindDisk(int unit, const std::string& sys) {
  std::error_code ec;
  // A device is named host:channel:target:lun.
  for (const auto& entry : fs::directory_iterator(sys + "/class/scsi_device", ec)) {
    const std::string address = entry.path().filename().string();
    std::vector<std::string_view> parts = absl::StrSplit(address, ':');
    int target = -1;
    if (parts.size() != 4 || parts[1] != "0" || parts[3] != "0" || !absl::SimpleAtoi(parts[2], &target) ||
        target != unit) {
      continue;
    }
    auto driver = ReadKernelFile(absl::StrCat(sys, "/class/scsi_host/host", parts[0], "/proc_name"));
    if (!driver.ok() || *driver != kDriver) continue;
    for (const auto& block : fs::directory_iterator(entry.path() / "device" / "block", ec)) {
      return "/dev/" + block.path().filename().string();
    }
  }
  return absl::NotFoundError(absl::StrCat("no disk at SCSI unit ", unit));
}

StatusOr<std::string> AwaitDisk(int unit, absl::Duration limit) {
  StatusOr<std::string> found = absl::NotFoundError("");
  absl::Time scan_at = absl::InfinitePast();
  const bool there = PollUntil(limit, [&] {
    found = FindDisk(unit);
    if (!found.ok() && absl::Now() >= scan_at) {
      ScanDisk(unit);
      scan_at = absl::Now() + kScanInterval;
      found = FindDisk(unit);
    }
    return found.ok() && CanBeOpened(*found);
  });
  if (there) return found;
  return absl::DeadlineExceededError(
      absl::StrCat("no disk at SCSI unit ", unit, " within ", absl::FormatDuration(limit)));
}

}  // namespace vck::guestos
