// Placement: the vCenter objects that a VCH lives in, found (or made) once after start.
#pragma once

#include <string>

#include "async/task.h"
#include "node/options.h"
#include "podvm/vm_spec.h"
#include "vsphere/session.h"

namespace vck::node {

struct Placement {
  vimtypes::MoRef datacenter;
  std::string datacenter_path;  // folders and name, as datastore URLs want it: "DC0", "Europe/DC0"
  vimtypes::MoRef compute;      // ComputeResource or ClusterComputeResource
  vimtypes::MoRef pool;         // of the pod VMs
  vimtypes::MoRef folder;       // of the pod VMs
  vimtypes::MoRef datastore;
  std::string datastore_name;
  podvm::NetworkBacking network;
  std::string guest_id, hardware_version;
};

// Finds what the options name; what they leave open must be the only one of its kind. Makes the pool and the folder
// when they are named and missing. NotFound and InvalidArgument say what there is to choose from.
Task<StatusOr<Placement>> FindPlacement(vsphere::Session& session, VCenterOptions options, std::string vch_id);

}  // namespace vck::node
