// A pull secret's bytes: taken or refused, and what is refused leaves nothing behind.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "oci/keyring.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  for (std::string_view type : {vck::oci::kDockerConfigJsonType, vck::oci::kDockercfgType}) {
    vck::oci::Keyring keyring;
    if (!keyring.AddSecret(type, text).ok() && !keyring.empty()) std::abort();
    for (const char* name : {"docker.io/library/busybox", "quay.io/a/b", "localhost:5000/x", "[::1]:5000/x"}) {
      for (const auto& credential : keyring.Lookup(name)) {
        if (credential.empty()) std::abort();
      }
    }
  }
  return 0;
}
