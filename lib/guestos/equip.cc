#include "guestos/equip.h"

#include <malloc.h>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "guestos/crun_runtime.h"
#include "guestos/disks.h"
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

}  // namespace

Status EquipWithCrun(GuestParts parts, tether::Options* options) {
  ::mallopt(M_ARENA_MAX, 1);               // a heap for each thread would cost more than they allocate
  auto* equipment = new Equipment(parts);  // the guest ends with the machine
  options->runtime = equipment->runtime.Factory();
  options->streams = &equipment->streams;
  if (!parts.scratch.device.empty()) options->journal = &equipment->journal;
  return absl::OkStatus();
}

}  // namespace vck::guestos
