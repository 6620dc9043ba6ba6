#include "vsphere/inventory.h"

#include "async/task_group.h"
#include "fake_vcenter.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/loop.h"

namespace vck::vsphere {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kPodOption = "<key>vch.pod</key><value xsi:type=\"xsd:string\">v1 a=b</value>";

class InventoryTest : public ::testing::Test {
 protected:
  InventoryTest() : group_(loop_.executor()) {
    SessionOptions session;
    session.credentials = [] { return Credentials{.user = "u", .password = "secret"}; };
    session_ = std::make_unique<Session>(loop_.clock(), vcenter_, std::move(session));
    options_.folder = {.type = "Folder", .value = "group-v1"};
  }
  ~InventoryTest() override {
    group_.Cancel();
    (void)loop_.Run(group_.Join());
  }

  void Start() {
    inventory_ = std::make_unique<Inventory>(loop_.clock(), *session_, options_);
    inventory_->vms().Subscribe([this](const std::string& id) { told_.push_back(id); });
    group_.Spawn("inventory", inventory_->Run());
    loop_.RunReady();
  }
  // Starts with these VMs listed.
  void StartWith(const std::string& objects) {
    vcenter_->PushSet("1", objects);
    Start();
    told_.clear();
  }
  struct Awaited {
    bool done = false;
    StatusOr<TaskResult> result = absl::UnknownError("still waits");
  };
  std::shared_ptr<Awaited> Await(const std::string& id, absl::Duration limit = absl::Minutes(10)) {
    auto out = std::make_shared<Awaited>();
    group_.Spawn("await", AwaitInto(out, id, loop_.clock().Now() + limit));
    loop_.RunReady();
    return out;
  }
  Task<> AwaitInto(std::shared_ptr<Awaited> out, std::string id, Instant deadline) {
    out->result = co_await inventory_->AwaitTask({.type = "Task", .value = id}, deadline);
    out->done = true;
  }
  vim::VmRecord Get(const std::string& id) {
    auto record = inventory_->vms().Get(id);
    return record == nullptr ? vim::VmRecord() : *record;
  }

