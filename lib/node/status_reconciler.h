// StatusReconciler: tells the API server what is. Reads the same stores as VmReconciler, never calls vSphere.
#pragma once

#include <functional>
#include <string>

#include "async/clock.h"
#include "flow/runner.h"
#include "kube/client.h"
#include "node/pod_facts.h"
#include "podvm/status.h"

namespace vck::node {

class StatusReconciler {
 public:
  StatusReconciler(FactSources facts, kube::Client& client, std::string host_ip, podvm::StatusOptions options)
      : facts_(std::move(facts)), client_(client), host_ip_(std::move(host_ip)), options_(options) {}

  // Patches the status if it differs from what is; removes the object of a deleted pod once nothing is left of it.
  Task<StatusOr<flow::Result>> Reconcile(std::string uid);

 private:
  FactSources facts_;
  kube::Client& client_;
  std::string host_ip_;
  podvm::StatusOptions options_;
  // Status that was written and has not come back through the watch yet: resourceVersion of the answer by UID. A run
  // that still sees an older object would write the same again.
  struct Written {
    std::string seen;  // version that the patch was computed from
    std::shared_ptr<const kube::Object> answer;
  };
  absl::flat_hash_map<std::string, Written> written_;
};

}  // namespace vck::node
