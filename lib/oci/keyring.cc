#include "oci/keyring.h"

#include <algorithm>

#include <fnmatch.h>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "json/json.h"

namespace vck::oci {
namespace {

constexpr std::string_view kDefaultHost = "index.docker.io";

// "host[:port]" and "/path", as a URL without its scheme has them.
struct Place {
  std::string_view host, port, path;
};

Place SplitPlace(std::string_view text) {
  Place out;
  size_t slash = text.find('/');
  out.host = text.substr(0, slash);
  if (slash != std::string_view::npos) out.path = text.substr(slash);
  size_t colon = out.host.rfind(':');
  if (colon != std::string_view::npos && !out.host.ends_with(']')) {
    out.port = out.host.substr(colon + 1);
    out.host = out.host.substr(0, colon);
  }
  return out;
}

// Each part of the host may be a pattern; ports are equal; the path is a prefix.
bool Matches(std::string_view pattern, std::string_view name) {
  Place a = SplitPlace(pattern);
  Place b = SplitPlace(name);
  if (a.port != b.port || !b.path.starts_with(a.path)) return false;
  std::vector<std::string> patterns = absl::StrSplit(a.host, '.');
  std::vector<std::string> parts = absl::StrSplit(b.host, '.');
  return std::ranges::equal(patterns, parts, [](const std::string& p, const std::string& part) {
    return fnmatch(p.c_str(), part.c_str(), 0) == 0;
  });
}

bool IsDefaultRegistry(std::string_view name) {
  size_t slash = name.find('/');
  std::string_view first = name.substr(0, slash);
  if (first.empty()) return false;
  if (slash == std::string_view::npos || first == "docker.io" || first == kDefaultHost) return true;
  return first.find_first_of(".:") == std::string_view::npos;
}

Status Malformed(std::string_view what) { return absl::InvalidArgumentError(absl::StrCat("pull secret: ", what)); }

StatusOr<Credential> ParseEntry(const json::Value& entry) {
  if (!entry.is_object()) return Malformed("expected an object for each registry");
  for (const char* key : {"username", "password", "auth", "identitytoken"}) {
    const json::Value* field = json::Get(entry, key);
    if (field != nullptr && !field->is_string()) return Malformed(absl::StrCat(key, " must be a string"));
  }
  Credential out{.username = std::string(json::String(entry, "username")),
                 .password = std::string(json::String(entry, "password")),
                 .identity_token = std::string(json::String(entry, "identitytoken"))};
  std::string_view auth = json::String(entry, "auth");
  if (auth.empty()) return out;
  std::string decoded;
  if (!absl::Base64Unescape(absl::StripAsciiWhitespace(auth), &decoded)) return Malformed("auth is not base64");
  size_t colon = decoded.find(':');
  if (colon == std::string::npos) return Malformed("auth must be formatted as base64(username:password)");
  out.username = decoded.substr(0, colon);
  out.password = decoded.substr(colon + 1);
  return out;
}

}  // namespace

Status Keyring::AddSecret(std::string_view type, std::string_view data) {
  bool wrapped = type == kDockerConfigJsonType;
  if ((!wrapped && type != kDockercfgType) || data.empty()) return absl::OkStatus();
  auto parsed = json::Document::Parse(data);
  // The parser's complaint may quote a secret.
  if (!parsed.ok()) return Malformed("expected JSON");
  const json::Value* entries = &parsed->root();
  if (!entries->is_object()) return Malformed("expected a JSON object");
  if (wrapped) {
    entries = json::Get(parsed->root(), "auths");
    if (entries == nullptr) return absl::OkStatus();
    if (!entries->is_object()) return Malformed("auths must be an object");
  }
  std::vector<std::pair<std::string, Credential>> all;
  for (const auto& [location, entry] : entries->as_object()) {
    ASSIGN_OR_RETURN(Credential credential, ParseEntry(entry));
    all.emplace_back(location, std::move(credential));
  }
  for (auto& [location, credential] : all) Add(location, std::move(credential));
  return absl::OkStatus();
}

void Keyring::Add(std::string_view location, Credential credential) {
  if (!absl::ConsumePrefix(&location, "https://")) absl::ConsumePrefix(&location, "http://");
  // A query or a fragment is no part of a name.
  location = location.substr(0, location.find_first_of("?#"));
  size_t slash = location.find('/');
  std::string key(location.substr(0, slash));
  if (slash != std::string_view::npos) {
    std::string_view path = location.substr(slash);
    // "/v1/" and "/v2/" mean the host.
    if (absl::StartsWith(path, "/v2/") || absl::StartsWith(path, "/v1/")) path.remove_prefix(3);
    if (path != "/") absl::StrAppend(&key, path);
  }
  if (key.empty()) return;
  credentials_[key].push_back(std::move(credential));
}

std::vector<Credential> Keyring::Lookup(std::string_view name) const {
  std::vector<Credential> out;
  for (const auto& [location, credentials] : credentials_) {
    if (Matches(location, name)) out.insert(out.end(), credentials.begin(), credentials.end());
  }
  if (out.empty() && IsDefaultRegistry(name)) {
    auto it = credentials_.find(std::string(kDefaultHost));
    if (it != credentials_.end()) out = it->second;
  }
  std::erase_if(out, [](const Credential& c) { return c.empty(); });
  return out;
}

}  // namespace vck::oci
