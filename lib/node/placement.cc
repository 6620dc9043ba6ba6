#include "node/placement.h"

#include <algorithm>
#include <map>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "node/inventory_path.h"
#include "vch/names.h"
#include "vimtypes/faults.h"
#include "vimtypes/methods.gen.h"
#include "vsphere/update_set.h"

namespace vck::node {
namespace {

namespace vim = vimtypes;
using vim::MoRef;
using vsphere::ObjectChange;
using vsphere::Session;

Task<StatusOr<std::vector<ObjectChange>>> Retrieve(Session& session, vim::PropertyFilterSpec spec) {
  CO_RETURN_IF_ERROR(co_await session.Connect());
  std::vector<ObjectChange> all;
  std::string token;
  const MoRef& collector = session.content().propertyCollector;
  auto call = vim::RetrievePropertiesEx(collector, {std::move(spec)}, {});
  while (true) {
    auto reply =
        co_await session.Send(call.method, std::move(call.body), {.timeout = absl::ZeroDuration(), .read_only = true});
    if (!reply.ok()) co_return reply.status();
    token.clear();
    CO_ASSIGN_OR_RETURN(auto page, vsphere::ParseObjects(*reply, &token));
    std::move(page.begin(), page.end(), std::back_inserter(all));
    if (token.empty()) co_return all;
    auto next = vim::ContinueRetrievePropertiesEx(collector, token);
    call.method = next.method;
    call.body = std::move(next.body);
  }
}

const vsphere::PropertyValue* Find(const ObjectChange& object, std::string_view name) {
  for (const auto& p : object.changes) {
    if (p.name == name && p.set) return &p;
  }
  return nullptr;
}
std::string Text(const ObjectChange& object, std::string_view name) {
  const auto* p = Find(object, name);
  const auto* text = p == nullptr ? nullptr : std::get_if<std::string>(&p->value);
  return text == nullptr ? "" : *text;
}
MoRef Ref(const ObjectChange& object, std::string_view name) {
  const auto* p = Find(object, name);
  const auto* ref = p == nullptr ? nullptr : std::get_if<MoRef>(&p->value);
  return ref == nullptr ? MoRef() : *ref;
}

Task<StatusOr<ObjectChange>> Properties(Session& session, MoRef object, std::vector<std::string> paths) {
  vim::PropertyFilterSpec spec;
  spec.propSet.push_back({.type = object.type, .all = {}, .pathSet = std::move(paths)});
  spec.objectSet.push_back({.obj = object, .skip = {}, .selectSet = {}});
  CO_ASSIGN_OR_RETURN(auto objects, co_await Retrieve(session, std::move(spec)));
  if (objects.empty()) co_return absl::NotFoundError(absl::StrCat(object.ToString(), " is gone"));
  co_return std::move(objects.front());
}

// All objects of these types in a folder and the folders below it. `path` is the folder's own.
Task<StatusOr<std::vector<InventoryItem>>> List(Session& session, MoRef folder, std::string path,
                                                std::vector<std::string> types) {
  vim::PropertyFilterSpec spec;
  for (const std::string& type : types) {
    spec.propSet.push_back({.type = type, .all = {}, .pathSet = {"name", "parent"}});
  }
  spec.propSet.push_back({.type = "Folder", .all = {}, .pathSet = {"name", "parent"}});
  auto walk = std::make_shared<vim::TraversalSpec>();
  walk->name = "folders";
  walk->type = "Folder";
  walk->path = "childEntity";
  auto again = std::make_shared<vim::SelectionSpec>();
  again->name = "folders";
  walk->selectSet.push_back(again);
  spec.objectSet.push_back({.obj = folder, .skip = true, .selectSet = {walk}});
  CO_ASSIGN_OR_RETURN(auto objects, co_await Retrieve(session, std::move(spec)));
  std::map<std::string, const ObjectChange*> folders;  // by id
  for (const ObjectChange& o : objects) {
    if (o.object.type == "Folder") folders[o.object.value] = &o;
  }
  std::vector<InventoryItem> out;
  for (const ObjectChange& o : objects) {
    if (std::find(types.begin(), types.end(), o.object.type) == types.end()) continue;
    std::string below = Text(o, "name");
    // No deeper than there are folders, whatever they say of each other.
    MoRef parent = Ref(o, "parent");
    for (size_t depth = 0; depth < folders.size() && parent != folder; ++depth) {
      auto up = folders.find(parent.value);
      if (up == folders.end()) break;
      below = absl::StrCat(Text(*up->second, "name"), "/", below);
      parent = Ref(*up->second, "parent");
    }
    out.push_back(
        {o.object, vch::UnescapeName(Text(o, "name")), path.empty() ? below : absl::StrCat(path, "/", below)});
  }
  std::sort(out.begin(), out.end(), [](const InventoryItem& a, const InventoryItem& b) { return a.path < b.path; });
  co_return out;
}

// Names from below the root folder down to the object, joined by '/'.
Task<StatusOr<std::string>> PathOf(Session& session, MoRef object) {
  std::string path;
  while (object != session.content().rootFolder) {
    CO_ASSIGN_OR_RETURN(ObjectChange found, co_await Properties(session, object, {"name", "parent"}));
    path = path.empty() ? Text(found, "name") : absl::StrCat(Text(found, "name"), "/", path);
    object = Ref(found, "parent");
    if (object.empty()) break;
  }
  co_return path;
}

Task<StatusOr<InventoryItem>> Choose(Session& session, MoRef folder, std::vector<std::string> types, std::string wanted,
                                     std::string flag, std::string what) {
  CO_ASSIGN_OR_RETURN(std::string path, co_await PathOf(session, folder));
  CO_ASSIGN_OR_RETURN(auto all, co_await List(session, folder, path, std::move(types)));
  // The uplinks of a distributed switch are port groups, too, and never meant.
  std::erase_if(all, [](const InventoryItem& item) { return absl::StrContains(item.name, "DVUplinks"); });
  co_return ChooseItem(all, path, wanted, flag, what);
}

// A child of that name, made if it is missing. The name is unique among its siblings, so that two makers get one
// object.
template <class Make>
Task<StatusOr<MoRef>> Ensure(Session& session, MoRef parent, std::string name, Make make) {
  auto found = co_await session.Invoke(vim::FindChild(*session.content().searchIndex, parent, name));
  if (!found.ok()) co_return found.status();
  if (*found && !(*found)->empty()) co_return **found;
  StatusOr<MoRef> made = co_await session.Invoke(make(parent, name));
  if (made.ok()) {
    Log(Severity::kInfo, "Made in vCenter", {{"type", made->type}, {"name", name}});
    co_return *made;
  }
  if (!vim::IsFault(made.status(), "DuplicateName")) co_return made.status();
  MoRef other = vim::FaultObject(made.status());
  if (!other.empty()) co_return other;
  co_return absl::UnavailableError(absl::StrCat(name, " was made by somebody else just now"));
}

vim::ResourceConfigSpec PoolSpec() {
  auto allocation = [] {
    vim::ResourceAllocationInfo info;
    info.reservation = 0;
    info.expandableReservation = true;
    info.limit = -1;
    vim::SharesInfo shares;
    shares.level = "normal";
    info.shares = shares;
    return info;
  };
  vim::ResourceConfigSpec spec;
  spec.cpuAllocation = allocation();
  spec.memoryAllocation = allocation();
  return spec;
}

Task<StatusOr<podvm::NetworkBacking>> Network(Session& session, InventoryItem network) {
  if (network.ref.type == "DistributedVirtualPortgroup") {
    CO_ASSIGN_OR_RETURN(auto group,
                        co_await Properties(session, network.ref, {"key", "config.distributedVirtualSwitch"}));
    MoRef dvs = Ref(group, "config.distributedVirtualSwitch");
    if (dvs.empty())
      co_return absl::FailedPreconditionError(absl::StrCat("port group ", network.name, " has no switch"));
    CO_ASSIGN_OR_RETURN(auto properties, co_await Properties(session, dvs, {"uuid"}));
    co_return podvm::DistributedNetwork{.switch_uuid = Text(properties, "uuid"), .portgroup_key = Text(group, "key")};
  }
  if (network.ref.type == "OpaqueNetwork") {
    CO_ASSIGN_OR_RETURN(auto opaque, co_await Properties(session, network.ref,
                                                         {"summary.opaqueNetworkId", "summary.opaqueNetworkType"}));
    co_return podvm::OpaqueNetwork{.id = Text(opaque, "summary.opaqueNetworkId"),
                                   .type = Text(opaque, "summary.opaqueNetworkType")};
  }
  co_return podvm::StandardNetwork{.network = network.ref, .name = network.name};
}

// The guest id and hardware version that the cluster's default config option (its lowest host's) supports.
Task<> ConfigOption(Session& session, MoRef browser, Placement* out) {
  out->guest_id = "other5xLinux64Guest";
  auto option = co_await session.Invoke(vim::QueryConfigOption(browser, std::nullopt, std::nullopt));
  if (!option.ok() || !*option) {
    Log(Severity::kWarning, "vCenter does not tell what VMs the cluster supports; using a guest id that most do",
        {{"guestId", out->guest_id}, {"err", option.status()}});
    co_return;
  }
  out->hardware_version = (*option)->version;
  for (const char* wanted : {"other6xLinux64Guest", "other5xLinux64Guest", "other4xLinux64Guest", "other3xLinux64Guest",
                             "otherLinux64Guest"}) {
    for (const auto& guest : (*option)->guestOSDescriptor) {
      if (guest.id == wanted) {
        out->guest_id = wanted;
        co_return;
      }
    }
  }
}

}  // namespace

Task<StatusOr<Placement>> FindPlacement(Session& session, VCenterOptions options, std::string vch_id) {
  Placement out;
  CO_RETURN_IF_ERROR(co_await session.Connect());
  CO_ASSIGN_OR_RETURN(InventoryItem dc, co_await Choose(session, session.content().rootFolder, {"Datacenter"},
                                                        options.datacenter, "--datacenter", "datacenter"));
  out.datacenter = dc.ref;
  out.datacenter_path = dc.path;
  CO_ASSIGN_OR_RETURN(
      auto folders,
      co_await Properties(session, dc.ref, {"hostFolder", "vmFolder", "datastoreFolder", "networkFolder"}));
  CO_ASSIGN_OR_RETURN(
      InventoryItem compute,
      co_await Choose(session, Ref(folders, "hostFolder"), {"ClusterComputeResource", "ComputeResource"},
                      options.compute_resource, "--compute-resource", "cluster or host"));
  out.compute = compute.ref;
  CO_ASSIGN_OR_RETURN(InventoryItem datastore, co_await Choose(session, Ref(folders, "datastoreFolder"), {"Datastore"},
                                                               options.datastore, "--datastore", "datastore"));
  out.datastore = datastore.ref;
  out.datastore_name = datastore.name;
  CO_ASSIGN_OR_RETURN(InventoryItem network,
                      co_await Choose(session, Ref(folders, "networkFolder"),
                                      {"Network", "DistributedVirtualPortgroup", "OpaqueNetwork"}, options.pod_network,
                                      "--pod-network", "network"));
  out.network_ref = network.ref;
  CO_ASSIGN_OR_RETURN(out.network, co_await Network(session, network));
  CO_ASSIGN_OR_RETURN(auto cluster, co_await Properties(session, compute.ref, {"resourcePool", "environmentBrowser"}));
  out.pool = Ref(cluster, "resourcePool");
  std::string name = absl::StrCat("vch-", vch_id).substr(0, 80);
  std::string pool = options.resource_pool.empty() ? name : options.resource_pool;
  CO_ASSIGN_OR_RETURN(out.pool, co_await Ensure(session, out.pool, pool, [](const MoRef& parent, const std::string& n) {
                        return vim::CreateResourcePool(parent, n, PoolSpec());
                      }));
  std::string folder = options.vm_folder.empty() ? name : options.vm_folder;
  CO_ASSIGN_OR_RETURN(out.folder, co_await Ensure(session, Ref(folders, "vmFolder"), folder,
                                                  [](const MoRef& parent, const std::string& n) {
                                                    return vim::CreateFolder(parent, n);
                                                  }));
  MoRef browser = Ref(cluster, "environmentBrowser");
  if (browser.empty()) {
    out.guest_id = "other5xLinux64Guest";
  } else {
    co_await ConfigOption(session, browser, &out);
  }
  co_return out;
}

Task<StatusOr<std::string>> MissingPrivileges(Session& session, Placement placement) {
  CO_RETURN_IF_ERROR(co_await session.Connect());
  const vim::ServiceContent& content = session.content();
  if (!content.authorizationManager || !content.sessionManager) {
    co_return absl::UnimplementedError("this server has no authorization manager");
  }
  // As the server calls the account, with its domain: that is what it wants to be asked for.
  CO_ASSIGN_OR_RETURN(auto own, co_await Properties(session, *content.sessionManager, {"currentSession.userName"}));
  std::string user = Text(own, "currentSession.userName");
  if (user.empty()) co_return absl::UnimplementedError("this server does not say who is logged in");
  struct On {
    vch::Scope scope;
    MoRef object;
    const char* what;
  };
  const std::vector<On> objects = {
      {vch::Scope::kRoot, content.rootFolder, "the root folder"},
      {vch::Scope::kPool, placement.pool, "resource pool"},
      {vch::Scope::kFolder, placement.folder, "VM folder"},
      {vch::Scope::kDatastore, placement.datastore, "datastore"},
      {vch::Scope::kNetwork, placement.network_ref, "network"},
      {vch::Scope::kCluster, placement.compute, "cluster or host"},
  };
  std::vector<MoRef> entities;
  entities.reserve(objects.size());
  for (const On& on : objects) entities.push_back(on.object);
  auto told = co_await session.Invoke(vim::FetchUserPrivilegeOnEntities(*content.authorizationManager, entities, user));
  if (!told.ok()) co_return told.status();
  std::vector<HeldPrivileges> held;
  for (const On& on : objects) {
    auto of =
        std::find_if(told->begin(), told->end(), [&on](const auto& result) { return result.entity == on.object; });
    bool root = on.scope == vch::Scope::kRoot;
    held.push_back({.scope = on.scope,
                    .object = root ? on.what : absl::StrCat(on.what, " ", on.object.value),
                    .privileges = of == told->end() ? std::vector<std::string>() : of->privileges});
  }
  co_return DescribeMissing(held);
}

}  // namespace vck::node
