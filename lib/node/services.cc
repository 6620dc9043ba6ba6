#include "node/services.h"

#include "base/log.h"
#include "json/json.h"

namespace vck::node {
namespace {

// The one Service that every pod is told about.
constexpr std::string_view kMasterNamespace = "default", kMaster = "kubernetes";

}  // namespace

std::shared_ptr<const podvm::ServiceEnv> Services::EnvOf(const kubeapi::PodView& pod) {
  if (auto it = pods_.find(pod.uid()); it != pods_.end()) return it->second;
  if (!synced_) return nullptr;
  const bool links = json::Bool(pod.spec(), "enableServiceLinks", true);
  auto& made = made_[{std::string(pod.ns()), links}];
  if (made == nullptr) made = Make(pod.ns(), links);
  return pods_[pod.uid()] = made;
}

std::shared_ptr<const podvm::ServiceEnv> Services::Make(std::string_view ns, bool links) const {
  auto env = std::make_shared<podvm::ServiceEnv>();
  const auto own = namespaces_.find(ns);
  const bool has_own = links && own != namespaces_.end();
  // A Service of that name in the pod's own namespace comes first.
  if (!has_own || !own->second.contains(kMaster)) {
    if (auto it = namespaces_.find(kMasterNamespace); it != namespaces_.end()) {
      if (auto master = it->second.find(kMaster); master != it->second.end()) AddServiceEnv(master->second, env.get());
    }
  }
  if (has_own) {
    for (const auto& [name, service] : own->second) AddServiceEnv(service, env.get());
  }
  return env;
}

void Services::Put(const kube::Object& object) {
  auto document = json::Document::Parse(object.json());
  if (!document.ok()) return;
  podvm::ServiceInfo info = podvm::ServiceFromJson(document->root());
  // Items of lists and of watches have their names in the same place, but the index is what they are known by.
  info.ns = object.ns();
  info.name = object.name();
  Namespace& in = namespaces_[info.ns];
  auto it = in.find(info.name);
  if (it != in.end() && it->second == info) return;
  made_.clear();
  if (info.has_address()) {
    in.insert_or_assign(info.name, std::move(info));
  } else if (it != in.end()) {
    in.erase(it);
  }
}

void Services::Replace(std::vector<kube::ObjectPtr> objects) {
  namespaces_.clear();
  made_.clear();
  for (const auto& object : objects) Put(*object);
  if (!std::exchange(synced_, true)) synced_call_();
}

void Services::Upsert(kube::ObjectPtr object) { Put(*object); }

void Services::Delete(kube::ObjectPtr last_state) {
  auto it = namespaces_.find(last_state->ns());
  if (it == namespaces_.end()) return;
  auto service = it->second.find(last_state->name());
  if (service == it->second.end()) return;
  it->second.erase(service);
  if (it->second.empty()) namespaces_.erase(it);
  made_.clear();
}

void Services::ListFailed(const Status& error) {
  Log(Severity::kWarning, "Services can't be listed; pods wait for them until they were read once", {{"err", error}});
}

}  // namespace vck::node
