// Every request that is used, against what pyvmomi writes for the same call (golden/requests.txt, made by
// tools/vimgen/golden.py). Compared canonically: namespaces resolved, also in xsi:type; prefixes, attribute order and
// pyvmomi's own versionId left out. Order of elements, text, and what is there and what is not, must be the same.
#include <fstream>
#include <functional>
#include <map>
#include <sstream>

#include <pugixml.hpp>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "vimtypes/methods.gen.h"
#include "vimtypes/soap.h"
#include "vimtypes/vm_spec.h"

namespace vck::vimtypes {
namespace {

using Namespaces = std::map<std::string, std::string>;

std::string Resolve(const Namespaces& spaces, const std::string& name, bool is_attribute) {
  size_t colon = name.find(':');
  std::string prefix = colon == std::string::npos ? "" : name.substr(0, colon);
  std::string local = colon == std::string::npos ? name : name.substr(colon + 1);
  if (prefix.empty() && is_attribute) return local;
  auto space = spaces.find(prefix);
  return absl::StrCat("{", space == spaces.end() ? "?" : space->second, "}", local);
}

void Canonical(const pugi::xml_node& node, Namespaces spaces, int depth, std::string& out) {
  std::map<std::string, std::string> attributes;
  for (const pugi::xml_attribute& a : node.attributes()) {
    std::string name = a.name();
    if (name == "xmlns") {
      spaces[""] = a.value();
    } else if (name.starts_with("xmlns:")) {
      spaces[name.substr(6)] = a.value();
    }
  }
  for (const pugi::xml_attribute& a : node.attributes()) {
    std::string name = a.name();
    if (name == "xmlns" || name.starts_with("xmlns:") || name == "versionId") continue;
    std::string resolved = Resolve(spaces, name, true);
    bool is_type = resolved == "{http://www.w3.org/2001/XMLSchema-instance}type";
    attributes[resolved] = is_type ? Resolve(spaces, a.value(), false) : std::string(a.value());
  }
  absl::StrAppend(&out, std::string(depth * 2, ' '), "<", Resolve(spaces, node.name(), false));
  for (const auto& [name, value] : attributes) absl::StrAppend(&out, " ", name, "=\"", value, "\"");
  absl::StrAppend(&out, ">");
  bool elements = false;
  for (const pugi::xml_node& child : node.children()) {
    if (child.type() != pugi::node_element) continue;
    if (!elements) absl::StrAppend(&out, "\n");
    elements = true;
    Canonical(child, spaces, depth + 1, out);
  }
  if (!elements) absl::StrAppend(&out, "[", node.text().get(), "]\n");
}

std::string Canonical(const std::string& xml) {
  pugi::xml_document document;
  if (!document.load_string(xml.c_str(), pugi::parse_default | pugi::parse_ws_pcdata_single)) return "not XML: " + xml;
  std::string out;
  pugi::xml_node body = document.document_element().first_child();
  while (body && body.type() != pugi::node_element) body = body.next_sibling();
  Namespaces spaces;
  for (const pugi::xml_attribute& a : document.document_element().attributes()) {
    if (std::string(a.name()).starts_with("xmlns:")) spaces[a.name() + 6] = a.value();
  }
  Canonical(body, spaces, 0, out);
  return out;
}

MoRef Ref(std::string type, std::string value) { return {.type = std::move(type), .value = std::move(value)}; }

const MoRef kFolder = Ref("Folder", "group-v3"), kPool = Ref("ResourcePool", "resgroup-8"),
            kHost = Ref("HostSystem", "host-9"), kVm = Ref("VirtualMachine", "vm-1"),
            kVm2 = Ref("VirtualMachine", "vm-2"), kTask = Ref("Task", "task-5"),
            kDc = Ref("Datacenter", "datacenter-2"), kDs = Ref("Datastore", "datastore-11"),
            kCluster = Ref("ClusterComputeResource", "domain-c7"),
            kInstance = Ref("ServiceInstance", "ServiceInstance"), kSessions = Ref("SessionManager", "SessionManager"),
            kCollector = Ref("PropertyCollector", "propertyCollector"), kView = Ref("ListView", "listview-1"),
            kLease = Ref("HttpNfcLease", "lease-1"), kFiles = Ref("FileManager", "FileManager"),
            kBrowser = Ref("HostDatastoreBrowser", "browser-1"), kEvents = Ref("EventManager", "EventManager"),
            kPerf = Ref("PerformanceManager", "PerfMgr"), kIndex = Ref("SearchIndex", "SearchIndex"),
            kEnvironment = Ref("EnvironmentBrowser", "envbrowser-7");

PropertyFilterSpec Filter() {
  auto traversal = std::make_shared<TraversalSpec>();
  traversal->name = "children";
  traversal->type = "Folder";
  traversal->path = "childEntity";
  traversal->skip = false;
  auto again = std::make_shared<SelectionSpec>();
  again->name = "children";
  traversal->selectSet = {again};
  return {.propSet = {{.type = "VirtualMachine",
                       .all = false,
                       .pathSet = {"name", "runtime.powerState", "config.extraConfig[\"vch.pod\"]"}}},
          .objectSet = {{.obj = kFolder, .skip = true, .selectSet = {traversal}}},
          .reportMissingObjectsInResults = true};
}

VirtualMachineConfigSpec Config(NetworkBacking network) {
  VmSpec vm;
  vm.name = "default-web-0123456789ab";
  vm.datastore = "ds 1";
  vm.hardware_version = "vmx-14";
  vm.cpus = 2;
  vm.memory_mb = 510;
  vm.cpu_reservation_mhz = 100;
  vm.cpu_limit_mhz = 2000;
  vm.memory_reservation_mb = 256;
  vm.disks = {{.new_bytes = 1 << 30, .datastore = kDs},
              {.parent = "[ds 1] images/a & b.vmdk", .datastore = kDs, .parent_bytes = 2 << 20},
              {.file = "[ds 1] volumes/v.vmdk", .mode = "independent_persistent"}};
  vm.network = std::move(network);
  vm.iso = "[ds 1] iso/bootstrap.iso";
  vm.annotation = "a <pod>";
  vm.managed_by_extension = "io.vch.kubelet";
  vm.managed_by_type = "pod";
  vm.extra_config = {{"vch.pod", "v1 a=b%20c"}, {"guestinfo.vch.guest", "-"}};
  return BuildConfigSpec(vm).value();
}

ResourceAllocationInfo Allocation(int64_t limit) {
  return {.reservation = 0,
          .expandableReservation = true,
          .limit = limit,
          .shares = SharesInfo{.shares = 0, .level = "normal"}};
}

// The same calls as golden.py's, by their names there.
std::map<std::string, std::string> Requests() {
  std::map<std::string, std::string> out;
  auto add = [&out](const auto& call, std::string suffix = "") { out[std::string(call.method) + suffix] = call.body; };
  add(RetrieveServiceContent(kInstance));
  add(CurrentTime(kInstance));
  add(Login(kSessions, "administrator@vsphere.local", "p<&>\"'w", std::nullopt));
  add(Logout(kSessions));
  add(SessionIsActive(kSessions, "key-1", "user"));
  auto ticket = std::make_shared<SessionManagerHttpServiceRequestSpec>();
  ticket->method = "httpPut";
  ticket->url = "https://host/folder/a?dcPath=x&dsName=y";
  add(AcquireGenericServiceTicket(kSessions, ticket));

  add(CreatePropertyCollector(kCollector));
  add(DestroyPropertyCollector(kCollector));
  add(CreateFilter(kCollector, Filter(), false));
  add(WaitForUpdatesEx(kCollector, "12", WaitOptions{.maxWaitSeconds = 300, .maxObjectUpdates = 100}));
  add(WaitForUpdatesEx(kCollector, "", std::nullopt), "/first");
  add(CancelWaitForUpdates(kCollector));
  add(RetrievePropertiesEx(kCollector, {Filter()}, {.maxObjects = 50}));
  add(ContinueRetrievePropertiesEx(kCollector, "token-1"));
  add(CancelRetrievePropertiesEx(kCollector, "token-1"));
  add(DestroyPropertyFilter(Ref("PropertyFilter", "filter-1")));
  add(CreateListView(Ref("ViewManager", "ViewManager"), {kVm, kTask}));
  add(ModifyListView(kView, {kTask}, {kVm, kVm2}));
  add(ResetListView(kView, {kTask}));
  add(DestroyView(Ref("View", "listview-1")));

  add(CreateFolder(kFolder, "pods %2f"));
  add(CreateVM_Task(kFolder, Config(StandardNetwork{.name = "VM Network", .network = Ref("Network", "network-4")}),
                    kPool, kHost));
  add(CreateVM_Task(kFolder, Config(DistributedPort{.switch_uuid = "50 2c", .portgroup_key = "dvportgroup-3"}), kPool,
                    std::nullopt),
      "/dvs");
  add(CreateVM_Task(kFolder, Config(OpaqueNetwork{.id = "net-1", .type = "nsx.LogicalSwitch"}), kPool, std::nullopt),
      "/opaque");
  add(Destroy_Task(kVm));
  add(Rename_Task(kVm, "new"));
  VirtualMachineConfigSpec change;
  change.extraConfig = {{.key = "s", .value = std::string("text")},
                        {.key = "i", .value = int32_t{1}},
                        {.key = "b", .value = true},
                        {.key = "e", .value = std::string()}};
  add(ReconfigVM_Task(kVm, change));
  add(PowerOnVM_Task(kVm, std::nullopt));
  add(PowerOffVM_Task(kVm));
  add(ResetVM_Task(kVm));
  add(ShutdownGuest(kVm));
  add(MarkAsTemplate(kVm));
  add(MarkAsVirtualMachine(kVm, kPool, kHost));
  add(UnregisterVM(kVm));
  add(AnswerVM(kVm, "question-1", "0"));
  add(PowerOnMultiVM_Task(kDc, {kVm, kVm2}, {}));
  ResourceConfigSpec resources{.cpuAllocation = Allocation(-1), .memoryAllocation = Allocation(4096)};
  add(CreateResourcePool(kPool, "vch-1", resources));
  add(UpdateConfig(kPool, std::nullopt, resources));
  auto import = std::make_shared<VirtualMachineImportSpec>();
  import->configSpec.name = "image";
  add(ImportVApp(kPool, import, kFolder, std::nullopt));
  add(CancelTask(kTask));
  add(QueryConfigOption(kEnvironment, "vmx-13", kHost));
  add(QueryConfigOptionDescriptor(kEnvironment));
  PlacementSpec placement;
  placement.configSpec.emplace().name = "a";
  placement.datastores = {kDs};
  placement.placementType = "create";
  add(PlaceVm(kCluster, placement));
  add(FindByInventoryPath(kIndex, "/DC0/vm/a%2fb"));
  add(FindChild(kIndex, kFolder, "x"));
  add(FindByUuid(kIndex, kDc, "4206", true, false));

  add(HttpNfcLeaseProgress(kLease, 50));
  add(HttpNfcLeaseComplete(kLease));
  add(HttpNfcLeaseAbort(kLease, std::nullopt));
  add(DeleteDatastoreFile_Task(kFiles, "[ds] a", kDc));
  add(MoveDatastoreFile_Task(kFiles, "[ds] a", kDc, "[ds] b", kDc, true));
  add(CopyDatastoreFile_Task(kFiles, "[ds] a", kDc, "[ds] b", kDc, false));
  add(MakeDirectory(kFiles, "[ds] d", kDc, true));
  HostDatastoreBrowserSearchSpec search;
  search.details = FileQueryFlags{.fileType = true, .fileSize = true, .modification = true, .fileOwner = false};
  search.matchPattern = {"*.log"};
  add(SearchDatastore_Task(kBrowser, "[ds] d", search));
  add(SearchDatastoreSubFolders_Task(kBrowser, "[ds] d", search));
  EventFilterSpec events;
  events.entity = EventFilterSpecByEntity{.entity = kFolder, .recursion = "all"};
  events.eventTypeId = {"VmPoweredOnEvent"};
  events.maxCount = 10;
  add(QueryEvents(kEvents, events));
  add(CreateCollectorForEvents(kEvents, events));
  add(ReadNextEvents(Ref("EventHistoryCollector", "collector-1"), 10));
  add(DestroyCollector(Ref("HistoryCollector", "collector-1")));
  add(QueryPerfCounter(kPerf, {1, 2}));
  add(QueryAvailablePerfMetric(kPerf, kHost, std::nullopt, std::nullopt, 20));
  add(QueryPerf(kPerf, {{.entity = kVm,
                         .maxSample = 1,
                         .metricId = {{.counterId = 6, .instance = ""}},
                         .intervalId = 20,
                         .format = "normal"}}));
  add(QueryPerfProviderSummary(kPerf, kHost));
  add(FetchUserPrivilegeOnEntities(Ref("AuthorizationManager", "AuthorizationManager"), {kFolder, kPool},
                                   "VSPHERE.LOCAL\\vch"));
  return out;
}

TEST(Golden, RequestsAreAsPyvmomiWritesThem) {
  std::ifstream file(VCK_GOLDEN);
  ASSERT_TRUE(file) << VCK_GOLDEN;
  std::map<std::string, std::string> ours = Requests();
  std::string name;
  std::string xml;
  size_t count = 0;
  while (std::getline(file, name) && std::getline(file, xml)) {
    ASSERT_TRUE(name.starts_with("== "));
    name.erase(0, 3);
    ++count;
    auto own = ours.find(name);
    ASSERT_NE(own, ours.end()) << name;
    EXPECT_EQ(Canonical(Envelope(own->second)), Canonical(xml)) << name;
  }
  EXPECT_EQ(count, ours.size());
  EXPECT_GE(count, 60U);
}

}  // namespace
}  // namespace vck::vimtypes
