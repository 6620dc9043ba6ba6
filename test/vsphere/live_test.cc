// Against a vCenter that is really there (tools/lab up; . DIR/env). Skipped where VCENTER_URL is not set.
#include "support/live.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include <boost/asio/co_spawn.hpp>
#include <sys/resource.h>

#include "async/task_group.h"
#include "base/digest.h"
#include "gtest/gtest.h"
#include "vimtypes/vm_spec.h"
#include "vsphere/calls.h"
#include "vsphere/datastore.h"
#include "vsphere/history.h"
#include "vsphere/import.h"
#include "vsphere/tags.h"

namespace vck::vsphere {
namespace {

using vck::testing::Env;

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

// `left` pieces of a body, one a call.
Task<StatusOr<std::string>> Piece(std::shared_ptr<int> left, std::string piece) {
  co_return (*left)-- > 0 ? std::move(piece) : std::string();
}

// The smallest streamOptimized VMDK: a header, and a marker that says that there is no data.
std::string EmptyVmdk(uint64_t sectors) {
  std::string out = "KDMV";
  auto put = [&out](uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
  };
  put(3, 4);              // version
  put(0x30001, 4);        // compressed, with markers
  put(sectors, 8);        // capacity
  put(128, 8);            // a grain
  put(0, 8);              // no descriptor
  put(0, 8);              //
  put(512, 4);            // entries of a grain table
  put(0, 8);              // no second directory
  put(UINT64_MAX, 8);     // the directory is at the end
  put(1, 8);              // this header
  put(0, 1);              // closed cleanly
  out.append("\n \r\n");  // a text transfer would damage them
  put(1, 2);              // deflate
  out.resize(1024);       // the marker is all zeros
  return out;
}

class LiveTest : public ::testing::Test {
 public:
  void SetUp() override {
    if (Env("VCENTER_URL").empty()) GTEST_SKIP() << "no VCENTER_URL";
    http::ClientOptions client;
    StatusOr<http::Url> url = http::ParseUrl(Env("VCENTER_URL"));
    ASSERT_TRUE(url.ok()) << url.status();
    client.origin = *url;
    std::stringstream ca;
    ca << std::ifstream(Env("VCENTER_CA")).rdbuf();
    if (url->scheme == "https") {
      auto tls = http::TlsContext::Client({.ca_pem = ca.str()});
      ASSERT_TRUE(tls.ok()) << tls.status();
      client.tls = *tls;
    }
    client.http2 = false;
    client.max_connections = 40;
    client_ = http::Client::Create(context_.get_executor(), clock_, client);
    SessionOptions session;
    session.origin = *url;
    session.credentials = [] { return Credentials{Env("VCENTER_USER"), Env("VCENTER_PASSWORD")}; };
    session_ = std::make_unique<Session>(clock_, client_, std::move(session));
  }

  // Runs a test's body with session, inventory and calls around it.
  void Live(Task<> (LiveTest::*body)()) {
    if (session_ == nullptr) return;
    bool done = false;
    asio::co_spawn(context_, Around(body), [this, &done](std::exception_ptr e) {
      done = true;
      context_.stop();  // a timer that nobody waits for any more would keep it
      if (e) std::rethrow_exception(e);
    });
    context_.run();
    EXPECT_TRUE(done);
  }

  Task<> Around(Task<> (LiveTest::*body)()) {
    Status status = co_await Prepare();
    EXPECT_TRUE(status.ok()) << status;
    if (status.ok()) {
      TaskGroup group(context_.get_executor());
      group.Spawn("session", session_->Run());
      group.Spawn("inventory", inventory_->Run());
      co_await inventory_->vms().WaitSynced();
      co_await (this->*body)();
      std::vector<MoRef> left;
      for (const auto& [id, vm] : inventory_->vms().items()) left.push_back(vm->vm);
      for (const MoRef& vm : left) {
        (void)co_await calls_->PowerOff(vm);
        (void)co_await calls_->Destroy(vm);
      }
      Status destroyed = co_await calls_->Destroy(folder_);
      EXPECT_TRUE(destroyed.ok()) << destroyed;
      destroyed = co_await calls_->Destroy(pool_);
      EXPECT_TRUE(destroyed.ok()) << destroyed;
      co_await calls_->Drain(clock_.Now() + absl::Seconds(30));
      group.Cancel();
      (void)co_await group.Join();
      co_await session_->Logout();
    }
    co_await client_->Close();
  }

