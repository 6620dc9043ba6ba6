#include "vch/names.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/digest.h"

namespace vck::vch {
namespace {

constexpr size_t kDigits = 12;

std::string ShortHash(std::string_view vch_id, std::string_view what) {
  return Sha256Hex(absl::StrCat(vch_id, "\n", what)).substr(0, kDigits);
}

// Kubernetes names are DNS labels; anything else (a mirror pod's odd name, say) becomes '-'. No name that vCenter would
// have to escape, and none that ends in '-' or '.' where it was cut.
std::string Clean(std::string_view text, size_t limit) {
  std::string out(text.substr(0, limit));
  for (char& c : out) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '.' && c != '_') c = '-';
  }
  while (!out.empty() && (out.back() == '-' || out.back() == '.')) out.pop_back();
  return out;
}

}  // namespace

std::string PodVmName(std::string_view vch_id, std::string_view pod_uid, std::string_view pod_namespace,
                      std::string_view pod_name) {
  constexpr size_t kWords = kMaxName - kDigits - 2;  // two dashes
  // The pod's name says more than the namespace's: it gets what the namespace leaves, and at least two thirds.
  size_t for_namespace = std::max(kWords / 3, kWords - std::min(kWords, pod_name.size()));
  std::string space = Clean(pod_namespace, for_namespace);
  std::string pod = Clean(pod_name, kWords - space.size());
  return absl::StrCat(space, "-", pod, "-", ShortHash(vch_id, pod_uid));
}

std::string ImageVmName(std::string_view vch_id, std::string_view digest) {
  size_t colon = digest.find(':');
  std::string_view hex = colon == std::string_view::npos ? digest : digest.substr(colon + 1);
  return absl::StrCat("image-", Clean(hex, kDigits), "-", ShortHash(vch_id, digest));
}

std::string EscapeName(std::string_view name) {
  std::string out;
  out.reserve(name.size());
  for (char c : name) {
    switch (c) {
      case '%':
        out += "%25";
        break;
      case '/':
        out += "%2f";
        break;
      case '\\':
        out += "%5c";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string UnescapeName(std::string_view name) {
  std::string out;
  out.reserve(name.size());
  for (size_t i = 0; i < name.size(); ++i) {
    std::string code = absl::AsciiStrToLower(name.substr(i, 3));
    char plain = code == "%25" ? '%' : code == "%2f" ? '/' : code == "%5c" ? '\\' : '\0';
    if (plain == '\0') {
      out += name[i];
    } else {
      out += plain;
      i += 2;
    }
  }
  return out;
}

Status CheckVchName(std::string_view name) {
  bool chars_ok = std::ranges::all_of(name, [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
  });
  if (name.empty() || name.size() > 31 || !chars_ok || name.front() == '.' || name.front() == '-') {
    return absl::InvalidArgumentError(absl::StrCat(
        "VCH name \"", name, "\": expected 1 to 31 letters, digits, '-', '_' or '.', not '.' or '-' first"));
  }
  return absl::OkStatus();
}

std::string DatastorePath::ToString() const {
  return path.empty() ? absl::StrCat("[", datastore, "]") : absl::StrCat("[", datastore, "] ", path);
}

StatusOr<DatastorePath> ParseDatastorePath(std::string_view text) {
  size_t end = text.find(']');
  if (!text.starts_with('[') || end == std::string_view::npos || end == 1) {
    return absl::InvalidArgumentError(absl::StrCat("datastore path \"", text, "\": expected \"[datastore] path\""));
  }
  std::string_view path = absl::StripLeadingAsciiWhitespace(text.substr(end + 1));
  while (path.starts_with('/')) path.remove_prefix(1);
  return DatastorePath{.datastore = std::string(text.substr(1, end - 1)), .path = std::string(path)};
}

}  // namespace vck::vch
