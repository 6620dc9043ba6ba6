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
  vimtypes::MoRef network_ref;
  podvm::NetworkBacking network;
  std::string guest_id, hardware_version;
};

// Finds what the options name; what they leave open must be the only one of its kind. Makes the pool and the folder
// when they are named and missing. NotFound and InvalidArgument say what there is to choose from.
Task<StatusOr<Placement>> FindPlacement(vsphere::Session& session, VCenterOptions options, std::string vch_id);

// What vch::RequiredPrivileges() asks for and the session's account does not have on these objects, in words; "" when
// nothing is missing. Unimplemented, or the server's fault, where it does not tell.
Task<StatusOr<std::string>> MissingPrivileges(vsphere::Session& session, Placement placement);

}  // namespace vck::node
