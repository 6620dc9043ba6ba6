// References: the ConfigMaps and Secrets that our pods name, each watched by itself while a pod needs it.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kube/object_watch.h"
#include "kubeapi/pod_view.h"
#include "podvm/resolve_spec.h"

namespace vck::node {

class References {
 public:
  // `changed` gets the UID of each pod that refers to an object that changed.
  References(Executor executor, kube::Client& client, std::function<void(const std::string& uid)> changed);

  // What is known of an object. The first question of a pod for an object begins to watch it.
  podvm::LookupResult Lookup(const kubeapi::PodView& pod, const podvm::ObjectRef& ref);
  // The pod is gone: what nobody else refers to is no longer watched.
  void Release(const std::string& uid);
  Task<> Run();

 private:
  struct Held {
    kube::ObjectWatch::Ref ref;
    std::set<std::string> pods;
    std::string version;  // of `data`
    std::map<std::string, std::string> data;
  };
  struct Kind {
    kube::ObjectWatch watch;
    std::map<std::string, Held> held;  // by namespace/name
    bool base64;
  };
  Kind& Of(podvm::ObjectRef::Kind kind) { return kind == podvm::ObjectRef::Kind::kSecret ? secrets_ : config_maps_; }
  void Follow(Kind& kind);

  Executor executor_;
  std::function<void(const std::string&)> changed_;
  Kind config_maps_;
  Kind secrets_;
};

}  // namespace vck::node
