#include "oci/reference.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace vck::oci {
namespace {

constexpr std::string_view kDefaultRegistry = "docker.io";
constexpr std::string_view kLegacyRegistry = "index.docker.io";
constexpr std::string_view kOfficial = "library/";
constexpr size_t kMaxRepository = 255;

bool IsLower(char c) { return absl::ascii_islower(static_cast<unsigned char>(c)); }
bool IsDigit(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }
bool IsAlnum(char c) { return absl::ascii_isalnum(static_cast<unsigned char>(c)); }
bool IsHex(char c) { return absl::ascii_isxdigit(static_cast<unsigned char>(c)); }
bool IsUpper(char c) { return absl::ascii_isupper(static_cast<unsigned char>(c)); }

// [a-z0-9]+ parted by one of '.', '_', "__" or any number of '-'.
bool IsPathComponent(std::string_view text) {
  size_t i = 0;
  while (true) {
    size_t start = i;
    while (i < text.size() && (IsLower(text[i]) || IsDigit(text[i]))) ++i;
    if (i == start) return false;
    if (i == text.size()) return true;
    if (text[i] == '-') {
      while (i < text.size() && text[i] == '-') ++i;
    } else if (text.substr(i).starts_with("__")) {
      i += 2;
    } else if (text[i] == '.' || text[i] == '_') {
      ++i;
    } else {
      return false;
    }
  }
}

bool IsRepository(std::string_view text) {
  for (std::string_view part : absl::StrSplit(text, '/')) {
    if (!IsPathComponent(part)) return false;
  }
  return true;
}

// A DNS name, an IPv4 address or an IPv6 address in brackets, and perhaps a port.
bool IsRegistry(std::string_view text) {
  std::string_view host = text;
  size_t colon = text.rfind(':');
  if (colon != std::string_view::npos && text.back() != ']') {
    host = text.substr(0, colon);
    std::string_view port = text.substr(colon + 1);
    if (port.empty() || !std::ranges::all_of(port, IsDigit)) return false;
  }
  if (host.starts_with('[')) {
    if (host.size() < 3 || !host.ends_with(']')) return false;
    return std::ranges::all_of(host.substr(1, host.size() - 2), [](char c) { return IsHex(c) || c == ':'; });
  }
  for (std::string_view label : absl::StrSplit(host, '.')) {
    if (label.empty() || !IsAlnum(label.front()) || !IsAlnum(label.back())) return false;
    if (!std::ranges::all_of(label, [](char c) { return IsAlnum(c) || c == '-'; })) return false;
  }
  return true;
}

struct Split {
  std::string registry, rest;
};

Split SplitRegistry(std::string_view text) {
  size_t slash = text.find('/');
  if (slash == std::string_view::npos) return {std::string(kDefaultRegistry), absl::StrCat(kOfficial, text)};
  std::string_view first = text.substr(0, slash);
  Split out{std::string(kDefaultRegistry), std::string(text)};
  if (first == kLegacyRegistry) {
    out.rest = text.substr(slash + 1);
  } else if (first == "localhost" || first.find_first_of(".:") != std::string_view::npos ||
             std::ranges::any_of(first, IsUpper)) {
    out = {std::string(first), std::string(text.substr(slash + 1))};
  }
  if (out.registry == kDefaultRegistry && out.rest.find('/') == std::string::npos) out.rest.insert(0, kOfficial);
  return out;
}

Status InvalidFormat() { return absl::InvalidArgumentError("invalid reference format"); }

// algorithm ([-_+.] algorithm)* ':' at least 32 hex digits.
bool LooksLikeDigest(std::string_view text) {
  size_t colon = text.find(':');
  if (colon == std::string_view::npos) return false;
  bool letter = true;  // expected next
  for (char c : text.substr(0, colon)) {
    if (letter ? !absl::ascii_isalpha(static_cast<unsigned char>(c)) : !IsAlnum(c) && !absl::StrContains("-_+.", c)) {
      return false;
    }
    letter = !IsAlnum(c);
  }
  std::string_view hex = text.substr(colon + 1);
  return !letter && hex.size() >= 32 && std::ranges::all_of(hex, IsHex);
}

}  // namespace

std::string Reference::ToString() const {
  return absl::StrCat(Name(), tag.empty() ? "" : ":", tag, digest.empty() ? "" : "@", digest);
}

bool IsTag(std::string_view tag) {
  if (tag.empty() || tag.size() > 128 || tag.front() == '.' || tag.front() == '-') return false;
  return std::ranges::all_of(tag, [](char c) { return IsAlnum(c) || c == '_' || c == '.' || c == '-'; });
}

Status CheckDigest(std::string_view digest) {
  size_t colon = digest.find(':');
  std::string_view algorithm = digest.substr(0, colon);
  size_t digits = algorithm == "sha256" ? 64 : algorithm == "sha384" ? 96 : algorithm == "sha512" ? 128 : 0;
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == digest.size() ||
      (digits == 0 && !LooksLikeDigest(digest))) {
    return absl::InvalidArgumentError("invalid checksum digest format");
  }
  if (digits == 0) return absl::InvalidArgumentError("unsupported digest algorithm");
  std::string_view hex = digest.substr(colon + 1);
  if (hex.size() != digits) return absl::InvalidArgumentError("invalid checksum digest length");
  if (!std::ranges::all_of(hex, [](char c) { return IsDigit(c) || (c >= 'a' && c <= 'f'); })) {
    return absl::InvalidArgumentError("invalid checksum digest format");
  }
  return absl::OkStatus();
}

StatusOr<Reference> ParseReference(std::string_view text) {
  if (text.size() == 64 && std::ranges::all_of(text, [](char c) { return IsDigit(c) || (c >= 'a' && c <= 'f'); })) {
    return absl::InvalidArgumentError(
        absl::StrCat("invalid repository name (", text, "), cannot specify 64-byte hexadecimal strings"));
  }
  Split split = SplitRegistry(text);
  std::string_view rest = split.rest;
  std::string_view remote = rest.substr(0, rest.find(':'));
  if (std::ranges::any_of(remote, IsUpper)) {
    return absl::InvalidArgumentError(
        absl::StrCat("invalid reference format: repository name (", remote, ") must be lowercase"));
  }
  Reference out{.registry = std::move(split.registry)};
  size_t at = rest.find('@');
  std::string_view name = rest.substr(0, at);
  size_t colon = name.find(':');
  out.repository = name.substr(0, colon);
  if (!IsRegistry(out.registry) || !IsRepository(out.repository)) return InvalidFormat();
  if (colon != std::string_view::npos) {
    out.tag = name.substr(colon + 1);
    if (!IsTag(out.tag)) return InvalidFormat();
  }
  if (at != std::string_view::npos) {
    out.digest = rest.substr(at + 1);
    if (!LooksLikeDigest(out.digest)) return InvalidFormat();
  }
  if (out.repository.size() > kMaxRepository) {
    return absl::InvalidArgumentError(
        absl::StrCat("repository name must not be more than ", kMaxRepository, " characters"));
  }
  if (!out.digest.empty()) RETURN_IF_ERROR(CheckDigest(out.digest));
  if (out.tag.empty() && out.digest.empty()) out.tag = "latest";
  return out;
}

std::string InvalidNameMessage(std::string_view image, const Status& error) {
  std::string quoted = absl::StrCat("\"", absl::Utf8SafeCEscape(image), "\"");
  return absl::StrCat("Failed to apply default image tag ", quoted, ": couldn't parse image name ", quoted, ": ",
                      error.message());
}

}  // namespace vck::oci