  testing::Loop loop_;
  std::shared_ptr<FakeVcenter> vcenter_ = std::make_shared<FakeVcenter>(loop_.clock());
  std::unique_ptr<Session> session_;
  InventoryOptions options_;
  std::unique_ptr<Inventory> inventory_;
  std::vector<std::string> told_;
  TaskGroup group_;
};

TEST_F(InventoryTest, SyncedOnlyWhenTheWholeListingIsIn) {
  vcenter_->PushSet("1", FakeVcenter::Vm("vm-1", "a"), /*truncated=*/true);
  Start();
  EXPECT_FALSE(inventory_->synced());
  EXPECT_EQ(inventory_->vms().size(), 0U);
  vcenter_->PushSet("2", FakeVcenter::Vm("vm-2", "b", "poweredOn"));
  loop_.RunReady();
  EXPECT_TRUE(inventory_->synced());
  EXPECT_TRUE(inventory_->fresh());
  EXPECT_EQ(Get("vm-1").name, "a");
  EXPECT_EQ(Get("vm-2").power, vim::PowerState::kOn);
  EXPECT_EQ(Get("vm-2").connection, vim::ConnectionState::kConnected);
  loop_.Advance(absl::Milliseconds(100));
  EXPECT_THAT(vcenter_->wait_versions, ElementsAre("", "1", "2"));
}

TEST_F(InventoryTest, AnEmptyFolderIsSynced) {
  StartWith(FakeVcenter::Object("enter", "Folder", "group-v1"));
  EXPECT_TRUE(inventory_->synced());
}

TEST_F(InventoryTest, SeveralUpdatesOfOneObjectAreOneChange) {
  StartWith(FakeVcenter::Vm("vm-1", "a", "poweredOn"));
  std::string key = "config.extraConfig[\"guestinfo.vch.guest\"]";
  vcenter_->PushSet(
      "2", absl::StrCat(
               FakeVcenter::Object("modify", "VirtualMachine", "vm-1",
                                   FakeVcenter::Change("runtime.powerState", "VirtualMachinePowerState", "poweredOff")),
               FakeVcenter::Object(
                   "modify", "VirtualMachine", "vm-1",
                   FakeVcenter::Change(key, "OptionValue", "<key>guestinfo.vch.guest</key><value>exit 3</value>"))));
  loop_.Advance(absl::Seconds(1));
  EXPECT_THAT(told_, ElementsAre("vm-1"));
  EXPECT_EQ(Get("vm-1").power, vim::PowerState::kOff);
  EXPECT_EQ(Get("vm-1").guest_key, "exit 3");
}

TEST_F(InventoryTest, ReadsKeysQuestionsAndTemplates) {
  StartWith(FakeVcenter::Object(
      "enter", "VirtualMachine", "vm-1",
      absl::StrCat(FakeVcenter::Change("config.extraConfig[\"vch.pod\"]", "OptionValue", kPodOption),
                   FakeVcenter::Change("config.template", "xsd:boolean", "true"),
                   FakeVcenter::Change("runtime.question", "VirtualMachineQuestionInfo",
                                       "<id>7</id><text>Moved or copied?</text>"),
                   "<changeSet><name>runtime.host</name><op>assign</op><val type=\"HostSystem\" "
                   "xsi:type=\"ManagedObjectReference\">host-3</val></changeSet>")));
  vim::VmRecord vm = Get("vm-1");
  EXPECT_EQ(vm.pod_key, "v1 a=b");
  EXPECT_TRUE(vm.is_template);
  EXPECT_EQ(vm.question_id, "7");
  EXPECT_EQ(vm.host.value, "host-3");
  vcenter_->PushSet("2", FakeVcenter::Object("modify", "VirtualMachine", "vm-1",
                                             "<changeSet><name>runtime.question</name><op>remove</op></changeSet>"));
  loop_.Advance(absl::Seconds(1));
  EXPECT_EQ(Get("vm-1").question_id, "");
}

TEST_F(InventoryTest, AtMostTenRoundsASecond) {
  StartWith(FakeVcenter::Vm("vm-1", "a"));
  for (int i = 0; i < 100; ++i) {
    vcenter_->PushSet(absl::StrCat(i + 2),
                      FakeVcenter::Object("modify", "VirtualMachine", "vm-1",
                                          FakeVcenter::Change("name", "xsd:string", absl::StrCat("n", i))));
  }
  loop_.Advance(absl::Seconds(1));
  EXPECT_LE(inventory_->stats().rounds, 12);
  EXPECT_GE(inventory_->stats().rounds, 9);
}

TEST_F(InventoryTest, ATruncatedSetIsFollowedAtOnce) {
  StartWith(FakeVcenter::Vm("vm-1", "a"));
  loop_.Advance(absl::Seconds(1));
  vcenter_->PushSet("2", FakeVcenter::Vm("vm-2", "b"), true);
  vcenter_->PushSet("3", FakeVcenter::Vm("vm-3", "c"));
  loop_.RunReady();
  EXPECT_TRUE(inventory_->vms().Contains("vm-3"));
}

TEST_F(InventoryTest, InvalidCollectorVersionListsAnewAndFindsWhatWasMissed) {
  StartWith(absl::StrCat(FakeVcenter::Vm("vm-1", "a"), FakeVcenter::Vm("vm-2", "b")));
  vcenter_->Push(FakeVcenter::Fault("InvalidCollectorVersion"));
  vcenter_->PushSet("1", absl::StrCat(FakeVcenter::Vm("vm-2", "b"), FakeVcenter::Vm("vm-3", "c")));
  loop_.Advance(absl::Milliseconds(200));
  EXPECT_FALSE(inventory_->vms().Contains("vm-1"));
  EXPECT_TRUE(inventory_->vms().Contains("vm-3"));
  EXPECT_THAT(told_, ::testing::UnorderedElementsAre("vm-1", "vm-3"));
  EXPECT_EQ(vcenter_->collectors, 2);
}

TEST_F(InventoryTest, AnOutageKeepsWhatIsKnownAndReplacesItAfterwards) {
  StartWith(absl::StrCat(FakeVcenter::Vm("vm-1", "a"), FakeVcenter::Vm("vm-2", "b")));
  int refreshed = 0;
  inventory_->OnFresh([&] {
    EXPECT_TRUE(inventory_->fresh());
    EXPECT_EQ(inventory_->vms().size(), 1U) << "after the store's change";
    ++refreshed;
  });
  for (int i = 0; i < 3; ++i) vcenter_->Push(FakeVcenter::Transport());
  loop_.Advance(absl::Milliseconds(200));
  EXPECT_TRUE(inventory_->synced());
  EXPECT_FALSE(inventory_->fresh());
  EXPECT_EQ(inventory_->vms().size(), 2U);
  loop_.Advance(absl::Seconds(10));
  vcenter_->PushSet("1", FakeVcenter::Vm("vm-2", "b"));
  loop_.Advance(absl::Seconds(60));
  EXPECT_TRUE(inventory_->fresh());
  EXPECT_EQ(inventory_->vms().size(), 1U);
  EXPECT_EQ(refreshed, 1);
}

TEST_F(InventoryTest, ALostUpdateIsFoundByTheSlowRelist) {
  options_.relist = absl::Minutes(10);
  StartWith(absl::StrCat(FakeVcenter::Vm("vm-1", "a"), FakeVcenter::Vm("vm-2", "b")));
  for (int i = 0; i < 3; ++i) {  // long polls that end without news
    loop_.Advance(absl::Minutes(3));
    vcenter_->Push("");
    loop_.RunReady();
  }
  loop_.Advance(absl::Minutes(1));
  vcenter_->Push("");
  loop_.Advance(absl::Seconds(1));
  EXPECT_EQ(vcenter_->Count("DestroyPropertyCollector"), 1);
  EXPECT_TRUE(inventory_->fresh());
  vcenter_->PushSet("1", FakeVcenter::Vm("vm-2", "b"));
  loop_.Advance(absl::Seconds(1));
  EXPECT_EQ(inventory_->vms().size(), 1U);
}

TEST_F(InventoryTest, ALostSessionIsRenewedWithANewCollector) {
  StartWith(FakeVcenter::Vm("vm-1", "a"));
  vcenter_->EndSession();
  vcenter_->Push(FakeVcenter::Fault("NotAuthenticated"));
  vcenter_->Push(FakeVcenter::Fault("ManagedObjectNotFound"));  // the old collector, in the new session
  vcenter_->PushSet("1", FakeVcenter::Vm("vm-1", "b"));
  loop_.Advance(absl::Seconds(5));
  EXPECT_EQ(Get("vm-1").name, "b");
  EXPECT_EQ(session_->epoch(), 2U);
}

TEST_F(InventoryTest, AnotherCallersReloginRenewsTheCollector) {
  StartWith(FakeVcenter::Vm("vm-1", "a"));
  vcenter_->EndSession();  // the poll hangs on
  ASSERT_TRUE(loop_.Run(session_->Invoke(vim::CurrentTime({.type = "ServiceInstance", .value = "x"}))).ok());
  vcenter_->PushSet("1", FakeVcenter::Vm("vm-1", "b"));
  loop_.Advance(absl::Seconds(1));
  EXPECT_EQ(Get("vm-1").name, "b");
}

TEST_F(InventoryTest, FallsBackToTheWholeArrayWhereKeyedPathsAreRefused) {
  std::vector<std::string> filters;
  vcenter_->On("CreateFilter", [&filters](const std::string& body) {
    filters.push_back(body);
    return absl::StrContains(body, "vch.pod") ? FakeVcenter::Fault("InvalidProperty")
                                              : FakeVcenter::Ref("PropertyFilter", "f");
  });
  StartWith(FakeVcenter::Object(
      "enter", "VirtualMachine", "vm-1",
      FakeVcenter::Change("config.extraConfig", "ArrayOfOptionValue",
                          absl::StrCat("<OptionValue><key>x</key><value>y</value></OptionValue><OptionValue>",
                                       kPodOption, "</OptionValue>"))));
  EXPECT_EQ(Get("vm-1").pod_key, "v1 a=b");
  EXPECT_THAT(filters[1], HasSubstr("<pathSet>config.extraConfig</pathSet>"));
}

TEST_F(InventoryTest, FallsBackWhenAMissingSetRefusesKeyedPaths) {
  vcenter_->PushSet("1", FakeVcenter::Object("enter", "VirtualMachine", "vm-1",
                                             "<missingSet><path>config.extraConfig[\"vch.pod\"]</path><fault><fault "
                                             "xsi:type=\"InvalidProperty\"/></fault></missingSet>"));
  vcenter_->PushSet(
      "1", FakeVcenter::Object("enter", "VirtualMachine", "vm-1",
                               FakeVcenter::Change("config.extraConfig", "ArrayOfOptionValue",
                                                   absl::StrCat("<OptionValue>", kPodOption, "</OptionValue>"))));
  Start();
  loop_.Advance(absl::Seconds(1));
  EXPECT_EQ(Get("vm-1").pod_key, "v1 a=b");
}

// ---- tasks ----

TEST_F(InventoryTest, TasksEndByUpdates) {
  StartWith("");
  auto good = Await("task-1");
  auto bad = Await("task-2");
  EXPECT_EQ(vcenter_->Count("ModifyListView"), 1);
  vcenter_->PushSet(
      "2", absl::StrCat(
               FakeVcenter::TaskState("task-1", "running"),
               FakeVcenter::TaskState("task-2", "error",
                                      FakeVcenter::Change("info.error", "LocalizedMethodFault",
                                                          "<fault xsi:type=\"DuplicateName\"><name>n</name><object "
                                                          "type=\"VirtualMachine\">vm-9</object></fault>"
                                                          "<localizedMessage>The name exists.</localizedMessage>"))));
  loop_.Advance(absl::Seconds(1));
  EXPECT_FALSE(good->done);
  ASSERT_TRUE(bad->done);
  EXPECT_EQ(vim::FaultType(bad->result.status()), "DuplicateName");
  EXPECT_EQ(vim::FaultObject(bad->result.status()).value, "vm-9");
  vcenter_->PushSet("3", FakeVcenter::TaskState("task-1", "success",
                                                "<changeSet><name>info.result</name><op>assign</op><val "
                                                "type=\"VirtualMachine\" xsi:type=\"ManagedObjectReference\">vm-1</val>"
                                                "</changeSet>"));
  loop_.Advance(absl::Seconds(1));
  ASSERT_TRUE(good->done);
  ASSERT_TRUE(good->result.ok()) << good->result.status();
  EXPECT_EQ(good->result->ref().value, "vm-1");
}

TEST_F(InventoryTest, TheTaskListChangesOnceInATick) {
  StartWith("");
  std::vector<std::shared_ptr<Awaited>> all;
  for (int i = 0; i < 50; ++i) {
    all.push_back(Await(absl::StrCat("task-", i)));
    loop_.Advance(absl::Milliseconds(10));
  }
  EXPECT_LE(vcenter_->Count("ModifyListView"), 7);
}

TEST_F(InventoryTest, ATaskThatEndedBeforeItWasListedIsSeen) {
  StartWith("");
  auto task = Await("task-1");
  vcenter_->PushSet("2", FakeVcenter::Object("enter", "Task", "task-1",
                                             FakeVcenter::Change("info.state", "TaskInfoState", "success")));
  loop_.Advance(absl::Seconds(1));
  ASSERT_TRUE(task->done);
  EXPECT_TRUE(task->result.ok());
}

TEST_F(InventoryTest, AVanishedTaskSaysReadBack) {
  StartWith("");
  vcenter_->On("ModifyListView", [](const std::string&) { return FakeVcenter::Ref("Task", "task-1"); });
  auto unresolved = Await("task-1");
  loop_.Advance(absl::Seconds(1));
  ASSERT_TRUE(unresolved->done);
  EXPECT_EQ(vim::RetryClassOf(unresolved->result.status()), vim::RetryClass::kReadBack);
  vcenter_->On("ModifyListView", [](const std::string&) { return std::string(); });
  auto left = Await("task-2");
  vcenter_->PushSet("2", FakeVcenter::Object("leave", "Task", "task-2"));
  loop_.Advance(absl::Seconds(1));
  ASSERT_TRUE(left->done);
  EXPECT_TRUE(absl::IsUnknown(left->result.status()));
}

TEST_F(InventoryTest, ATaskHasADeadline) {
  StartWith("");
  auto task = Await("task-1", absl::Seconds(30));
  loop_.Advance(absl::Seconds(29));
  EXPECT_FALSE(task->done);
  loop_.Advance(absl::Seconds(2));
  ASSERT_TRUE(task->done);
  EXPECT_TRUE(absl::IsDeadlineExceeded(task->result.status()));
  EXPECT_EQ(vim::RetryClassOf(task->result.status()), vim::RetryClass::kReadBack);
}

TEST_F(InventoryTest, TasksSurviveALostConnection) {
  StartWith("");
  auto task = Await("task-1");
  vcenter_->Push(FakeVcenter::Transport());
  vcenter_->PushSet("1", "");
  loop_.Advance(absl::Seconds(2));
  EXPECT_THAT(vcenter_->bodies.back(), ::testing::Not(HasSubstr("task-9")));
  EXPECT_EQ(vcenter_->Count("ModifyListView"), 2);
  vcenter_->PushSet("2", FakeVcenter::TaskState("task-1", "success"));
  loop_.Advance(absl::Seconds(2));
  EXPECT_TRUE(task->done);
}

TEST_F(InventoryTest, FollowsCapacity) {
  options_.compute_resource = {.type = "ClusterComputeResource", .value = "domain-c1"};
  options_.resource_pool = {.type = "ResourcePool", .value = "resgroup-1"};
  options_.datastores = {{.type = "Datastore", .value = "datastore-1"}};
  int changes = 0;
  vcenter_->PushSet(
      "1",
      absl::StrCat(FakeVcenter::Object(
                       "enter", "ClusterComputeResource", "domain-c1",
                       absl::StrCat(FakeVcenter::Change("summary.effectiveCpu", "xsd:int", "9000"),
                                    FakeVcenter::Change("summary.effectiveMemory", "xsd:long", "8192"),
                                    FakeVcenter::Change("configuration.drsConfig.enabled", "xsd:boolean", "true"))),
                   FakeVcenter::Object("enter", "ResourcePool", "resgroup-1",
                                       FakeVcenter::Change("config.cpuAllocation.limit", "xsd:long", "4000")),
                   FakeVcenter::Object("enter", "Datastore", "datastore-1",
                                       FakeVcenter::Change("summary.freeSpace", "xsd:long", "123456789012"))));
  inventory_ = std::make_unique<Inventory>(loop_.clock(), *session_, options_);
  inventory_->OnCapacity([&changes](const Capacity&) { ++changes; });
  group_.Spawn("inventory", inventory_->Run());
  loop_.RunReady();
  EXPECT_EQ(changes, 1);
  EXPECT_TRUE(inventory_->capacity().drs_enabled);
  EXPECT_EQ(inventory_->capacity().UsableCpuMhz(), 4000);
  EXPECT_EQ(inventory_->capacity().UsableMemoryMb(), 8192);
  EXPECT_EQ(inventory_->capacity().datastores.at("datastore-1").free_bytes, 123456789012);
}

}  // namespace
}  // namespace vck::vsphere
