// What a flag names in vCenter: an object's name, or its inventory path. Pure.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "vch/privileges.h"
#include "vimtypes/types.gen.h"

namespace vck::node {

struct InventoryItem {
  vimtypes::MoRef ref;
  std::string name;
  std::string path;  // names from below the root folder, joined by '/': "DC0/datastore/fast/ds1"
};

// The item that `wanted` names: by its name, its whole path (a leading '/' or not), or the path below `folder`
// ("DC0/datastore"). "" is the only item that there is. NotFound and InvalidArgument (several fit) name `flag` and say
// what there is.
StatusOr<InventoryItem> ChooseItem(std::span<const InventoryItem> items, std::string_view folder,
                                   std::string_view wanted, std::string_view flag, std::string_view what);

// What an account has on one of the objects that a VCH lives in.
struct HeldPrivileges {
  vch::Scope scope;
  std::string object;  // for people: "resource pool vch-1"
  std::vector<std::string> privileges;
};
// "Resource.CreatePool, VApp.Import on resource pool vch-1; …": what vch::RequiredPrivileges() asks for and is not
// held. "" when all is there.
std::string DescribeMissing(std::span<const HeldPrivileges> held);

}  // namespace vck::node
