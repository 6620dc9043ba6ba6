// Catalog: which images the store has, and by which names they are known. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "image/image_store.h"
#include "oci/reference.h"

namespace vck::image {

class Catalog {
 public:
  struct Found {
    const StoredImage* image = nullptr;  // until the next change
    std::string digest;                  // of the name that led to it
  };

  // Images by their digests.
  [[nodiscard]] const std::map<std::string, StoredImage>& images() const { return images_; }
  void Put(StoredImage image);
  void Erase(const std::string& digest) { images_.erase(digest); }

  // What a reference means without asking the registry. Where several images have a tag, the newest counts.
  [[nodiscard]] std::optional<Found> Find(const oci::Reference& reference) const;
  // "repo@sha256:…", with a digest that any of its names has, or its own.
  [[nodiscard]] const StoredImage* FindById(std::string_view image_id) const;

  // From now on `reference` means this image, by a digest that the registry told. The images whose names have changed:
  // a tag that another one had is taken from it (its digest stays, since pods may run by it).
  std::vector<StoredImage> AddName(const std::string& image_digest, const oci::Reference& reference,
                                   const std::string& digest);

  // "docker.io/library/busybox@sha256:…"
  static std::string ImageId(const oci::Reference& reference, std::string_view digest);

 private:
  std::map<std::string, StoredImage> images_;
};

}  // namespace vck::image