  Task<Status> Prepare() {
    std::string dc = "/" + Env("VCENTER_DATACENTER");
    std::string name = "live-" + RandomHex(4);
    // An inventory for the look-ups' sake: it is not run.
    Inventory none(clock_, *session_, {});
    Calls calls(context_.get_executor(), clock_, *session_, none, {});
    CO_ASSIGN_OR_RETURN(datacenter_, co_await calls.FindByInventoryPath(dc));
    CO_ASSIGN_OR_RETURN(MoRef vms, co_await calls.FindByInventoryPath(dc + "/vm"));
    CO_ASSIGN_OR_RETURN(cluster_, co_await calls.FindByInventoryPath(dc + "/host/" + Env("VCENTER_CLUSTER")));
    CO_ASSIGN_OR_RETURN(datastore_, co_await calls.FindByInventoryPath(dc + "/datastore/" + Env("VCENTER_DATASTORE")));
    CO_ASSIGN_OR_RETURN(folder_, co_await calls.CreateFolder(vms, name));
    CO_ASSIGN_OR_RETURN(MoRef root, co_await calls.FindChild(cluster_, "Resources"));
    vim::ResourceAllocationInfo all{.reservation = 0,
                                    .expandableReservation = true,
                                    .limit = -1,
                                    .shares = vim::SharesInfo{.shares = 0, .level = "normal"}};
    CO_ASSIGN_OR_RETURN(pool_,
                        co_await calls.CreateResourcePool(root, name, {.cpuAllocation = all, .memoryAllocation = all}));
    co_await calls.Drain(clock_.Now());
    InventoryOptions options;
    options.folder = folder_;
    options.compute_resource = cluster_;
    options.resource_pool = pool_;
    options.datastores = {datastore_};
    inventory_ = std::make_unique<Inventory>(clock_, *session_, options);
    calls_ = std::make_unique<Calls>(context_.get_executor(), clock_, *session_, *inventory_, CallsOptions{});
    co_return absl::OkStatus();
  }

  vim::VirtualMachineConfigSpec Spec(const std::string& name) {
    vim::VmSpec spec;
    spec.name = name;
    spec.datastore = Env("VCENTER_DATASTORE");
    spec.memory_mb = 127;
    spec.disks = {{.new_bytes = 1 << 20}};
    spec.network = vim::StandardNetwork{.name = "VM Network"};
    spec.extra_config = {{"vch.pod", "v1 name=" + name}, {"guestinfo.vch.guest", "-"}};
    return vim::BuildConfigSpec(spec).value();
  }
  Task<bool> Eventually(std::function<bool()> holds) {
    for (int i = 0; i < 100 && !holds(); ++i) co_await clock_.Sleep(absl::Milliseconds(50));
    co_return holds();
  }
  std::shared_ptr<const vim::VmRecord> Record(const MoRef& vm) { return inventory_->vms().Get(vm.value); }

  Task<> OneVm();
  Task<> SessionLoss();
  Task<> Many();
  Task<> Files();
  Task<> History();
  Task<> Tags();
  Task<> Import();
  Task<> Outage();
  Task<Status> UpAndDown(std::string name);

