#include "vsphere/calls.h"

#include "async/task_group.h"
#include "async/timeout.h"
#include "fake_vcenter.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/loop.h"

namespace vck::vsphere {
namespace {

using ::testing::HasSubstr;

const MoRef kDatacenter{.type = "Datacenter", .value = "dc-1"};

class CallsTest : public ::testing::Test {
 protected:
  CallsTest() : group_(loop_.executor()) {
    SessionOptions session;
    session.credentials = [] { return Credentials{.user = "u", .password = "secret"}; };
    session_ = std::make_unique<Session>(loop_.clock(), vcenter_, std::move(session));
    InventoryOptions inventory;
    inventory.folder = {.type = "Folder", .value = "group-v1"};
    inventory.compute_resource = {.type = "ClusterComputeResource", .value = "domain-c1"};
    inventory_ = std::make_unique<Inventory>(loop_.clock(), *session_, inventory);
    options_.concurrency = 2;
    calls_ = std::make_unique<Calls>(loop_.executor(), loop_.clock(), *session_, *inventory_, options_);
    for (const char* method : {"CreateVM_Task", "PowerOnVM_Task", "PowerOffVM_Task", "Destroy_Task"}) {
      vcenter_->On(method, [this, method](const std::string&) {
        started_.push_back(method);
        return FakeVcenter::Ref("Task", absl::StrCat("task-", ++tasks_));
      });
    }
    group_.Spawn("inventory", inventory_->Run());
  }
  ~CallsTest() override {
    loop_.Run(calls_->Drain(loop_.clock().Now()));
    group_.Cancel();
    (void)loop_.Run(group_.Join());
  }

  void Drs(bool enabled) {
    vcenter_->PushSet("1", FakeVcenter::Object("enter", "ClusterComputeResource", "domain-c1",
                                               FakeVcenter::Change("configuration.drsConfig.enabled", "xsd:boolean",
                                                                   enabled ? "true" : "false")));
    loop_.RunReady();
  }
  void End(int task, std::string_view state, std::string_view more = "") {
    vcenter_->PushSet("2", FakeVcenter::TaskState(absl::StrCat("task-", task), state, more));
    loop_.Advance(absl::Seconds(1));
  }
  static std::string Error(std::string_view type, std::string_view fields) {
    return FakeVcenter::Change("info.error", "LocalizedMethodFault",
                               absl::StrCat("<fault xsi:type=\"", type, "\">", fields, "</fault>"));
  }
  struct Outcome {
    bool done = false;
    Status status;
  };
  std::shared_ptr<Outcome> Spawn(Task<Status> call) {
    auto outcome = std::make_shared<Outcome>();
    group_.Spawn("call", Into(outcome, std::move(call)));
    loop_.RunReady();
    return outcome;
  }
  static Task<> Into(std::shared_ptr<Outcome> outcome, Task<Status> call) {
    outcome->status = co_await std::move(call);
    outcome->done = true;
  }
  static MoRef Vm(int n) { return {.type = "VirtualMachine", .value = absl::StrCat("vm-", n)}; }

