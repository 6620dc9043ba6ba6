#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/utf8.h"
#include "guestapi/expand.h"
#include "podvm/resolve_parts.h"

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
      "this node supports fieldRef, resourceFieldRef, configMapKeyRef and secretKeyRef only");
}

}  // namespace

void Env::Set(std::string_view name, std::string value) {
  auto [it, fresh] = index_.try_emplace(name, vars_.size());
  if (fresh) {
    vars_.emplace_back(name, std::move(value));
  } else {
    vars_[it->second].second = std::move(value);
  }
}

const std::string* Env::Find(std::string_view name) const {
  auto it = index_.find(name);
  return it == index_.end() ? nullptr : &vars_[it->second].second;
}

Status ResolveEnv(const ResolveInputs& in, const ContainerView& container, Env* env) {
  if (in.service_env == nullptr) return Pending();
  for (const json::Value& source : container.env_from()) RETURN_IF_ERROR(AddAll(in, source, env));
  const auto lookup = [&](std::string_view name) -> const std::string* {
    if (const std::string* value = env->Find(name)) return value;
    auto service = in.service_env->find(std::string(name));
    return service == in.service_env->end() ? nullptr : &service->second;
  };
  for (const json::Value& var : container.env()) {
    const std::string_view name = json::String(var, "name"), literal = json::String(var, "value");
    if (const json::Value* source = json::Get(var, "valueFrom"); source != nullptr && literal.empty()) {
      ASSIGN_OR_RETURN(std::optional<std::string> value, ValueFrom(in, container, *source, env));
      if (value) env->Set(name, *std::move(value));
    } else {
      env->Set(name, guestapi::Expand(literal, lookup));
    }
  }
  for (const auto& [name, value] : *in.service_env) {
    if (env->Find(name) == nullptr) env->Set(name, value);
  }
  // A Secret may hold anything; no environment, and no JSON, can.
  for (const auto& [name, value] : env->vars()) {
    if (value.find('\0') != std::string::npos || !IsUtf8(value)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the value of the environment variable ", name, " is not UTF-8 text, or has NUL bytes"));
    }
  }
  return absl::OkStatus();
}

}  // namespace vck::podvm::internal
