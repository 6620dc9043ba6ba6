#include "podvm/plan.h"

#include <gtest/gtest.h>

#include "world.h"

namespace vck::podvm {
namespace {

using vimtypes::ConnectionState;
using vimtypes::PowerState;

constexpr std::string_view kNever = R"({"restartPolicy":"Never","containers":[{"name":"c","image":"img"}]})";

// A pod that runs, as the API knows.
World Running(std::string_view spec = R"({"restartPolicy":"Always","containers":[{"name":"c","image":"img"}]})") {
  World w(spec);
  w.VmOn();
  w.Running("c", "r0");
  w.Write();
  w.pushed = 1;
  return w;
}

TEST(Plan, UpInTwoTasks) {
  World w;
  EXPECT_EQ(w.Steps(), "CreateVm ");
  w.facts.create_in_flight = true;
  EXPECT_EQ(w.Steps(), "(Creating)");
  w.facts.create_in_flight = false;
  w.VmExists(PowerState::kOff);
  EXPECT_EQ(w.Steps(), "PowerOn ");
  w.facts.task_in_flight = true;
  EXPECT_EQ(w.Steps(), "(TaskInFlight)");
  w.facts.task_in_flight = false;
  w.VmExists(PowerState::kOn);
  EXPECT_EQ(w.Steps(), "(GuestBooting)");
  w.VmOn();
  EXPECT_EQ(w.Steps(), "PushSpec ");
  EXPECT_EQ(w.MakePlan().link, Plan::Link::kConnect);
  w.pushed = 1;
  EXPECT_EQ(w.Steps(), "");
}

TEST(Plan, AGuestThatNeverAnnouncesItselfIsToldOf) {
  World w;
  w.VmExists(PowerState::kOn);
  w.booting_since = w.now;
  Plan plan = w.MakePlan();
  EXPECT_EQ(plan.warning, "");
  EXPECT_EQ(plan.requeue_at, w.now + absl::Minutes(3)) << "nothing else would make anybody look again";
  w.now += absl::Minutes(3);
  plan = w.MakePlan();
  EXPECT_EQ(plan.wait, "GuestBooting");
  EXPECT_EQ(plan.warning_reason, "GuestNotAnnounced");
  for (const char* hint : {"n-p-abc", "3m", "console", "--bootstrap-iso"}) {
    EXPECT_NE(plan.warning.find(hint), std::string::npos) << plan.warning;
  }
  w.VmOn();
  EXPECT_EQ(w.MakePlan().warning, "");
}

TEST(Plan, DownInOneTaskWhenTheGuestStops) {
  World w = Running();
  w.Delete();
  EXPECT_EQ(w.Steps(), "AskStop (GuestStopping)");
  EXPECT_EQ(w.MakePlan().actions[0].grace, absl::Seconds(30));
  w.guest.stopping = w.guest.finished = true;
  w.Exited("c", 0);
  EXPECT_EQ(w.Steps(), "AskStop (GuestHalting)");
  w.VmOff();
  EXPECT_EQ(w.Steps(), "(FinalStatus)");
  w.Write();
  EXPECT_EQ(w.phase(), "Succeeded");
  EXPECT_EQ(w.Steps(), "Destroy ");
  w.VmGone();
  EXPECT_EQ(w.Steps(), "gone");
}

TEST(Plan, DownByForceInTwo) {
  World w = Running();
  w.Delete(5);
  w.stop_since = w.now;
  w.now += absl::Seconds(19);
  EXPECT_EQ(w.Steps(), "AskStop (GuestStopping)");
  EXPECT_EQ(*w.MakePlan().requeue_at, w.now + absl::Seconds(1));
  w.now += absl::Seconds(1);
  EXPECT_EQ(w.Steps(), "PowerOff ");
  w.VmOff();
  w.Write();
  EXPECT_EQ(w.Steps(), "Destroy ");
}

TEST(Plan, GraceZeroIsByForceAtOnce) {
  World w = Running();
  w.Delete(0);
  EXPECT_EQ(w.Steps(), "PowerOff ");
}

TEST(Plan, DeletedBeforeAnythingRan) {
  World w;
  w.Delete();
  EXPECT_EQ(w.Steps(), "gone");
  w.facts.create_in_flight = true;
  EXPECT_EQ(w.Steps(), "(Creating)");
  w.facts.create_in_flight = false;
  w.VmExists(PowerState::kOn);
  EXPECT_EQ(w.Steps(), "PowerOff ");
  w.VmExists(PowerState::kOff);
  EXPECT_EQ(w.Steps(), "(FinalStatus)");
  w.Write();
  EXPECT_EQ(w.Steps(), "Destroy ");
}

TEST(Plan, VanishedObjectIsStoppedAndRemovedWithoutStatus) {
  World w = Running();
  EXPECT_EQ(w.Steps(false), "AskStop (GuestStopping)");
  EXPECT_EQ(w.MakePlan(false).actions[0].grace, PlanOptions().orphan_grace);
  w.VmOff();
  EXPECT_EQ(w.Steps(false), "Destroy ");
  w.VmGone();
  EXPECT_EQ(w.Steps(false), "gone");
}

TEST(Plan, AbsenceNeedsSyncedStores) {
  World w = Running();
  kubeapi::PodView view(w.pod);
  PlanInputs in{.pod = nullptr, .pods_synced = false, .vm = w.Vm(), .guest = w.Guest(), .now = w.now};
  EXPECT_EQ(PlanVm(in).wait, "PodsNotSynced");
  EXPECT_TRUE(PlanVm(in).actions.empty());
  w.facts.synced = false;
  w.has_vm = false;
  EXPECT_EQ(w.Steps(), "(InventoryNotSynced)");
  w.Delete();
  EXPECT_EQ(w.Steps(), "AskStop (InventoryNotSynced)");  // the guest answers though vCenter does not
}

TEST(Plan, UnreachableVmIsLeftAlone) {
  for (ConnectionState state : {ConnectionState::kDisconnected, ConnectionState::kInaccessible,
                                ConnectionState::kOrphaned, ConnectionState::kInvalid, ConnectionState::kUnknown}) {
    World w = Running();
    w.record.connection = state;
    w.record.power = PowerState::kOff;
    w.Unlink();
    EXPECT_EQ(w.Steps(), "(VmUnreachable)");
    EXPECT_FALSE(w.MakePlan().gone);
    EXPECT_FALSE(w.MakePlan().warning.empty());
    EXPECT_EQ(w.Steps(false), "(VmUnreachable)");
    w.Delete();
    EXPECT_EQ(w.Steps(), "(VmUnreachable)");
    EXPECT_FALSE(Sweepable(w.record));
  }
}

TEST(Plan, PoweredOffByHand) {
  World w = Running();
  w.VmOff();
  EXPECT_EQ(w.Steps(), "PowerOn ");
  World never = Running(kNever);
  never.VmOff();
  EXPECT_EQ(never.Steps(), "(VmStopped)");
  never.Write();
  EXPECT_EQ(never.phase(), "Failed");
  EXPECT_EQ(never.Steps(), "");
  World fresh(kNever);  // created, and never powered on
  fresh.VmExists(PowerState::kOff);
  EXPECT_EQ(fresh.Steps(), "PowerOn ");
}

TEST(Plan, PowerOnBacksOff) {
  World w = Running();
  w.VmOff();
  kubeapi::PodView view(w.pod);
  PlanInputs in{.pod = &view,
                .pods_synced = true,
                .may_create = true,
                .vm = w.Vm(),
                .power_on_not_before = w.now + absl::Seconds(10),
                .now = w.now};
  Plan plan = PlanVm(in);
  EXPECT_TRUE(plan.actions.empty());
  EXPECT_EQ(plan.requeue_at, w.now + absl::Seconds(10));
}

TEST(Plan, DestroyedByHand) {
  World w = Running();
  w.VmGone();
  EXPECT_EQ(w.Steps(), "CreateVm ");
  World never = Running(kNever);
  never.VmGone();
  EXPECT_EQ(never.Steps(), "(VmRemoved)");
  never.Write();
  EXPECT_EQ(never.phase(), "Failed");
  EXPECT_EQ(never.Steps(), "");
}

TEST(Plan, NeverPodIsNotStartedByAReboot) {
  World w = Running(kNever);
  w.Reboot("boot2");
  w.Unlink();
  EXPECT_EQ(w.Steps(), "(VmRestarted)");
  EXPECT_EQ(w.MakePlan().link, Plan::Link::kDisconnect);
  w.Write();
  EXPECT_EQ(w.phase(), "Failed");
  EXPECT_EQ(w.Steps(), "PowerOff ");
}

TEST(Plan, FinishedPodIsPoweredOffAfterItsStatusAndLogsAreKept) {
  World w = Running(kNever);
  w.guest.finished = true;
  w.Exited("c", 0);
  EXPECT_EQ(w.Steps(), "(FinalStatus)");
  w.Write();
  EXPECT_EQ(w.phase(), "Succeeded");
  EXPECT_EQ(w.Steps(), "SaveLogs (SavingLogs)");
  w.logs_saved = true;
  w.streaming = true;
  EXPECT_EQ(w.Steps(), "(LogsAreRead)");
  w.streaming = false;
  EXPECT_EQ(w.Steps(), "HaltGuest (GuestHalting)");
  w.VmOff();
  EXPECT_EQ(w.Steps(), "");
  w.VmGone();
  EXPECT_EQ(w.Steps(), "");  // nor created again
  w.ForgetAll();
  EXPECT_EQ(w.Steps(), "");
}

TEST(Plan, FinishedGuestThatCannotBeAskedIsPoweredOffInTheEnd) {
  World w = Running(kNever);
  w.guest.finished = true;
  w.Exited("c", 0);
  w.Write();
  w.final_since = w.now;
  w.Unlink();
  EXPECT_EQ(w.Steps(), "(SavingLogs)");  // it may come back
  EXPECT_EQ(w.MakePlan().link, Plan::Link::kConnect);
  w.ForgetAll();  // a new kubelet finds it on
  EXPECT_EQ(w.MakePlan().link, Plan::Link::kConnect);
  EXPECT_EQ(w.Steps(), "(SavingLogs)");
  w.now += PlanOptions().save_slack;
  EXPECT_EQ(w.Steps(), "PowerOff ");
  // Saved, and it does not power itself off.
  w.now = *w.final_since;
  w.logs_saved = true;
  w.Linked();
  EXPECT_EQ(w.Steps(), "HaltGuest (GuestHalting)");
  w.now += PlanOptions().halt_slack;
  EXPECT_EQ(w.Steps(), "PowerOff ");
}

TEST(Plan, EvictedPodIsStoppedGracefully) {
  World w = Running();
  w.pod.as_object()["status"].as_object()["phase"] = "Failed";
  EXPECT_EQ(w.Steps(), "AskStop (GuestStopping)");
  EXPECT_TRUE(w.MakePlan().actions[0].stay_on) << "its logs are to be saved";
  w.Exited("c", 0);
  w.guest.stopping = w.guest.finished = true;
  w.Write();
  w.Linked();
  EXPECT_EQ(w.Steps(), "SaveLogs (SavingLogs)");
  w.logs_saved = true;
  EXPECT_EQ(w.Steps(), "HaltGuest (GuestHalting)");
  w.Delete();
  EXPECT_EQ(w.Steps(), "AskStop (GuestHalting)");
  EXPECT_FALSE(w.MakePlan().actions[0].stay_on);
}

TEST(Plan, AdoptsByKeyAndRefusesByName) {
  World w;
  vimtypes::VmRecord other = w.record;
  other.power = PowerState::kOn;
  w.facts.vms = {{.vm = &other, .ours = false, .named = true}};
  EXPECT_EQ(w.Steps(), "(NameConflict)");
  EXPECT_EQ(w.MakePlan().warning_reason, "NameConflict");
  EXPECT_EQ(w.Steps(false), "gone");  // it is not ours to remove
  other.incomplete = true;
  EXPECT_EQ(w.Steps(), "(VmIncomplete)");
  EXPECT_EQ(w.Steps(false), "(VmIncomplete)");
  other.incomplete = false;
  w.facts.vms = {{.vm = &other, .ours = true, .named = false}};  // renamed by somebody
  EXPECT_EQ(w.Steps(), "(GuestBooting)");
  EXPECT_EQ(w.MakePlan().vm.value, "vm-1");
}

TEST(Plan, DuplicatesAreRemovedWhileAllAreReachable) {
  World w = Running();
  vimtypes::VmRecord copy = w.record;
  copy.vm.value = "vm-2";
  copy.name = "copy";
  w.facts.vms = {{.vm = &copy, .ours = true, .named = false}};
  EXPECT_EQ(w.Steps(), "PowerOff Destroy ");
  for (const Action& action : w.MakePlan().actions) EXPECT_EQ(action.vm.value, "vm-2");
  EXPECT_EQ(w.MakePlan().vm.value, "vm-1");
  w.record.connection = ConnectionState::kDisconnected;
  EXPECT_EQ(w.Steps(), "(VmUnreachable)");
}

TEST(Plan, QuestionsAreAnsweredWhereTheAnswerIsKnown) {
  World w = Running();
  w.record.question_id = "q1";
  w.record.question_text = "msg.disk.duplicateUUID: ...";
  EXPECT_EQ(w.Steps(), "AnswerQuestion (VmQuestion)");
  w.record.question_text = "msg.other: ...";
  EXPECT_EQ(w.Steps(), "(VmQuestion)");
  EXPECT_EQ(w.MakePlan().warning_reason, "VmQuestion");
}

TEST(Plan, SuspendedVmIsResumedOrPoweredOff) {
  World w = Running(kNever);
  w.VmExists(PowerState::kSuspended, w.Announcement());
  EXPECT_EQ(w.Steps(), "PowerOn ");
  w.Delete();
  EXPECT_EQ(w.Steps(), "PowerOff ");
}

TEST(Plan, DisksAreAddedWhileTheGuestIsUpAfterItHasItsSpec) {
  World w;
  w.images_to_add = true;
  EXPECT_EQ(w.Steps(), "CreateVm ");
  w.VmExists(PowerState::kOn);
  EXPECT_EQ(w.Steps(), "(GuestBooting)");
  w.VmOn();
  EXPECT_EQ(w.Steps(), "PushSpec AddImages ");
  w.pushed = 1;
  EXPECT_EQ(w.Steps(), "AddImages ");
  kubeapi::PodView view(w.pod);
  PlanInputs in{
      .pod = &view, .pods_synced = true, .vm = w.Vm(), .guest = w.Guest(), .images_to_add = true, .now = w.now};
  EXPECT_EQ(PlanVm(in).actions.size(), 1u) << "also while its spec can't be resolved";
  EXPECT_EQ(PlanVm(in).wait, "SpecNotReady");
  w.guest.finished = true;
  w.Exited("c", 0);
  EXPECT_EQ(w.Steps(), "(FinalStatus)");
}

TEST(Plan, NotCreatedWithoutLeave) {
  World w;
  kubeapi::PodView view(w.pod);
  PlanInputs in{.pod = &view,
                .pods_synced = true,
                .may_create = false,
                .may_not_reason = "NoAddressRange",
                .vm = w.Vm(),
                .now = w.now};
  EXPECT_EQ(PlanVm(in).wait, "NoAddressRange");
  in.may_create = true;
  in.address_available = false;
  EXPECT_EQ(PlanVm(in).wait, "NoAddress");
  EXPECT_TRUE(PlanVm(in).actions.empty());
}

TEST(Sight, GoesByTheKey) {
  vimtypes::VmRecord vm{.vm = {"VirtualMachine", "vm-1"}, .name = "n-p-abc", .pod_key = "v1 vch=v uid=u ns=n name=p"};
  EXPECT_TRUE(Sight(vm, "v", "u", "x").ours);
  EXPECT_FALSE(Sight(vm, "v", "u", "x").named);
  EXPECT_FALSE(Sight(vm, "other", "u", "n-p-abc").ours);
  EXPECT_TRUE(Sight(vm, "other", "u", "n-p-abc").named);
  vm.is_template = true;
  EXPECT_FALSE(Sight(vm, "v", "u", "x").ours);
}

}  // namespace
}  // namespace vck::podvm
