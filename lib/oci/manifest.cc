#include "oci/manifest.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "json/json.h"
#include "oci/reference.h"

namespace vck::oci {
namespace {

constexpr size_t kMaxLayers = 1024;
constexpr size_t kMaxEntries = 1024;

Status Bad(std::string_view where, std::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat("manifest: ", where, ": ", problem));
}

Platform ParsePlatform(const json::Value* value) {
  return {.os = std::string(json::String(value, "os")),
          .architecture = std::string(json::String(value, "architecture")),
          .variant = std::string(json::String(value, "variant"))};
}

StatusOr<Descriptor> ParseDescriptor(const json::Value* value, std::string_view where) {
  if (value == nullptr || !value->is_object()) return Bad(where, "missing, or not an object");
  Descriptor out{.media_type = std::string(json::String(value, "mediaType")),
                 .digest = std::string(json::String(value, "digest")),
                 .size = json::Int(value, "size", -1),
                 .platform = ParsePlatform(json::Get(value, "platform"))};
  if (Status status = CheckDigest(out.digest); !status.ok()) return Bad(where, status.message());
  if (out.size < 0) return Bad(where, "no valid size");
  return out;
}

bool IsIndexType(std::string_view type) { return type == kOciIndex || type == kDockerList; }
bool IsManifestType(std::string_view type) { return type == kOciManifest || type == kDockerManifest; }

StatusOr<Layer> ParseLayer(const json::Value& value, std::string_view where) {
  Layer out;
  ASSIGN_OR_RETURN(out.descriptor, ParseDescriptor(&value, where));
  std::string_view type = out.descriptor.media_type;
  // ….layer.v1.tar, ….layer.nondistributable.v1.tar, ….image.rootfs.diff.tar, ….rootfs.foreign.diff.tar; ".gzip" is
  // Docker's and "+gzip" OCI's. What the bytes are is seen from the bytes.
  if (absl::ConsumeSuffix(&type, "+gzip") || absl::ConsumeSuffix(&type, ".gzip")) {
    out.compression = Compression::kGzip;
  } else if (absl::ConsumeSuffix(&type, "+zstd") || absl::ConsumeSuffix(&type, ".zstd")) {
    out.compression = Compression::kZstd;
  }
  if (!type.ends_with(".tar")) {
    return absl::UnimplementedError(
        absl::StrCat("manifest: ", where, ": a layer of type \"", out.descriptor.media_type, "\" is not supported"));
  }
  return out;
}

}  // namespace

StatusOr<Manifest> ParseManifest(std::string_view media_type, std::string_view text) {
  ASSIGN_OR_RETURN(json::Document document, json::Document::Parse(text));
  const json::Value& root = document.root();
  if (!root.is_object()) return Bad("text", "expected a JSON object");
  // Content-Type may have parameters.
  media_type = absl::StripAsciiWhitespace(media_type.substr(0, media_type.find(';')));
  std::string_view type = json::String(root, "mediaType");
  if (type.empty() && (IsIndexType(media_type) || IsManifestType(media_type))) type = media_type;
  if (type.empty()) {
    if (json::Int(root, "schemaVersion") == 1) type = "application/vnd.docker.distribution.manifest.v1+json";
    // A text of unknown type could be read as either (CVE-2021-41190): it must be one of them only.
    bool index = json::Get(root, "manifests") != nullptr;
    bool image = json::Get(root, "layers") != nullptr || json::Get(root, "config") != nullptr;
    if (index && image) return Bad("text", "both an index and a manifest");
    if (index || image) type = index ? kOciIndex : kOciManifest;
  }
  Manifest out;
  if (IsIndexType(type)) {
    out.is_index = true;
    if (json::Get(root, "layers") != nullptr) return Bad("layers", "an index has none");
    const json::Array& entries = json::Items(root, "manifests");
    if (entries.size() > kMaxEntries) return Bad("manifests", "too many");
    for (size_t i = 0; i < entries.size(); ++i) {
      ASSIGN_OR_RETURN(Descriptor entry, ParseDescriptor(&entries[i], absl::StrCat("manifests[", i, "]")));
      out.entries.push_back(std::move(entry));
    }
    return out;
  }
  if (!IsManifestType(type)) {
    return absl::UnimplementedError(absl::StrCat("manifest: media type \"", type, "\" is not supported"));
  }
  if (json::Get(root, "manifests") != nullptr) return Bad("manifests", "an image's manifest has none");
  ASSIGN_OR_RETURN(out.config, ParseDescriptor(json::Get(root, "config"), "config"));
  if (out.config.media_type != "application/vnd.oci.image.config.v1+json" &&
      out.config.media_type != "application/vnd.docker.container.image.v1+json") {
    return absl::UnimplementedError(
        absl::StrCat("manifest: config: this is no image but \"", out.config.media_type, "\""));
  }
  const json::Array& layers = json::Items(root, "layers");
  if (layers.size() > kMaxLayers) return Bad("layers", "too many");
  for (size_t i = 0; i < layers.size(); ++i) {
    ASSIGN_OR_RETURN(Layer layer, ParseLayer(layers[i], absl::StrCat("layers[", i, "]")));
    out.layers.push_back(std::move(layer));
  }
  return out;
}

std::vector<Descriptor> ForPlatform(const std::vector<Descriptor>& entries) {
  auto rank = [](const Descriptor& d) {
    const Platform& p = d.platform;
    bool manifest = d.media_type.empty() || IsManifestType(d.media_type) || IsIndexType(d.media_type);
    if (!manifest) return 0;
    if (p.os.empty() && p.architecture.empty()) return 1;
    if (p.os != "linux" || p.architecture != "amd64") return 0;
    // Every amd64 runs v1; v2 and later may need instructions that the machine does not have.
    return p.variant.empty() || p.variant == "v1" ? 2 : 0;
  };
  std::vector<Descriptor> out;
  for (int wanted : {2, 1}) {
    std::ranges::copy_if(entries, std::back_inserter(out), [&](const Descriptor& d) { return rank(d) == wanted; });
  }
  return out;
}

StatusOr<ImageConfig> ParseImageConfig(std::string_view text) {
  auto parsed = json::Document::Parse(text);
  if (!parsed.ok()) return Annotate(parsed.status(), "image configuration");
  const json::Value& root = parsed->root();
  if (!root.is_object()) return absl::InvalidArgumentError("image configuration: expected a JSON object");
  ImageConfig out;
  out.platform = ParsePlatform(&root);
  const json::Array& ids = json::Items(json::Get(root, "rootfs"), "diff_ids");
  for (const json::Value& id : ids) {
    std::string digest(json::AsString(id));
    if (Status status = CheckDigest(digest); !status.ok()) {
      return Annotate(status, "image configuration: rootfs.diff_ids");
    }
    out.diff_ids.push_back(std::move(digest));
  }
  return out;
}

}  // namespace vck::oci
