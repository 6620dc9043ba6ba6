#include "node/references.h"

#include "absl/strings/escaping.h"
#include "async/task_group.h"
#include "json/json.h"

namespace vck::node {
namespace {

// How long a failure is taken for a delay.
constexpr absl::Duration kPatience = absl::Seconds(5);

// What does not decode is left out.
std::map<std::string, std::string> Decode(const json::Value& object, std::string_view field, bool base64) {
  std::map<std::string, std::string> out;
  for (const auto& [key, value] : json::Members(object, field)) {
    std::string decoded;
    if (!base64) {
      out[key] = std::string(json::AsString(value));
    } else if (absl::Base64Unescape(json::AsString(value), &decoded)) {
      out[key] = std::move(decoded);
    }
  }
  return out;
}

}  // namespace

References::References(Executor executor, kube::Client& client, std::function<void(const std::string&)> changed)
    : executor_(executor),
      clock_(client.clock()),
      changed_(std::move(changed)),
      config_maps_{.watch = kube::ObjectWatch(executor, client, kube::kConfigMaps), .held = {}, .secret = false},
      secrets_{.watch = kube::ObjectWatch(executor, client, kube::kSecrets), .held = {}, .secret = true} {
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

podvm::LookupResult References::Look(Kind& kind, const kubeapi::PodView& pod, std::string_view name, const Held** out) {
  std::string key = absl::StrCat(pod.ns(), "/", name);
  auto [it, fresh] = kind.held.try_emplace(key);
  Held& held = it->second;
  *out = &held;
  if (fresh) {
    held.ref = kind.watch.Acquire(pod.ns(), name);
    held.since = clock_.Now();
  }
  if (!held.pods.contains(pod.uid())) held.pods.insert(std::string(pod.uid()));
  kube::ObjectWatch::View view = held.ref.Get();
  using State = podvm::LookupResult::State;
  if (view.state == kube::ObjectWatch::State::kAbsent) return {.state = State::kMissing};
  if (view.object == nullptr) {
    if (view.state != kube::ObjectWatch::State::kFailed || clock_.Now() - held.since < kPatience) return {};
    return {.state = State::kFailed, .error = kube::ServerMessage(view.error)};
  }
  // Another object of that name may have the same resource version only in theory; the UID costs nothing.
  const std::string version = absl::StrCat(view.object->uid(), "/", view.object->resource_version());
  if (held.version != version) {
    held.version = version;
    held.data.clear();
    held.binary.clear();
    if (auto document = json::Document::Parse(view.object->json()); document.ok()) {
      held.data = Decode(document->root(), "data", kind.secret);
      if (!kind.secret) held.binary = Decode(document->root(), "binaryData", true);
      held.type = json::String(document->root(), "type");
    }
  }
  return {.state = State::kFound, .data = &held.data, .binary = &held.binary, .version = held.version};
}

podvm::LookupResult References::Lookup(const kubeapi::PodView& pod, const podvm::ObjectRef& ref) {
  const Held* held = nullptr;
  return Look(Of(ref.kind), pod, ref.name, &held);
}

PullSecrets References::GetPullSecrets(const kubeapi::PodView& pod) {
  PullSecrets out;
  for (const std::string& name : podvm::PullSecretNames(pod)) {
    const Held* held = nullptr;
    podvm::LookupResult found = Look(secrets_, pod, name, &held);
    if (found.state == podvm::LookupResult::State::kUnknown) {
      out.known = false;
      continue;
    }
    const std::string_view key = held->type == "kubernetes.io/dockerconfigjson" ? ".dockerconfigjson"
                                 : held->type == "kubernetes.io/dockercfg"      ? ".dockercfg"
                                                                                : "";
    auto it = held->data.find(std::string(key));
    if (found.state != podvm::LookupResult::State::kFound || key.empty() || it == held->data.end()) {
      out.missing.push_back(name);
    } else {
      out.found.push_back({.name = name, .type = held->type, .data = it->second});
    }
  }
  return out;
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
