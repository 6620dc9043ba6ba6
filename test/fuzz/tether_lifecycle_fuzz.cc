#include <cstddef>
#include <cstdint>

#include "tether/chaos.h"

// Whatever containers, kubelet, clock and power do: see Chaos.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vck::tether::Chaos(data, size).Run();
  return 0;
}
