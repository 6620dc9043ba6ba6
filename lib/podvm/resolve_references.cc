#include <algorithm>

#include "absl/strings/str_cat.h"
#include "podvm/resolve_parts.h"

namespace vck::podvm {

using kubeapi::ContainerView;
using kubeapi::PodView;

namespace internal {

const json::Value* FindVolume(const kubeapi::PodView& pod, std::string_view name) {
  for (const json::Value& volume : pod.volumes()) {
    if (json::String(volume, "name") == name) return &volume;
  }
  return nullptr;
}

bool IsMounted(const PodView& pod, std::string_view volume) {
  bool mounted = false;
  pod.ForEachContainer([&](const ContainerView& c) {
    for (std::string_view field : {"volumeMounts", "volumeDevices"}) {
      for (const json::Value& mount : json::Items(c.json(), field)) mounted |= json::String(mount, "name") == volume;
    }
  });
  return mounted;
}

std::string_view KindName(ObjectRef::Kind kind) { return kind == ObjectRef::Kind::kSecret ? "secret" : "configmap"; }

StatusOr<LookupResult> ReadObject(const ResolveInputs& in, const ObjectRef& ref, bool optional) {
  LookupResult found = in.lookup ? in.lookup(ref) : LookupResult{.state = LookupResult::State::kMissing};
  switch (found.state) {
    case LookupResult::State::kFound:
      return found;
    case LookupResult::State::kUnknown:
      return Pending();
    case LookupResult::State::kFailed:
      return absl::FailedPreconditionError(found.error);
    case LookupResult::State::kMissing:
      break;
  }
  if (optional) return LookupResult{.state = LookupResult::State::kMissing};
  return absl::NotFoundError(absl::StrCat(KindName(ref.kind), " \"", ref.name, "\" not found"));
}

}  // namespace internal

namespace {

template <class T>
void AddOnce(std::vector<T>* list, T item) {
  if (std::find(list->begin(), list->end(), item) == list->end()) list->push_back(std::move(item));
}

void AddRef(std::vector<ObjectRef>* refs, ObjectRef::Kind kind, const json::Value* source, std::string_view field) {
  const std::string_view name = json::String(source, field);
  if (!name.empty()) AddOnce(refs, ObjectRef{kind, std::string(name)});
}

}  // namespace

std::vector<ObjectRef> ReferencedObjects(const PodView& pod) {
  using Kind = ObjectRef::Kind;
  std::vector<ObjectRef> refs;
  pod.ForEachContainer([&](const ContainerView& c) {
    for (const json::Value& source : c.env_from()) {
      AddRef(&refs, Kind::kConfigMap, json::Get(source, "configMapRef"), "name");
      AddRef(&refs, Kind::kSecret, json::Get(source, "secretRef"), "name");
    }
    for (const json::Value& var : c.env()) {
      const json::Value* source = json::Get(var, "valueFrom");
      AddRef(&refs, Kind::kConfigMap, json::Get(source, "configMapKeyRef"), "name");
      AddRef(&refs, Kind::kSecret, json::Get(source, "secretKeyRef"), "name");
    }
  });
  for (const json::Value& volume : pod.volumes()) {
    if (!internal::IsMounted(pod, json::String(volume, "name"))) continue;
    AddRef(&refs, Kind::kConfigMap, json::Get(volume, "configMap"), "name");
    AddRef(&refs, Kind::kSecret, json::Get(volume, "secret"), "secretName");
    for (const json::Value& source : json::Items(json::Get(volume, "projected"), "sources")) {
      AddRef(&refs, Kind::kConfigMap, json::Get(source, "configMap"), "name");
      AddRef(&refs, Kind::kSecret, json::Get(source, "secret"), "name");
    }
  }
  return refs;
}

std::vector<TokenRef> ReferencedTokens(const PodView& pod) {
  std::vector<TokenRef> refs;
  for (const json::Value& volume : pod.volumes()) {
    if (!internal::IsMounted(pod, json::String(volume, "name"))) continue;
    for (const json::Value& source : json::Items(json::Get(volume, "projected"), "sources")) {
      const json::Value* token = json::Get(source, "serviceAccountToken");
      if (token == nullptr) continue;
      AddOnce(&refs,
              TokenRef{std::string(json::String(token, "audience")), json::Int(token, "expirationSeconds", 3600)});
    }
  }
  return refs;
}

std::vector<std::string> PullSecretNames(const PodView& pod) {
  std::vector<std::string> names;
  for (const json::Value& ref : json::Items(pod.spec(), "imagePullSecrets")) {
    const std::string_view name = json::String(ref, "name");
    if (!name.empty()) AddOnce(&names, std::string(name));
  }
  return names;
}

}  // namespace vck::podvm
