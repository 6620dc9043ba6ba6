// What the account of a VCH needs in vCenter, by the object that the role is given on.
#pragma once

#include <span>
#include <string_view>

namespace vck::vch {

enum class Scope {
  kRoot,       // the root folder, not propagated
  kPool,       // the VCH's resource pool
  kFolder,     // the VCH's VM folder, propagated
  kDatastore,  // image and volume stores
  kNetwork,    // the pod networks
  kCluster,    // the cluster or host that owns the pool
};

struct Privilege {
  Scope scope;
  std::string_view id;   // as in AuthorizationManager.privilegeList
  std::string_view why;  // for people
};

// Checked by vic-machine before it creates anything, and by the kubelet at start (as a warning).
std::span<const Privilege> RequiredPrivileges();

}  // namespace vck::vch
