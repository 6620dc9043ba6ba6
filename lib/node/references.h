// References: the ConfigMaps and Secrets that our pods name, each watched by itself while a pod needs it.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "async/clock.h"
#include "kube/object_watch.h"
#include "kubeapi/pod_view.h"
#include "podvm/resolve_spec.h"

namespace vck::node {

// A Secret with credentials for registries: its type, and the value of the key that goes with the type.
struct PullSecret {
  std::string name, type, data;
  friend bool operator==(const PullSecret&, const PullSecret&) = default;
};
struct PullSecrets {
  bool known = true;  // false: some are still being read
  std::vector<PullSecret> found;
  // Not there, or of no use (another type): "Unable to retrieve some image pull secrets (…)".
  std::vector<std::string> missing;
};

class References {
 public:
  // `changed` gets the UID of each pod that refers to an object that changed.
  References(Executor executor, kube::Client& client, std::function<void(const std::string& uid)> changed);

  // What is known of an object. The first question of a pod for an object begins to watch it. That an object can't be
  // read is said only when it has been so for some seconds: just after binding, the authorizer may not know yet that
  // the pod is here. The result is valid until the next turn of the loop.
  podvm::LookupResult Lookup(const kubeapi::PodView& pod, const podvm::ObjectRef& ref);
  // The Secrets of spec.imagePullSecrets, watched in the same way.
  PullSecrets GetPullSecrets(const kubeapi::PodView& pod);
  // The pod is gone: what nobody else refers to is no longer watched.
  void Release(const std::string& uid);
  Task<> Run();

 private:
  struct Held {
    kube::ObjectWatch::Ref ref;
    absl::flat_hash_set<std::string> pods;
    Instant since;
    std::string version;  // of `data` and `binary`
    std::map<std::string, std::string> data, binary;
    std::string type;  // of a Secret
  };
  struct Kind {
    kube::ObjectWatch watch;
    std::map<std::string, Held> held;  // by namespace/name
    bool secret;
  };
  Kind& Of(podvm::ObjectRef::Kind kind) { return kind == podvm::ObjectRef::Kind::kSecret ? secrets_ : config_maps_; }
  void Follow(Kind& kind);
  podvm::LookupResult Look(Kind& kind, const kubeapi::PodView& pod, std::string_view name, const Held** held);

  Executor executor_;
  Clock& clock_;
  std::function<void(const std::string&)> changed_;
  Kind config_maps_;
  Kind secrets_;
};

}  // namespace vck::node
