// SpecSync: keeps a pod's GuestSpec up to date with the pod and with all that it refers to in the API.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "kube/object.h"
#include "kubeapi/pod_view.h"
#include "node/pod_events.h"
#include "node/pod_memory.h"
#include "node/references.h"
#include "podvm/resolve_spec.h"

namespace vck::node {

struct SpecSyncOptions {
  std::string node_name;
  std::string host_ip;
};

class SpecSync {
 public:
  struct Deps {
    References& references;
    // Of the node, CPU (thousandths) and memory (bytes): the value of a resourceFieldRef to a limit that is not set.
    std::function<std::pair<int64_t, int64_t>()> allocatable;
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
  SpecSync(Deps deps, SpecSyncOptions options) : deps_(std::move(deps)), options_(std::move(options)) {}

  // Sets memory.spec (a new revision, if anything has changed that it is made from) and memory.unresolved. Watches what
  // the pod refers to from the first call on; its changes are told by References.
  void Sync(const Pod& pod, PodMemory& memory);
  // The pod is gone.
  void Release(const std::string& uid) { deps_.references.Release(uid); }

 private:
  Deps deps_;
  SpecSyncOptions options_;
};

}  // namespace vck::node