  testing::Loop loop_;
  std::shared_ptr<FakeVcenter> vcenter_ = std::make_shared<FakeVcenter>(loop_.clock());
  std::unique_ptr<Session> session_;
  std::unique_ptr<Inventory> inventory_;
  CallsOptions options_;
  std::unique_ptr<Calls> calls_;
  std::vector<std::string> started_;
  int tasks_ = 0;
  TaskGroup group_;
};

TEST_F(CallsTest, DestroyOfWhatIsGoneIsDone) {
  Drs(false);
  auto gone = Spawn(calls_->Destroy(Vm(1)));
  End(1, "error", Error("ManagedObjectNotFound", "<obj type=\"VirtualMachine\">vm-1</obj>"));
  EXPECT_TRUE(gone->done && gone->status.ok()) << gone->status;
  auto other = Spawn(calls_->Destroy(Vm(1)));
  End(2, "error", Error("ManagedObjectNotFound", "<obj type=\"HostSystem\">host-1</obj>"));
  EXPECT_TRUE(other->done && !other->status.ok());
}

TEST_F(CallsTest, PowerOfWhatIsSoAlreadyIsDone) {
  Drs(false);
  auto on = Spawn(calls_->PowerOn(Vm(1)));
  End(1, "error",
      Error("InvalidPowerState", "<requestedState>poweredOn</requestedState><existingState>poweredOn</existingState>"));
  EXPECT_TRUE(on->done && on->status.ok()) << on->status;
  auto off = Spawn(calls_->PowerOff(Vm(1)));
  End(2, "error",
      Error("InvalidPowerState",
            "<requestedState>poweredOff</requestedState><existingState>suspended</existingState>"));
  EXPECT_TRUE(off->done && vim::IsFault(off->status, "InvalidState")) << off->status;
}

TEST_F(CallsTest, DeletesGoFirst) {
  Drs(false);
  std::vector<std::shared_ptr<Outcome>> all;
  for (int i = 1; i <= 4; ++i) all.push_back(Spawn(calls_->PowerOn(Vm(i))));
  all.push_back(Spawn(calls_->Destroy(Vm(9))));
  EXPECT_EQ(started_.size(), 2U);
  End(1, "success");
  ASSERT_EQ(started_.size(), 3U);
  EXPECT_EQ(started_[2], "Destroy_Task");
  for (int i = 2; i <= 5; ++i) End(i, "success");
  for (const auto& outcome : all) EXPECT_TRUE(outcome->done);
}

TEST_F(CallsTest, ACancelledCallerLeavesTheChangeOnItsWay) {
  Drs(false);
  {
    TaskGroup caller(loop_.executor());
    caller.Spawn("caller", calls_->Destroy(Vm(1)));
    loop_.RunReady();
    caller.Cancel();
    EXPECT_TRUE(loop_.Run(caller.Join()).ok());
  }
  EXPECT_EQ(calls_->in_flight(), 1U);
  End(1, "success");
  EXPECT_EQ(calls_->in_flight(), 0U);
}

TEST_F(CallsTest, DrainWaitsAndThenGivesUp) {
  Drs(false);
  auto stuck = Spawn(calls_->Destroy(Vm(1)));
  Instant start = loop_.clock().Now();
  loop_.Run(calls_->Drain(start + absl::Seconds(20)));
  EXPECT_EQ(loop_.clock().Now() - start, absl::Seconds(20));
  loop_.RunReady();
  EXPECT_TRUE(stuck->done);
  EXPECT_EQ(vim::RetryClassOf(stuck->status), vim::RetryClass::kReadBack);
  auto late = Spawn(calls_->Destroy(Vm(2)));
  EXPECT_TRUE(absl::IsUnavailable(late->status));
}

TEST_F(CallsTest, PowerOnsOfOneTickShareATaskUnderDrs) {
  Drs(true);
  std::string body;
  vcenter_->On("PowerOnMultiVM_Task", [&](const std::string& request) {
    body = request;
    return FakeVcenter::Ref("Task", "task-1");
  });
  auto tried = Spawn(calls_->PowerOn(Vm(1), kDatacenter));
  auto refused = Spawn(calls_->PowerOn(Vm(2), kDatacenter));
  auto already = Spawn(calls_->PowerOn(Vm(3), kDatacenter));
  auto forgotten = Spawn(calls_->PowerOn(Vm(4), kDatacenter));
  loop_.Advance(absl::Seconds(1));
  EXPECT_EQ(vcenter_->Count("PowerOnMultiVM_Task"), 1);
  EXPECT_THAT(body, HasSubstr("<vm type=\"VirtualMachine\">vm-1</vm><vm type=\"VirtualMachine\">vm-2</vm>"));
  End(1, "success",
      FakeVcenter::Change(
          "info.result", "ClusterPowerOnVmResult",
          "<attempted><vm type=\"VirtualMachine\">vm-1</vm><task type=\"Task\">task-7</task></attempted>"
          "<notAttempted><vm type=\"VirtualMachine\">vm-2</vm><fault><fault "
          "xsi:type=\"InsufficientCpuResourcesFault\"/><localizedMessage>No CPU.</localizedMessage></fault>"
          "</notAttempted><notAttempted><vm type=\"VirtualMachine\">vm-3</vm><fault><fault "
          "xsi:type=\"InvalidPowerState\"><existingState>poweredOn</existingState></fault></fault></notAttempted>"));
  EXPECT_FALSE(tried->done);
  ASSERT_TRUE(refused->done && already->done && forgotten->done);
  EXPECT_TRUE(vim::IsFault(refused->status, "InsufficientResourcesFault")) << refused->status;
  EXPECT_EQ(vim::RetryClassOf(refused->status), vim::RetryClass::kLongBackoff);
  EXPECT_TRUE(already->status.ok()) << already->status;
  EXPECT_TRUE(absl::IsUnavailable(forgotten->status));
  End(7, "success");
  EXPECT_TRUE(tried->done && tried->status.ok());
}

TEST_F(CallsTest, RetrieveFollowsPages) {
  Drs(false);
  vcenter_->On("RetrievePropertiesEx", [](const std::string&) {
    return std::string(
        "<returnval><token>t1</token><objects><obj type=\"VirtualMachine\">vm-1</obj><propSet><name>name</name>"
        "<val xsi:type=\"xsd:string\">a</val></propSet></objects></returnval>");
  });
  vcenter_->On("ContinueRetrievePropertiesEx", [](const std::string&) {
    return std::string("<returnval><objects><obj type=\"VirtualMachine\">vm-2</obj></objects></returnval>");
  });
  auto objects = loop_.Run(calls_->Retrieve({Vm(1), Vm(2)}, {"name"}), absl::Seconds(1));
  ASSERT_TRUE(objects.ok()) << objects.status();
  ASSERT_EQ(objects->size(), 2U);
  EXPECT_EQ(std::get<std::string>((*objects)[0].changes[0].value), "a");
}

TEST_F(CallsTest, RetrieveLogsInAgainWhenAMissingSetSaysSo) {
  Drs(false);
  int calls = 0;
  vcenter_->On("RetrievePropertiesEx", [&calls](const std::string&) {
    return absl::StrCat("<returnval><objects><obj type=\"VirtualMachine\">vm-1</obj>",
                        ++calls == 1 ? "<missingSet><path>name</path><fault><fault xsi:type=\"NotAuthenticated\"/>"
                                       "<localizedMessage/></fault></missingSet>"
                                     : "",
                        "</objects></returnval>");
  });
  auto objects = loop_.Run(calls_->Retrieve({Vm(1)}, {"name"}), absl::Seconds(1));
  EXPECT_TRUE(objects.ok()) << objects.status();
  EXPECT_EQ(session_->epoch(), 2U);
}

}  // namespace
}  // namespace vck::vsphere
