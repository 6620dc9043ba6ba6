// PodFacts: what both reconcilers see of a pod when they look, gathered once a run from the stores.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/clock.h"
#include "flow/store.h"
#include "guestlink/links.h"
#include "json/json.h"
#include "kube/object.h"
#include "kubeapi/pod_view.h"
#include "node/pod_memory.h"
#include "node/vm_index.h"
#include "podvm/facts.h"

namespace vck::node {

using ObjectStore = flow::Store<std::string, kube::Object>;

// Where facts come from. `fresh` says that the inventory shows all there is, now.
struct FactSources {
  Clock& clock;
  ObjectStore& pods;  // by UID
  VmIndex& vms;
  guestlink::Links& links;
  PodMemories& memories;
  std::string vch_id;
  std::function<bool()> fresh;
};

// Views point into what this holds.
struct PodFacts {
  std::shared_ptr<const kube::Object> object;  // null: no such pod in the API
  std::optional<json::Document> document;
  std::optional<kubeapi::PodView> pod;
  std::string vm_name;  // "" without a pod
  std::vector<VmIndex::VmPtr> records;
  std::shared_ptr<const guestlink::LinkState> link;
  std::string ip;  // from the VM's key
  podvm::VmFacts vm;
  podvm::GuestFacts guest;
};

// `memory` may be null. InvalidArgument if the pod's JSON is broken.
StatusOr<PodFacts> GatherFacts(const FactSources& from, const std::string& uid, const PodMemory* memory);

}  // namespace vck::node
