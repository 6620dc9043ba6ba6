#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "kubeapi/quantity.h"

// What is read can be written and read again, and the roundings agree.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using vck::kubeapi::Quantity;
  auto first = Quantity::Parse(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!first.ok()) return 0;
  for (const std::string& text : {first->ToString(), first->ToBinaryString()}) {
    auto second = Quantity::Parse(text);
    if (!second.ok() || *second != *first) std::abort();
  }
  if (first->Value() > 0 && first->MilliValue() < first->Value()) std::abort();
  // Sums saturate at both ends, so this holds on one side of zero only.
  if (first->Value() >= 0 && (*first + *first - *first).Value() > first->Value()) std::abort();
  return 0;
}
