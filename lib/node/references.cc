#include "node/references.h"

#include "absl/strings/escaping.h"
#include "async/task_group.h"
#include "json/json.h"

namespace vck::node {
namespace {

// data (and binaryData, or a Secret's data) decoded; what does not decode is left out.
std::map<std::string, std::string> Decode(const kube::Object& object, bool secret) {
  std::map<std::string, std::string> out;
  auto document = json::Document::Parse(object.json());
  if (!document.ok()) return out;
  for (const char* field : {"data", "binaryData"}) {
    bool base64 = secret || std::string_view(field) == "binaryData";
    for (const auto& [key, value] : json::Members(document->root(), field)) {
      std::string decoded;
      if (!base64) {
        out[key] = std::string(json::AsString(value));
      } else if (absl::Base64Unescape(json::AsString(value), &decoded)) {
        out[key] = std::move(decoded);
      }
    }
  }
  return out;
}

}  // namespace

References::References(Executor executor, kube::Client& client, std::function<void(const std::string&)> changed)
    : executor_(executor),
      changed_(std::move(changed)),
      config_maps_{.watch = kube::ObjectWatch(executor, client, kube::kConfigMaps), .held = {}, .base64 = false},
      secrets_{.watch = kube::ObjectWatch(executor, client, kube::kSecrets), .held = {}, .base64 = true} {
  Follow(config_maps_);
  Follow(secrets_);
}

void References::Follow(Kind& kind) {
  kind.watch.Subscribe([this, &kind](const std::string& key) {
    auto it = kind.held.find(key);
    if (it == kind.held.end()) return;
    for (const std::string& uid : it->second.pods) changed_(uid);
  });
}

podvm::LookupResult References::Lookup(const kubeapi::PodView& pod, const podvm::ObjectRef& ref) {
  Kind& kind = Of(ref.kind);
  std::string key = absl::StrCat(pod.ns(), "/", ref.name);
  auto [it, fresh] = kind.held.try_emplace(key);
  Held& held = it->second;
  if (fresh) held.ref = kind.watch.Acquire(pod.ns(), ref.name);
  held.pods.insert(std::string(pod.uid()));
  kube::ObjectWatch::View view = held.ref.Get();
  using State = podvm::LookupResult::State;
  if (view.state == kube::ObjectWatch::State::kAbsent) return {.state = State::kMissing};
  if (view.object == nullptr) return {.state = State::kUnknown};
  if (held.version != view.object->resource_version()) {
    held.version = std::string(view.object->resource_version());
    held.data = Decode(*view.object, kind.base64);
  }
  return {.state = State::kFound, .data = &held.data};
}

void References::Release(const std::string& uid) {
  for (Kind* kind : {&config_maps_, &secrets_}) {
    for (auto it = kind->held.begin(); it != kind->held.end();) {
      it->second.pods.erase(uid);
      it = it->second.pods.empty() ? kind->held.erase(it) : std::next(it);
    }
  }
}

Task<> References::Run() {
  TaskGroup group(executor_);
  group.Spawn("configmaps", config_maps_.watch.Run());
  group.Spawn("secrets", secrets_.watch.Run());
  (void)co_await group.Join();
}

}  // namespace vck::node
