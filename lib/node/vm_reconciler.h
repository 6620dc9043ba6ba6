// VmReconciler: brings a pod's VM to what the API wants. Reads stores, plans (podvm), acts on vCenter and the links.
// Never writes to Kubernetes (but for events).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "async/backoff.h"
#include "async/clock.h"
#include "flow/runner.h"
#include "flow/store.h"
#include "guestlink/links.h"
#include "kube/object.h"
#include "node/ipam.h"
#include "node/log_archive.h"
#include "node/pod_events.h"
#include "node/pod_facts.h"
#include "node/pod_images.h"
#include "node/pod_memory.h"
#include "node/spec_sync.h"
#include "node/vm_ops.h"
#include "podvm/plan.h"
#include "podvm/vm_spec.h"

namespace vck::node {

struct VmReconcilerOptions {
  std::string vch_id;
  std::string node_name;
  uint16_t tether_port = 10350;
  podvm::SysctlAllowlist sysctls;  // that pods may set
  std::string gateway;             // "": the range's
  std::vector<std::string> dns;
  absl::Duration orphan_interval = absl::Seconds(10);
  // How long a create whose answer was lost may still take effect.
  absl::Duration create_unknown = absl::Seconds(30);
  // Between attempts of what vCenter refuses for a reason that people have to mend (permissions, resources, a request
  // that it does not understand); 20 % more or less, so that pods spread out.
  absl::Duration slow_retry = absl::Minutes(2);
  // Before a VM that does not come on, or does not stay on, is powered on again.
  BackoffPolicy power_on = {.initial = absl::Seconds(10), .max = absl::Minutes(5)};
  podvm::PlanOptions plan;
};

class VmReconciler {
 public:
  struct Deps {
    FactSources facts;
    ObjectStore& nodes;  // our own Node, by name
    VmOps& ops;
    Ipam& ipam;
    // SpecSync::Sync: brings the pod's GuestSpec up to date.
    std::function<void(const SpecSync::Pod&, PodMemory&)> sync_spec;
    std::function<podvm::VmSettings()> settings;
    PodImages* images = nullptr;    // null: pod VMs have no image disks
    LogArchive* archive = nullptr;  // null: logs end with their guests
    PodEvents events;
  };
  VmReconciler(Deps deps, VmReconcilerOptions options);

  Task<StatusOr<flow::Result>> Reconcile(std::string uid);

 private:
  struct Look;  // one run's view
  Task<StatusOr<flow::Result>> Run(std::string uid);
  absl::Duration SlowRetry();
  Status Prepare(Look& look);
  void AdmitPod(Look& look);
  void Count(Look& look);
  void WantImages(Look& look);
  // Those that its VM was made without.
  void WantMoreImages(Look& look);
  void KeepSpecWhileNeeded(Look& look);
  void Resolve(Look& look);
  Task<Status> Act(Look& look, const podvm::Action& action);
  Task<Status> Create(Look& look);
  Task<Status> AddImages(Look& look, vimtypes::MoRef vm);
  Task<Status> SettleUnknownCreate(Look& look);
  void Link(Look& look, const podvm::Plan& plan);
  void Forget(const std::string& uid);
  // What it was admitted with is free for others.
  void GiveBack(PodMemory& memory);
  void Warn(Look& look, std::string reason, std::string message);

  Deps deps_;
  VmReconcilerOptions options_;
  podvm::NodeUsage usage_;  // of all admitted pods
  uint64_t jitter_ = RandomSeed();
};

}  // namespace vck::node
