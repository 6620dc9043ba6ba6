// Image references: the grammar and the defaults of github.com/distribution/reference, with its words for mistakes.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace vck::oci {

struct Reference {
  std::string registry;    // "docker.io", "localhost:5000"
  std::string repository;  // "library/busybox"
  std::string tag;         // "" where only a digest was given
  std::string digest;      // "sha256:…", or ""
  [[nodiscard]] std::string Name() const { return registry + "/" + repository; }
  // "docker.io/library/busybox:1.36@sha256:…"
  [[nodiscard]] std::string ToString() const;
  friend bool operator==(const Reference&, const Reference&) = default;
};

// What a pod names. A familiar name gets docker.io and library/; one without tag and digest gets the tag latest. A
// digest beside a tag wins. Errors are InvalidArgument with the library's texts ("invalid reference format").
StatusOr<Reference> ParseReference(std::string_view text);

// "sha256:<64 hex>", or sha384, sha512 with as many digits as they have, in lower case.
Status CheckDigest(std::string_view digest);
// 1 to 128 of letters, digits, '_', '.' and '-', none of the last two first.
bool IsTag(std::string_view tag);

// The kubelet's message for a container whose image cannot be parsed (reason InvalidImageName).
std::string InvalidNameMessage(std::string_view image, const Status& error);

}  // namespace vck::oci
