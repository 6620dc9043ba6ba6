// What the parts of the node are told, of all that an administrator can set. Pure, and in one place so that what a flag
// comes to can be tested: the parts themselves know no flags.
#pragma once

#include <optional>
#include <string>

#include "flow/work_queue.h"
#include "image/image_service.h"
#include "kube/lease.h"
#include "node/node_object.h"
#include "node/options.h"
#include "node/placement.h"
#include "node/spec_sync.h"
#include "node/vm_reconciler.h"
#include "vsphere/calls.h"
#include "vsphere/inventory.h"

namespace vck::node {

// Of Options that Validate() has nothing to say about.

// InvalidArgument names the flag.
StatusOr<NodeIdentity> IdentityOf(const Options& options, const std::string& host_ip);
NodeThresholds ThresholdsOf(const Options& options);
kube::NodeLeaseOptions LeaseOf(const Options& options);
kube::LeaderElectionOptions ElectionOf(const Options& options);
vsphere::InventoryOptions InventoryOf(const VCenterOptions& options, const Placement& placement);
vsphere::CallsOptions CallsOf(const VCenterOptions& options);
flow::WorkQueueOptions QueueOf(const Options& options, std::string name);
VmReconcilerOptions VmReconcilerOf(const Options& options);
podvm::VmSettings PodVmOf(const Options& options, const Placement& placement, int64_t cpu_mhz_per_core);
// `resolv_conf`: the text of the file, if one is named.
SpecSyncOptions SpecOf(const Options& options, std::string host_ip, const std::optional<std::string>& resolv_conf);
image::ImageServiceOptions ImagesOf(const Options& options);

// What a pod's guest takes for its kernel and tether.
Resources OverheadOf(const Options& options);

}  // namespace vck::node
