#include "guestos/equip.h"

#include <malloc.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "guestos/crun_runtime.h"
#include "guestos/disks.h"
#include "guestos/kernel_files.h"
#include "guestos/paths.h"
#include "guestos/streams.h"
#include "tether/journal_file.h"

namespace vck::guestos {
namespace {

constexpr absl::Duration kDiskWait = absl::Seconds(30);

struct Equipment {
  asio::thread_pool pool{2};
  CrunRuntime runtime;
  GuestStreams streams{&runtime};
  tether::JournalFile journal{pool, absl::StrCat(kJournalDir, "/pod")};

  explicit Equipment(const GuestParts& parts)
      : runtime(parts.executor, parts.clock, parts.reaper, pool,
                {.device_of = [](int unit) { return AwaitDisk(unit, kDiskWait); }}) {}
};

// The VM as its containers see it.
tether::Capacity CapacityOfVm() {
  tether::Capacity out{.cpu_milli = 1000 * ::sysconf(_SC_NPROCESSORS_ONLN)};
  auto memory = ReadKernelFile(absl::StrCat(kCgroupRoot, kPodCgroup, "/memory.max"));
  if (!memory.ok() || !absl::SimpleAtoi(*memory, &out.memory_bytes)) out.memory_bytes = 0;
  return out;
}

}  // namespace

Status EquipWithCrun(GuestParts parts, tether::Options* options) {
  ::mallopt(M_ARENA_MAX, 1);               // a heap for each thread would cost more than they allocate
  auto* equipment = new Equipment(parts);  // the guest ends with the machine
  options->runtime = equipment->runtime.Factory();
  options->streams = &equipment->streams;
  options->capacity = CapacityOfVm();
  if (!parts.scratch.device.empty()) options->journal = &equipment->journal;
  return absl::OkStatus();
}

}  // namespace vck::guestos
