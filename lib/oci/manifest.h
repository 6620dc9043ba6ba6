// Manifests, indexes and image configurations: OCI image-spec 1.1 and Docker's schema 2, as parsed values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace vck::oci {

inline constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kDockerList = "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view kDockerManifest = "application/vnd.docker.distribution.manifest.v2+json";

struct Platform {
  std::string os, architecture, variant;
};

struct Descriptor {
  std::string media_type;
  std::string digest;
  int64_t size = 0;
  Platform platform;  // of an index's entries; empty where not said
};

enum class Compression { kNone, kGzip, kZstd };

struct Layer {
  Descriptor descriptor;
  Compression compression = Compression::kNone;
};

// Either an index (entries) or an image's manifest (config and layers).
struct Manifest {
  bool is_index = false;
  std::vector<Descriptor> entries;
  Descriptor config;
  std::vector<Layer> layers;  // the lowest first
};

// `media_type` is the response's Content-Type; the text's own mediaType counts where it has one. InvalidArgument names
// what is wrong; Unimplemented for kinds that are no image for this platform's runtime (schema 1, artifacts).
StatusOr<Manifest> ParseManifest(std::string_view media_type, std::string_view text);

// The entries of an index that fit linux/amd64, the best first; those that name no platform last.
std::vector<Descriptor> ForPlatform(const std::vector<Descriptor>& entries);

// What is read of an image's configuration.
struct ImageConfig {
  Platform platform;
  std::vector<std::string> diff_ids;  // digests of the unpacked layers, the lowest first
};
StatusOr<ImageConfig> ParseImageConfig(std::string_view text);

}  // namespace vck::oci
