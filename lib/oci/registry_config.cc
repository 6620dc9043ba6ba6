#include "oci/registry_config.h"

#include <algorithm>
#include <initializer_list>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "json/json.h"

namespace vck::oci {
namespace {

// A JSON value that knows its path, so that every error says where.
class Field {
 public:
  Field(const json::Value* value, std::string path) : value_(value), path_(std::move(path)) {}

  [[nodiscard]] bool absent() const { return value_ == nullptr || value_->is_null(); }
  [[nodiscard]] bool is_text() const { return value_->is_string(); }
  [[nodiscard]] Status Error(std::string_view problem) const {
    return absl::InvalidArgumentError(absl::StrCat(path_.empty() ? "file" : path_, ": ", problem));
  }
  [[nodiscard]] Field operator[](std::string_view key) const {
    return {json::Get(value_, key), path_.empty() ? std::string(key) : absl::StrCat(path_, ".", key)};
  }
  [[nodiscard]] Status OnlyHas(std::initializer_list<std::string_view> known) const {
    if (!value_->is_object()) return Error("expected an object");
    for (const auto& member : value_->as_object()) {
      if (std::ranges::find(known, std::string_view(member.key())) == known.end()) {
        return (*this)[member.key()].Error("unknown field");
      }
    }
    return absl::OkStatus();
  }
  [[nodiscard]] StatusOr<std::string> Text() const {
    if (absent()) return std::string();
    if (!value_->is_string()) return Error("expected a string");
    return std::string(json::AsString(*value_));
  }
  [[nodiscard]] StatusOr<bool> Flag() const {
    if (absent()) return false;
    if (!value_->is_bool()) return Error("expected true or false");
    return value_->as_bool();
  }
  [[nodiscard]] StatusOr<std::vector<Field>> Elements() const {
    std::vector<Field> out;
    if (absent()) return out;
    if (!value_->is_array()) return Error("expected a list");
    for (size_t i = 0; i < value_->as_array().size(); ++i) {
      out.emplace_back(&value_->as_array()[i], absl::StrCat(path_, "[", i, "]"));
    }
    return out;
  }

 private:
  const json::Value* value_;
  std::string path_;
};

StatusOr<HostSettings> ParseSettings(const Field& field) {
  HostSettings out;
  ASSIGN_OR_RETURN(out.ca_file, field["caFile"].Text());
  ASSIGN_OR_RETURN(out.insecure, field["insecure"].Flag());
  ASSIGN_OR_RETURN(out.plain_http, field["plainHttp"].Flag());
  Field auth = field["auth"];
  if (!auth.absent()) {
    RETURN_IF_ERROR(auth.OnlyHas({"username", "passwordFile"}));
    ASSIGN_OR_RETURN(out.username, auth["username"].Text());
    ASSIGN_OR_RETURN(out.password_file, auth["passwordFile"].Text());
    if (out.username.empty() || out.password_file.empty()) return auth.Error("expected username and passwordFile");
  }
  if (out.insecure && !out.ca_file.empty()) return field.Error("only one of caFile and insecure makes sense");
  return out;
}

StatusOr<Mirror> ParseMirror(const Field& field, const HostSettings& inherited) {
  Mirror out{.settings = inherited, .inherits = true};
  Field where = field;
  if (field.absent()) return field.Error("expected a URL, or an object with a url");
  if (!field.is_text()) {
    RETURN_IF_ERROR(field.OnlyHas({"url", "caFile", "insecure", "plainHttp", "auth"}));
    ASSIGN_OR_RETURN(out.settings, ParseSettings(field));
    out.inherits = false;
    where = field["url"];
  }
  ASSIGN_OR_RETURN(std::string text, where.Text());
  if (!absl::StrContains(text, "://")) text.insert(0, out.settings.plain_http ? "http://" : "https://");
  auto url = http::ParseUrl(text);
  if (!url.ok()) return where.Error(url.status().message());
  if (!url->user.empty() || !url->query.empty()) return where.Error("expected no user and no query");
  out.url = *std::move(url);
  return out;
}

StatusOr<RegistryEntry> ParseEntry(const Field& field) {
  RETURN_IF_ERROR(field.OnlyHas({"prefix", "mirrors", "mirrorsOnly", "caFile", "insecure", "plainHttp", "auth"}));
  RegistryEntry out;
  ASSIGN_OR_RETURN(out.prefix, field["prefix"].Text());
  if (out.prefix.empty() || absl::StrContains(out.prefix, "://") || out.prefix.ends_with('/')) {
    return field["prefix"].Error(
        "expected a registry, such as docker.io or localhost:5000, perhaps with a path, or \"*\"");
  }
  ASSIGN_OR_RETURN(out.settings, ParseSettings(field));
  ASSIGN_OR_RETURN(out.mirrors_only, field["mirrorsOnly"].Flag());
  ASSIGN_OR_RETURN(std::vector<Field> mirrors, field["mirrors"].Elements());
  for (const Field& mirror : mirrors) {
    ASSIGN_OR_RETURN(Mirror parsed, ParseMirror(mirror, out.settings));
    out.mirrors.push_back(std::move(parsed));
  }
  if (out.mirrors_only && out.mirrors.empty()) return field["mirrorsOnly"].Error("there are no mirrors");
  return out;
}

bool IsPrefix(std::string_view prefix, std::string_view name) {
  if (prefix == "*") return true;
  return name.starts_with(prefix) && (name.size() == prefix.size() || name[prefix.size()] == '/');
}

}  // namespace

const RegistryEntry* RegistryConfig::Find(std::string_view name) const {
  const RegistryEntry* best = nullptr;
  auto weight = [](const RegistryEntry& e) { return e.prefix == "*" ? 0 : e.prefix.size(); };
  for (const RegistryEntry& entry : entries) {
    if (IsPrefix(entry.prefix, name) && (best == nullptr || weight(entry) > weight(*best))) best = &entry;
  }
  return best;
}

StatusOr<RegistryConfig> ParseRegistryConfig(std::string_view text) {
  ASSIGN_OR_RETURN(json::Document document, json::Document::Parse(text));
  Field root(&document.root(), "");
  RETURN_IF_ERROR(root.OnlyHas({"registries"}));
  ASSIGN_OR_RETURN(std::vector<Field> entries, root["registries"].Elements());
  RegistryConfig out;
  for (const Field& field : entries) {
    ASSIGN_OR_RETURN(RegistryEntry entry, ParseEntry(field));
    if (std::ranges::any_of(out.entries, [&](const RegistryEntry& e) { return e.prefix == entry.prefix; })) {
      return field["prefix"].Error("comes twice");
    }
    out.entries.push_back(std::move(entry));
  }
  return out;
}

}  // namespace vck::oci
