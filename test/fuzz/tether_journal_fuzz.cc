#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "tether/journal.h"
#include "tether/lifecycle.h"

// What is accepted survives a round trip, and a pod can go on from it.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace vck::tether;
  auto journal = DecodeJournal({reinterpret_cast<const char*>(data), size});
  if (!journal.ok()) return 0;
  const std::string text = Encode(*journal);
  auto again = DecodeJournal(text);
  if (!again.ok() || Encode(*again) != text) std::abort();
  const Stamp now{{}, absl::FromUnixSeconds(1767225600)};
  int ids = 0;
  Lifecycle lifecycle("b", [&ids] { return std::to_string(++ids); });
  lifecycle.Restore(*std::move(journal), now);
  (void)lifecycle.Step(Tick{}, now);
  if (!DecodeJournal(Encode(lifecycle.ToJournal(now))).ok()) std::abort();
  if (lifecycle.deadline() <= now.mono) std::abort();
  return 0;
}
