#include <algorithm>

#include "absl/strings/str_cat.h"
#include "guestapi/expand.h"
#include "guestapi/late_env.h"
#include "podvm/go_quote.h"
#include "podvm/resolve_parts.h"
#include "podvm/unsupported.h"

namespace vck::podvm::internal {
namespace {

using kubeapi::ContainerView;

// Names that a container's environment takes from a whole object: printable ASCII without '=' (relaxed validation).
bool IsEnvName(std::string_view name) {
  return !name.empty() &&
         std::all_of(name.begin(), name.end(), [](char c) { return c >= ' ' && c <= '~' && c != '='; });
}

Status AddAll(const ResolveInputs& in, const json::Value& source, Env* env) {
  const std::string_view prefix = json::String(source, "prefix");
  for (auto [field, kind] :
       {std::pair("configMapRef", ObjectRef::Kind::kConfigMap), std::pair("secretRef", ObjectRef::Kind::kSecret)}) {
    const json::Value* ref = json::Get(source, field);
    if (ref == nullptr) continue;
    ASSIGN_OR_RETURN(LookupResult found,
                     ReadObject(in, {kind, std::string(json::String(ref, "name"))}, json::Bool(ref, "optional")));
    if (found.data == nullptr) continue;
    for (const auto& [key, value] : *found.data) {
      std::string name = absl::StrCat(prefix, key);
      if (!IsEnvName(name)) continue;
      env->Set(name, value);
      env->confidential = true;
    }
  }
  return absl::OkStatus();
}

// nullopt: optional and not there.
StatusOr<std::optional<std::string>> KeyOf(const ResolveInputs& in, ObjectRef::Kind kind, const json::Value& selector) {
  const ObjectRef ref{kind, std::string(json::String(selector, "name"))};
  const bool optional = json::Bool(selector, "optional");
  ASSIGN_OR_RETURN(LookupResult found, ReadObject(in, ref, optional));
  if (found.state == LookupResult::State::kMissing) return std::nullopt;
  const std::string key(json::String(selector, "key"));
  if (found.data != nullptr) {
    if (auto it = found.data->find(key); it != found.data->end()) return it->second;
  }
  if (optional) return std::nullopt;
  return absl::NotFoundError(absl::StrCat("couldn't find key ", key, " in ",
                                          kind == ObjectRef::Kind::kSecret ? "Secret" : "ConfigMap", " ", in.pod->ns(),
                                          "/", ref.name));
}

StatusOr<std::optional<std::string>> ValueFrom(const ResolveInputs& in, const ContainerView& c,
                                               const json::Value& source, Env* env) {
  if (const json::Value* ref = json::Get(source, "fieldRef")) return EnvField(in, json::String(ref, "fieldPath"));
  if (const json::Value* ref = json::Get(source, "resourceFieldRef")) return ResourceField(in, *ref, &c);
  for (auto [field, kind] : {std::pair("configMapKeyRef", ObjectRef::Kind::kConfigMap),
                             std::pair("secretKeyRef", ObjectRef::Kind::kSecret)}) {
    const json::Value* ref = json::Get(source, field);
    if (ref == nullptr) continue;
    env->confidential = true;
    return KeyOf(in, kind, *ref);
  }
  return absl::UnimplementedError(
      "this node supports fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef and fileKeyRef only");
}

// Volumes that no container mounts are not made, and cannot be read either.
StatusOr<guestapi::EnvFileKey> FileKey(const ResolveInputs& in, const json::Value& selector) {
  guestapi::EnvFileKey out{.volume = std::string(json::String(selector, "volumeName")),
                           .path = std::string(json::String(selector, "path")),
                           .key = std::string(json::String(selector, "key")),
                           .optional = json::Bool(selector, "optional")};
  const json::Value* volume = FindVolume(*in.pod, out.volume);
  if (volume == nullptr || out.volume.empty() || !IsMounted(*in.pod, out.volume)) {
    return absl::NotFoundError(
        absl::StrCat("cannot find the volume ", GoQuote(out.volume), " referenced by FileKeyRef"));
  }
  // The API server lets nothing else through.
  if (VolumeSource(*volume) != "emptyDir") {
    return absl::InvalidArgumentError(
        absl::StrCat("the volume ", GoQuote(out.volume), " referenced by FileKeyRef must be of type emptyDir"));
  }
  if (out.path.empty() || out.path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat("FileKeyRef has no path that is one: ", GoQuote(out.path)));
  }
  return out;
}

Status AddVariable(const ResolveInputs& in, const ContainerView& c, const json::Value& var,
                   const guestapi::Lookup& lookup, Env* env) {
  const std::string_view name = json::String(var, "name"), literal = json::String(var, "value");
  const auto is_late = [env](std::string_view other) { return env->IsLate(other); };
  const json::Value* source = json::Get(var, "valueFrom");
  if (source == nullptr || !literal.empty()) {
    if (is_late(name) || guestapi::RefersTo(literal, is_late)) {
      env->SetLate({.name = std::string(name), .text = guestapi::ExpandExcept(literal, is_late, lookup)});
    } else {
      env->Set(name, guestapi::Expand(literal, lookup));
    }
    return absl::OkStatus();
  }
  if (const json::Value* ref = json::Get(source, "fileKeyRef"); ref != nullptr) {
    ASSIGN_OR_RETURN(guestapi::EnvFileKey file, FileKey(in, *ref));
    env->SetLate({.name = std::string(name), .file = std::move(file), .text = ""});
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(std::optional<std::string> value, ValueFrom(in, c, *source, env));
  if (!value) return absl::OkStatus();
  if (is_late(name)) {
    env->SetLate({.name = std::string(name), .text = guestapi::EscapeDollars(*value)});
  } else {
    env->Set(name, *std::move(value));
  }
  return absl::OkStatus();
}

}  // namespace

void Env::SetLate(guestapi::LateVariable variable) {
  late_names_.insert(variable.name);
  late_.push_back(std::move(variable));
}

Status ResolveEnv(const ResolveInputs& in, const ContainerView& container, Env* env) {
  if (in.service_env == nullptr) return Pending();
  for (const json::Value& source : container.env_from()) RETURN_IF_ERROR(AddAll(in, source, env));
  const auto lookup = [&](std::string_view name) -> const std::string* {
    if (const std::string* value = env->Find(name)) return value;
    auto service = in.service_env->find(std::string(name));
    return service == in.service_env->end() ? nullptr : &service->second;
  };
  for (const json::Value& var : container.env()) RETURN_IF_ERROR(AddVariable(in, container, var, lookup, env));
  for (const auto& [name, value] : *in.service_env) {
    if (env->Find(name) == nullptr) env->Set(name, value);
  }
  // A Secret may hold anything.
  for (const auto& [name, value] : env->vars()) RETURN_IF_ERROR(guestapi::CheckEnvValue(name, value));
  for (const auto& variable : env->late()) RETURN_IF_ERROR(guestapi::CheckEnvValue(variable.name, variable.text));
  return absl::OkStatus();
}

}  // namespace vck::podvm::internal
