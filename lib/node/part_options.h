// What the administrator's options mean for each part. Pure, but for SpecOptions.
#pragma once

#include <string>

#include "flow/work_queue.h"
#include "kube/lease.h"
#include "node/node_object.h"
#include "node/options.h"
#include "node/placement.h"
#include "node/spec_sync.h"
#include "node/vm_reconciler.h"
#include "podvm/vm_spec.h"
#include "vsphere/update_set.h"

namespace vck::node {

// InvalidArgument names the flag.
StatusOr<NodeIdentity> IdentityOf(const Options& options, const std::string& host_ip);
NodeThresholds ThresholdsOf(const KubeOptions& options);
kube::LeaderElectionOptions ElectionOptionsOf(const Options& options);
flow::WorkQueueOptions QueueOptions(std::string name, const ReconcilerOptions& options);

// Reads --resolv-conf.
SpecSyncOptions SpecOptions(const Options& options, const std::string& host_ip);
VmReconcilerOptions VmOptions(const Options& options);
podvm::VmSettings VmSettingsOf(const Options& options, const Placement& placement, const vsphere::Capacity& capacity);
// What a pod's guest takes for its kernel and tether.
Resources OverheadOf(const PodOptions& options);

}  // namespace vck::node
