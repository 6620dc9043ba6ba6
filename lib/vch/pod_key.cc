#include "vch/pod_key.h"

#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace vck::vch {
namespace {

struct FieldName {
  std::string_view name;
  std::string PodKey::* member;
  bool required;
};
constexpr std::array<FieldName, 8> kFields = {{
    {"vch", &PodKey::vch_id, true},
    {"uid", &PodKey::pod_uid, true},
    {"ns", &PodKey::pod_namespace, true},
    {"name", &PodKey::pod_name, true},
    {"ip", &PodKey::pod_ip, false},
    {"node", &PodKey::node, false},
    {"spec", &PodKey::spec_hash, false},
    {"images", &PodKey::images, false},
}};

void AppendEncoded(std::string& out, std::string_view value) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  for (char c : value) {
    auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7f && c != '%' && c != '=') {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

bool Decode(std::string_view text, std::string& out) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return false;
    int high = HexDigit(text[i + 1]);
    int low = HexDigit(text[i + 2]);
    if (high < 0 || low < 0) return false;
    out += static_cast<char>(high << 4 | low);
    i += 2;
  }
  return true;
}

}  // namespace

std::string Encode(const PodKey& key) {
  std::string out = "v1";
  for (const FieldName& field : kFields) {
    const std::string& value = key.*field.member;
    if (value.empty()) continue;
    absl::StrAppend(&out, " ", field.name, "=");
    AppendEncoded(out, value);
  }
  return out;
}

std::string EncodeImages(const std::vector<PodImage>& images) {
  return absl::StrJoin(images, ",", [](std::string* out, const PodImage& image) {
    absl::StrAppend(out, image.reference, "|", image.id);
  });
}

StatusOr<std::vector<PodImage>> ParseImages(std::string_view text) {
  std::vector<PodImage> images;
  if (text.empty()) return images;
  for (std::string_view item : absl::StrSplit(text, ',')) {
    std::vector<std::string> parts = absl::StrSplit(item, '|');
    if (parts.size() != 2 || parts[0].empty() != parts[1].empty()) {
      return absl::InvalidArgumentError("vch.pod key: images are not of the form reference|id,reference|id");
    }
    images.push_back({.reference = std::move(parts[0]), .id = std::move(parts[1])});
  }
  return images;
}

StatusOr<PodKey> ParsePodKey(std::string_view text) {
  if (text.empty()) return absl::NotFoundError("no vch.pod key");
  PodKey key;
  bool first = true;
  for (std::string_view word : absl::StrSplit(text, ' ')) {
    if (std::exchange(first, false)) {
      if (word != "v1") return absl::InvalidArgumentError("vch.pod key: expected version v1");
      continue;
    }
    size_t equals = word.find('=');
    if (equals == 0 || equals == std::string_view::npos) {
      return absl::InvalidArgumentError("vch.pod key: expected name=value, separated by single spaces");
    }
    for (const FieldName& field : kFields) {
      if (field.name != word.substr(0, equals)) continue;
      std::string& value = key.*field.member;
      if (!value.empty()) return absl::InvalidArgumentError(absl::StrCat("vch.pod key: ", field.name, " comes twice"));
      if (!Decode(word.substr(equals + 1), value)) {
        return absl::InvalidArgumentError(absl::StrCat("vch.pod key: bad percent-encoding in ", field.name));
      }
    }
  }
  for (const FieldName& field : kFields) {
    if (field.required && (key.*field.member).empty()) {
      return absl::InvalidArgumentError(absl::StrCat("vch.pod key: ", field.name, " is missing"));
    }
  }
  return key;
}

}  // namespace vck::vch
