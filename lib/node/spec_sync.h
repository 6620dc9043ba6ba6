// SpecSync: keeps a pod's GuestSpec up to date with the pod and with all that it refers to in the API.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "async/task.h"
#include "kube/client.h"
#include "kube/object.h"
#include "kube/reflector.h"
#include "kubeapi/pod_view.h"
#include "node/pod_events.h"
#include "node/pod_memory.h"
#include "node/references.h"
#include "node/services.h"
#include "node/tokens.h"
#include "podvm/resolve_spec.h"

namespace vck::node {

struct SpecSyncOptions {
  std::string node_name;
  std::string host_ip;
  podvm::DnsSettings dns;
  int64_t log_max_bytes = int64_t{10} << 20;
  int log_max_files = 5;
  bool streaming_list = true;
  int page_size = 250;
};

class SpecSync {
 public:
  struct Deps {
    // Something that this pod refers to has changed: call Sync() again.
    std::function<void(const std::string& uid)> changed;
    // All pods are to be looked at again.
    std::function<void()> all_changed;
    std::function<podvm::Allocatable()> allocatable;  // of the node
    PodEvents events;
  };
  // A pod as it is now.
  struct Pod {
    const kube::Object& object;
    const kubeapi::PodView& view;
    std::string ip;  // "": not known yet
    // Its images as the pod names them, with their ids, in the order of the VM's disks.
    std::vector<std::pair<std::string, std::string>> images;
    absl::Time now;
  };
  SpecSync(Executor executor, kube::Client& client, Deps deps, SpecSyncOptions options);

  // Sets memory.spec_revision (a new one if anything in the spec changed; the old one stays while it can't be
  // resolved), memory.spec if that revision was not pushed yet, and memory.unresolved. Watches what the pod refers to
  // from the first call on; changes of it are told by References, Tokens and Services. A pod that is over is not looked
  // at any more.
  void Sync(const Pod& pod, PodMemory& memory);
  PullSecrets GetPullSecrets(const kubeapi::PodView& pod) { return references_.GetPullSecrets(pod); }
  // The pod is gone.
  void Release(const std::string& uid);
  Task<Status> Run();

 private:
  // Changes whenever something changes that a spec is made from.
  std::string SourceOf(const Pod& pod);
  void Tell(const Pod& pod, std::vector<podvm::ResolveResult::Event> events, PodMemory& memory);

  Executor executor_;
  Deps deps_;
  SpecSyncOptions options_;
  References references_;
  Tokens tokens_;
  Services services_;
  kube::Reflector service_reflector_;
};

}  // namespace vck::node
