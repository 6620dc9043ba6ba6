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
#include "kube/object.h"
#include "kubeapi/pod_view.h"
#include "node/document_cache.h"
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
  std::shared_ptr<DocumentCache> documents = std::make_shared<DocumentCache>();  // of all copies of this
};

// Views point into what this holds.
struct PodFacts {
  kube::ObjectPtr object;  // null: no such pod in the API
  std::shared_ptr<const json::Document> document;
  std::optional<kubeapi::PodView> pod;
  std::string vm_name;  // "" without a pod
  std::vector<VmIndex::VmPtr> records;
  std::shared_ptr<const guestlink::LinkState> link;
  std::string ip;  // from the VM's key
  podvm::VmFacts vm;
  podvm::GuestFacts guest;

  // Another version of the pod counts from now on.
  Status SetPod(const FactSources& from, kube::ObjectPtr newer);
};

// `object` is the pod; null: no such pod in the API. `memory` may be null. InvalidArgument if the pod's JSON is broken.
StatusOr<PodFacts> GatherFacts(const FactSources& from, const std::string& uid, kube::ObjectPtr object,
                               const PodMemory* memory);
// Everything but `document` and `pod`, whose parsing is most of the work.
PodFacts GatherVmFacts(const FactSources& from, const std::string& uid, kube::ObjectPtr object,
                       const PodMemory* memory);

}  // namespace vck::node
