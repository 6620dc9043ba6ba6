// What a registry answers: manifests, configurations, challenges, tokens and errors. Whatever is taken has good
// digests.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "oci/challenge.h"
#include "oci/manifest.h"
#include "oci/reference.h"
#include "oci/registry_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0: {
      auto manifest = vck::oci::ParseManifest(data[0] % 8 == 0 ? "" : vck::oci::kOciManifest, text);
      if (!manifest.ok()) break;
      for (const auto& layer : manifest->layers) {
        if (!vck::oci::CheckDigest(layer.descriptor.digest).ok() || layer.descriptor.size < 0) std::abort();
      }
      if (vck::oci::ForPlatform(manifest->entries).size() > manifest->entries.size()) std::abort();
      if (!manifest->is_index && !vck::oci::CheckDigest(manifest->config.digest).ok()) std::abort();
      break;
    }
    case 1: {
      auto config = vck::oci::ParseImageConfig(text);
      if (!config.ok()) break;
      for (const auto& id : config->diff_ids) {
        if (!vck::oci::CheckDigest(id).ok()) std::abort();
      }
      break;
    }
    case 2:
      for (const auto& challenge : vck::oci::ParseChallenges(text)) {
        if (challenge.scheme.empty()) std::abort();
      }
      break;
    default: {
      auto token = vck::oci::ParseToken(text);
      if (token.ok() &&
          (token->token.find_first_of("\r\n ") != std::string::npos || token->lifetime < absl::Seconds(60))) {
        std::abort();
      }
      (void)vck::oci::ErrorText(text);
      (void)vck::oci::ParseRegistryConfig(text);
    }
  }
  return 0;
}