  asio::io_context context_;
  RealClock clock_{context_.get_executor()};
  std::shared_ptr<http::Client> client_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<Inventory> inventory_;
  std::unique_ptr<Calls> calls_;
  MoRef datacenter_, cluster_, datastore_, folder_, pool_;
};

Task<> LiveTest::OneVm() {
  EXPECT_GT(inventory_->capacity().effective_cpu_mhz, 0);
  EXPECT_GT(inventory_->capacity().effective_memory_mb, 0);
  EXPECT_GT(inventory_->capacity().datastores.at(datastore_.value).free_bytes, 0);
  EXPECT_GT(inventory_->capacity().UsableCpuMhz(), 0);
  EXPECT_TRUE(inventory_->capacity().drs_enabled);

  LIVE_ASSIGN(MoRef vm, co_await calls_->CreateVm(folder_, Spec("a-b-1"), pool_));
  EXPECT_TRUE(co_await Eventually([&] { return Record(vm) != nullptr; }));
  if (Record(vm) == nullptr) co_return;
  EXPECT_EQ(Record(vm)->name, "a-b-1");
  EXPECT_EQ(Record(vm)->pod_key, "v1 name=a-b-1");
  EXPECT_EQ(Record(vm)->guest_key, "-");
  EXPECT_EQ(Record(vm)->power, vim::PowerState::kOff);
  EXPECT_EQ(Record(vm)->connection, vim::ConnectionState::kConnected);

  Status again = (co_await calls_->CreateVm(folder_, Spec("a-b-1"), pool_)).status();
  EXPECT_EQ(vim::FaultType(again), "DuplicateName") << again;
  EXPECT_EQ(vim::RetryClassOf(again), vim::RetryClass::kAlreadyThere);

  LIVE_OK(co_await calls_->PowerOn(vm, datacenter_));
  EXPECT_TRUE(co_await Eventually([&] { return Record(vm)->power == vim::PowerState::kOn; }));
  LIVE_OK(co_await calls_->PowerOn(vm));
  EXPECT_TRUE(co_await Eventually([&] { return !Record(vm)->host.empty(); }));

  vim::VirtualMachineConfigSpec change;
  change.extraConfig = {{.key = "guestinfo.vch.guest", .value = std::string("v1 boot <&> \"x\"")}};
  LIVE_OK(co_await calls_->Reconfigure(vm, change));
  EXPECT_TRUE(co_await Eventually([&] { return Record(vm)->guest_key == "v1 boot <&> \"x\""; }))
      << Record(vm)->guest_key;

  // A child disk of the first VM's disk.
  LIVE_ASSIGN(std::vector<ObjectChange> browser, co_await calls_->Retrieve({cluster_}, {"environmentBrowser"}));
  EXPECT_EQ(browser.size(), 1U);
  LIVE_ASSIGN(vim::VirtualMachineConfigOption option,
              co_await calls_->QueryConfigOption(std::get<MoRef>(browser[0].changes.at(0).value)));
  EXPECT_TRUE(option.version.starts_with("vmx-")) << option.version;

  vim::VmSpec child;
  child.name = "child";
  child.datastore = Env("VCENTER_DATASTORE");
  child.disks = {{.parent = "[" + child.datastore + "] a-b-1/a-b-1.vmdk", .parent_bytes = 1 << 20}};
  StatusOr<MoRef> created = co_await calls_->CreateVm(folder_, vim::BuildConfigSpec(child).value(), pool_);
  EXPECT_TRUE(created.ok()) << created.status();

  vim::PlacementSpec placement;
  placement.placementType = "create";
  placement.configSpec = Spec("placed");
  StatusOr<vim::PlacementResult> placed = co_await calls_->PlaceVm(cluster_, placement);
  EXPECT_TRUE(placed.ok()) << placed.status();
  if (placed.ok()) EXPECT_FALSE(placed->recommendations.empty());

  Status busy = co_await calls_->Destroy(vm);
  EXPECT_TRUE(vim::IsFault(busy, "InvalidPowerState")) << busy;
  LIVE_OK(co_await calls_->PowerOff(vm));
  LIVE_OK(co_await calls_->PowerOff(vm));
  EXPECT_TRUE(co_await Eventually([&] { return Record(vm)->power == vim::PowerState::kOff; }));
  LIVE_OK(co_await calls_->MarkAsTemplate(vm));
  EXPECT_TRUE(co_await Eventually([&] { return Record(vm)->is_template; }));
  LIVE_OK(co_await session_->Invoke(vim::MarkAsVirtualMachine(vm, pool_, std::nullopt)));
  LIVE_OK(co_await calls_->Destroy(vm));
  EXPECT_TRUE(co_await Eventually([&] { return Record(vm) == nullptr; }));
  LIVE_OK(co_await calls_->Destroy(vm));
}

TEST_F(LiveTest, OneVm) { Live(&LiveTest::OneVm); }

Task<> LiveTest::SessionLoss() {
  LIVE_ASSIGN(MoRef vm, co_await calls_->CreateVm(folder_, Spec("s"), pool_));
  // Ended behind the session's back.
  uint64_t epoch = session_->epoch();
  LIVE_OK(co_await session_->Invoke(vim::Logout(*session_->content().sessionManager)));
  LIVE_OK(co_await calls_->PowerOn(vm));
  EXPECT_GT(session_->epoch(), epoch);
  EXPECT_TRUE(co_await Eventually([&] { return Record(vm) != nullptr && Record(vm)->power == vim::PowerState::kOn; }));
  LIVE_OK(co_await calls_->PowerOff(vm));
  LIVE_OK(co_await calls_->Destroy(vm));
  EXPECT_TRUE(co_await Eventually([&] { return Record(vm) == nullptr; }));
}

TEST_F(LiveTest, SessionLoss) { Live(&LiveTest::SessionLoss); }

Task<Status> LiveTest::UpAndDown(std::string name) {
  CO_ASSIGN_OR_RETURN(MoRef vm, co_await calls_->CreateVm(folder_, Spec(name), pool_));
  CO_RETURN_IF_ERROR(co_await calls_->PowerOn(vm, datacenter_));
  CO_RETURN_IF_ERROR(co_await calls_->PowerOff(vm));
  co_return co_await calls_->Destroy(vm);
}

Task<> LiveTest::Many() {
  int count = Env("VSPHERE_LIVE_VMS").empty() ? 50 : std::stoi(Env("VSPHERE_LIVE_VMS"));
  double cpu = CpuSeconds();
  Instant start = clock_.Now();
  Session::Stats before = session_->stats();
  Inventory::Stats rounds = inventory_->stats();
  TaskGroup group(context_.get_executor());
  for (int i = 0; i < count; ++i) group.Spawn("vm", UpAndDown("many-" + std::to_string(i)));
  LIVE_OK(co_await group.Join());
  std::cout << count << " VMs up and down: " << absl::FormatDuration(clock_.Now() - start) << ", "
            << (CpuSeconds() - cpu) * 1000 / count << " ms of CPU each, "
            << static_cast<double>(session_->stats().calls - before.calls) / count << " calls each, "
            << inventory_->stats().rounds - rounds.rounds << " rounds, "
            << inventory_->stats().list_changes - rounds.list_changes << " task list changes\n";
  EXPECT_TRUE(co_await Eventually([&] { return inventory_->vms().size() == 0; })) << inventory_->vms().size();
}

TEST_F(LiveTest, Many) { Live(&LiveTest::Many); }

Task<> LiveTest::Files() {
  DatastoreFiles files(*calls_, datacenter_, Env("VCENTER_DATACENTER"));
  std::string ds = Env("VCENTER_DATASTORE");
  std::string dir = "files-" + RandomHex(4);
  LIVE_OK(co_await files.MakeFolder({ds, dir}));
  LIVE_OK(co_await files.MakeFolder({ds, dir}));
  LIVE_OK(co_await files.MakeFolder({ds, dir + "/sub"}));
  std::string content(100000, 'x');
  LIVE_OK(co_await files.Upload({ds, dir + "/a b.log"}, content));
  auto left = std::make_shared<int>(3);
  LIVE_OK(co_await files.Upload(
      {ds, dir + "/sub/c.log"}, 30, [left] { return Piece(left, "0123456789"); }, absl::Seconds(30)));
  StatusOr<std::string> back = co_await files.Download({ds, dir + "/a b.log"});
  EXPECT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(back.ok() && *back == content);
  EXPECT_TRUE(absl::IsNotFound((co_await files.Download({ds, dir + "/none"})).status()));
  LIVE_ASSIGN(std::unique_ptr<http::BodyReader> reader, co_await files.Open({ds, dir + "/sub/c.log"}, 25));
  LIVE_ASSIGN(std::string tail, co_await reader->Read());
  EXPECT_EQ(tail, "56789");
  reader.reset();
  LIVE_ASSIGN(std::vector<FileEntry> flat, co_await files.List(datastore_, {ds, dir}, "*.log"));
  EXPECT_EQ(flat.size(), 1U);
  if (!flat.empty()) {
    EXPECT_EQ(flat[0].path, dir + "/a b.log");
    EXPECT_EQ(flat[0].size, 100000);
  }
  LIVE_ASSIGN(std::vector<FileEntry> deep, co_await files.List(datastore_, {ds, dir}, "*.log", true));
  EXPECT_EQ(deep.size(), 2U);
  EXPECT_TRUE(absl::IsNotFound((co_await files.List(datastore_, {ds, dir + "/none"})).status()));
  LIVE_OK(co_await files.Move({ds, dir + "/a b.log"}, {ds, dir + "/d.log"}, true));
  LIVE_OK(co_await files.Delete({ds, dir + "/d.log"}));
  LIVE_OK(co_await files.Delete({ds, dir + "/d.log"}));
  LIVE_OK(co_await files.Delete({ds, dir}));
}

TEST_F(LiveTest, Files) { Live(&LiveTest::Files); }

Task<> LiveTest::History() {
  EventReader reader(*session_, folder_, {});
  LIVE_OK(co_await reader.Open());
  LIVE_ASSIGN(MoRef vm, co_await calls_->CreateVm(folder_, Spec("h"), pool_));
  LIVE_OK(co_await calls_->PowerOn(vm));
  LIVE_ASSIGN(Events events, co_await QueryEvents(*session_, folder_, {}));
  auto is = [](std::string_view type) { return [type](const auto& e) { return e->TypeName() == type; }; };
  EXPECT_TRUE(std::ranges::any_of(events, is("VmCreatedEvent")));
  EXPECT_TRUE(std::ranges::any_of(events, is("VmPoweredOnEvent")));
  LIVE_ASSIGN(Events read, co_await reader.Next());
  EXPECT_TRUE(std::ranges::any_of(read, is("VmPoweredOnEvent")));
  co_await reader.Close();

  PerfReader perf(*calls_);
  LIVE_ASSIGN(std::vector<Sample> samples,
              co_await perf.Query({vm}, {"cpu.usagemhz.average", "mem.consumed.average"}, 3));
  EXPECT_EQ(samples.size(), 2U);
  if (!samples.empty()) EXPECT_FALSE(samples[0].values.empty());
  EXPECT_TRUE(absl::IsInvalidArgument((co_await perf.Query({vm}, {"no.such.thing"})).status()));
}

TEST_F(LiveTest, History) { Live(&LiveTest::History); }

Task<> LiveTest::Tags() {
  LIVE_ASSIGN(MoRef vm, co_await calls_->CreateVm(folder_, Spec("t"), pool_));
  RestSession rest(client_, *session_);
  TagService tags(rest);
  TagName name{.category = "live-category", .name = "live-" + RandomHex(4)};
  LIVE_ASSIGN(std::string id, co_await tags.Ensure(name));
  LIVE_OK(co_await tags.Attach(id, {vm}));
  TagService others(rest);
  LIVE_ASSIGN(std::string again, co_await others.Ensure(name));
  EXPECT_EQ(id, again);
  Tagger tagger(clock_, others, {.tick = absl::Milliseconds(10)});
  TaskGroup group(context_.get_executor());
  group.Spawn("tagger", tagger.Run());
  tagger.Want(vm, {name, {.category = "live-category-2", .name = "x"}});
  EXPECT_TRUE(co_await Eventually([&] { return tagger.pending() == 0; }));
  group.Cancel();
  (void)co_await group.Join();
  json::Object object;
  object["object_id"] = json::Object{{"id", vm.value}, {"type", vm.type}};
  LIVE_ASSIGN(json::Value attached, co_await rest.Call("POST", "/com/vmware/cis/tagging/tag-association",
                                                       "list-attached-tags", std::move(object)));
  LIVE_ASSIGN(std::string second, co_await others.Ensure({.category = "live-category-2", .name = "x"}));
  std::set<std::string> ids;
  EXPECT_TRUE(attached.is_array()) << json::Serialize(attached);
  if (attached.is_array()) {
    for (const json::Value& value : attached.get_array()) ids.emplace(json::AsString(value));
  }
  EXPECT_EQ(ids, (std::set<std::string>{id, second}));
  // A VM that is not there is refused by itself.
  MoRef none{.type = "VirtualMachine", .value = "vm-0"};
  LIVE_ASSIGN(std::vector<MoRef> refused, co_await others.Attach(second, {vm, none}));
  EXPECT_TRUE(refused.empty() || refused == std::vector<MoRef>{none}) << "the simulator takes anything";
  co_await rest.Logout();
}

TEST_F(LiveTest, Tags) { Live(&LiveTest::Tags); }

Task<> LiveTest::Import() {
  vim::VmSpec spec;
  spec.name = "imported";
  spec.datastore = Env("VCENTER_DATASTORE");
  spec.disks = {{.new_bytes = 1 << 20}};
  ImportRequest request{.pool = pool_, .folder = folder_, .spec = vim::BuildConfigSpec(spec).value()};
  auto source = [] {
    auto left = std::make_shared<int>(1);
    return http::BodySource([left] { return Piece(left, EmptyVmdk(2048)); });
  };
  request.disks = {{.size = 1024, .open = source}};
  ClientFactory none = [](http::Url, std::string) -> StatusOr<std::shared_ptr<http::Client>> {
    return absl::UnimplementedError("another host");
  };
  LIVE_ASSIGN(MoRef vm, co_await ImportVm(clock_, *calls_, none, request));
  EXPECT_EQ(vm.type, "VirtualMachine");
  EXPECT_TRUE(co_await Eventually([&] { return Record(vm) != nullptr; }));
  LIVE_OK(co_await calls_->MarkAsTemplate(vm));
  LIVE_OK(co_await session_->Invoke(vim::MarkAsVirtualMachine(vm, pool_, std::nullopt)));
}

TEST_F(LiveTest, Import) { Live(&LiveTest::Import); }

Task<> LiveTest::Outage() {
  std::string lab = "tools/lab ";
  std::string part = " " + Env("LAB_DIR") + " vcenter >&2";
  LIVE_ASSIGN(MoRef kept, co_await calls_->CreateVm(folder_, Spec("kept"), pool_));
  EXPECT_TRUE(co_await Eventually([&] { return Record(kept) != nullptr; }));
  EXPECT_EQ(std::system((lab + "stop" + part).c_str()), 0);
  EXPECT_TRUE(co_await Eventually([&] { return !inventory_->fresh(); }));
  EXPECT_TRUE(inventory_->synced());
  EXPECT_NE(Record(kept), nullptr);
  Status status = co_await calls_->PowerOn(kept);
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(session_->health().state, Health::State::kUnreachable);
  EXPECT_EQ(std::system((lab + "start" + part).c_str()), 0);
  Instant start = clock_.Now();
  for (int i = 0; i < 20 && !inventory_->fresh(); ++i) co_await clock_.Sleep(absl::Milliseconds(500));
  std::cout << "fresh again after " << absl::FormatDuration(clock_.Now() - start) << "\n";
  EXPECT_TRUE(inventory_->fresh());
  EXPECT_EQ(session_->health().state, Health::State::kOk);
  LIVE_OK(co_await calls_->PowerOn(kept));
  EXPECT_TRUE(co_await Eventually([&] { return Record(kept)->power == vim::PowerState::kOn; }));
}

// Run from the top of the source tree.
TEST_F(LiveTest, Outage) {
  if (Env("LAB_DIR").empty()) GTEST_SKIP() << "no LAB_DIR";
  Live(&LiveTest::Outage);
}

}  // namespace
}  // namespace vck::vsphere
