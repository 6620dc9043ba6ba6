#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "vch/names.h"
#include "vch/pod_key.h"

// What parses is written back the same way, and reads the same.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto key = vck::vch::ParsePodKey(text); key.ok()) {
    auto again = vck::vch::ParsePodKey(vck::vch::Encode(*key));
    if (!again.ok() || !(*again == *key)) std::abort();
  }
  if (vck::vch::UnescapeName(vck::vch::EscapeName(text)) != text) std::abort();
  if (vck::vch::PodVmName("vch", text, text, text).size() > vck::vch::kMaxName) std::abort();
  (void)vck::vch::ParseDatastorePath(text);
  return 0;
}
