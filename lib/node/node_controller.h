// NodeController: keeps the Node object true, and there.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "async/clock.h"
#include "flow/runner.h"
#include "flow/work_queue.h"
#include "kube/client.h"
#include "node/node_object.h"
#include "node/pod_facts.h"

namespace vck::node {

class NodeController {
 public:
  // `nodes` holds our own Node (by name); `facts` gives what is true now; `address_range` gets the Node's podCIDR.
  struct Deps {
    Clock& clock;
    kube::Client& client;
    ObjectStore& nodes;
    metrics::Registry& registry;
    std::function<NodeFacts()> facts;
    std::function<void(std::string_view cidr)> pod_cidr;
    std::function<void()> created;  // a Node was made: its lease needs an owner
  };
  NodeController(Deps deps, NodeIdentity identity, NodeThresholds thresholds);

  // Something that facts() depends on may have changed.
  void Kick() { queue_.Add(identity_.name); }
  // Works until cancelled.
  Task<Status> Run();
  // "" while there is no Node.
  [[nodiscard]] std::string uid() const;

 private:
  Task<StatusOr<flow::Result>> Reconcile();
  Task<Status> Register();

  Deps deps_;
  NodeIdentity identity_;
  NodeThresholds thresholds_;
  flow::WorkQueue queue_;
  // The last state seen: a deleted Node comes back with its labels, taints and podCIDR.
  std::shared_ptr<const kube::Object> last_;
};

}  // namespace vck::node
