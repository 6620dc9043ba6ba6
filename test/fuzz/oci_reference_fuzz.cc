// Any text: a reference that is taken has parts that are safe in a URL, and is the same when it is written and read
// again.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "oci/reference.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto reference = vck::oci::ParseReference(text);
  if (!reference.ok()) {
    if (vck::oci::InvalidNameMessage(text, reference.status()).empty()) std::abort();
    return 0;
  }
  for (const std::string* part : {&reference->registry, &reference->repository}) {
    if (part->empty() || part->find("..") != std::string::npos ||
        part->find_first_of(" ?#%\\\r\n") != std::string::npos) {
      std::abort();
    }
  }
  if (reference->tag.empty() && reference->digest.empty()) std::abort();
  if (!reference->tag.empty() && !vck::oci::IsTag(reference->tag)) std::abort();
  if (!reference->digest.empty() && !vck::oci::CheckDigest(reference->digest).ok()) std::abort();
  auto again = vck::oci::ParseReference(reference->ToString());
  if (!again.ok() || *again != *reference) std::abort();
  return 0;
}
