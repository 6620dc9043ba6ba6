#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "guestapi/state.h"

// Whatever is accepted must survive a round trip.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto first = vck::guestapi::DecodeState({reinterpret_cast<const char*>(data), size});
  if (!first.ok()) return 0;
  std::string text = vck::guestapi::Encode(*first);
  auto second = vck::guestapi::DecodeState(text);
  if (!second.ok() || vck::guestapi::Encode(*second) != text) std::abort();
  return 0;
}
