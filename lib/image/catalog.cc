#include "image/catalog.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace vck::image {
namespace {

constexpr size_t kMaxNames = 64;  // of one image; they are kept in a VM's notes

bool HasName(const StoredImage& image, const std::string& name) {
  return std::ranges::find(image.names, name) != image.names.end();
}

}  // namespace

void Catalog::Put(StoredImage image) {
  std::string digest = image.digest;
  images_.insert_or_assign(std::move(digest), std::move(image));
}

std::string Catalog::ImageId(const oci::Reference& reference, std::string_view digest) {
  return absl::StrCat(reference.Name(), "@", digest);
}

std::optional<Catalog::Found> Catalog::Find(const oci::Reference& reference) const {
  std::optional<Found> best;
  for (const auto& [digest, image] : images_) {
    for (const std::string& text : image.names) {
      auto name = oci::ParseReference(text);
      if (!name.ok() || name->Name() != reference.Name()) continue;
      bool fits = reference.digest.empty() ? name->tag == reference.tag
                                           : name->digest == reference.digest || digest == reference.digest;
      if (!fits || (best && best->image->created > image.created)) continue;
      best = Found{&image, reference.digest.empty() ? name->digest : reference.digest};
    }
  }
  return best;
}

const StoredImage* Catalog::FindById(std::string_view image_id) const {
  size_t at = image_id.rfind('@');
  if (at == std::string_view::npos) return nullptr;
  std::string_view digest = image_id.substr(at + 1);
  if (auto it = images_.find(std::string(digest)); it != images_.end()) return &it->second;
  for (const auto& [own, image] : images_) {
    for (const std::string& name : image.names) {
      if (name.ends_with(image_id.substr(at))) return &image;
    }
  }
  return nullptr;
}

std::vector<StoredImage> Catalog::AddName(const std::string& image_digest, const oci::Reference& reference,
                                          const std::string& digest) {
  std::vector<StoredImage> changed;
  auto target = images_.find(image_digest);
  if (target == images_.end()) return changed;
  oci::Reference full = reference;
  full.digest = digest;
  std::string name = full.ToString();
  std::string tagged = reference.tag.empty() ? "" : absl::StrCat(reference.Name(), ":", reference.tag, "@");
  for (auto& [own, image] : images_) {
    bool touched = false;
    for (size_t i = 0; i < image.names.size(); ++i) {
      if (tagged.empty() || !image.names[i].starts_with(tagged) || (own == image_digest && image.names[i] == name)) {
        continue;
      }
      // The tag has moved on; what it was stays.
      std::string plain = absl::StrCat(reference.Name(), "@", image.names[i].substr(tagged.size()));
      touched = true;
      if (HasName(image, plain)) {
        image.names.erase(image.names.begin() + static_cast<std::ptrdiff_t>(i--));
      } else {
        image.names[i] = std::move(plain);
      }
    }
    if (own == image_digest && !HasName(image, name)) {
      // A digest that is known with a tag need not be known without.
      std::string plain = absl::StrCat(reference.Name(), "@", digest);
      std::erase(image.names, plain);
      if (image.names.size() >= kMaxNames) image.names.erase(image.names.begin());
      image.names.push_back(name);
      touched = true;
    }
    if (touched) changed.push_back(image);
  }
  return changed;
}

}  // namespace vck::image
