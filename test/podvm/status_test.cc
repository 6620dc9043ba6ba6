#include "podvm/status.h"

#include <gtest/gtest.h>

#include "podvm/pod_status.h"
#include "podvm/run_id.h"
#include "world.h"

namespace vck::podvm {
namespace {

constexpr std::string_view kNever = R"({"restartPolicy":"Never","containers":[{"name":"c","image":"img"}]})";
constexpr std::string_view kOnFailure = R"({"restartPolicy":"OnFailure","containers":[{"name":"c","image":"img"}]})";

TEST(Status, FromPendingToRunning) {
  World w;
  w.Write();
  EXPECT_EQ(w.phase(), "Pending");
  EXPECT_EQ(w.Ready(), "False");
  EXPECT_EQ(json::String(w.State("c", "waiting"), "reason"), "ContainerCreating");
  EXPECT_EQ(json::String(w.status(), "hostIP"), "192.0.2.1");
  EXPECT_EQ(json::String(w.status(), "startTime"), "2026-01-01T00:00:00Z");
  EXPECT_EQ(w.Write(), "");
  w.VmOn();
  w.Running("c", "r0");
  w.now += absl::Seconds(5);
  std::string patch = w.Write();
  EXPECT_EQ(w.phase(), "Running");
  EXPECT_EQ(w.Ready(), "True");
  EXPECT_EQ(json::String(w.status(), "podIP"), "10.1.0.5");
  EXPECT_EQ(json::String(w.ContainerStatus("c"), "containerID"), "vch://boot1-0-r0");
  EXPECT_EQ(json::Int(w.status(), "observedGeneration"), 1);
  EXPECT_EQ(json::Int(w.Condition("Ready"), "observedGeneration"), 1);
  EXPECT_EQ(patch.find("startTime"), std::string::npos);
  EXPECT_EQ(w.Write(), "");
}

TEST(Status, GoldenPatch) {
  World w;
  w.VmOn();
  w.Running("c", "r0");
  EXPECT_EQ(
      w.Compute().patch,
      R"({"status":{"phase":"Running","hostIP":"192.0.2.1","hostIPs":[{"ip":"192.0.2.1"}],"podIP":"10.1.0.5","podIPs":[{"ip":"10.1.0.5"}],)"
      R"("startTime":"2026-01-01T00:00:00Z","containerStatuses":[{"name":"c","image":"img","imageID":"","containerID":"vch://boot1-0-r0",)"
      R"("restartCount":0,"ready":true,"started":true,"state":{"running":{"startedAt":"2026-01-01T00:00:00Z"}}}],"observedGeneration":1,)"
      R"("conditions":[{"type":"PodReadyToStartContainers","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z","lastProbeTime":null,)"
      R"("reason":null,"message":null,"observedGeneration":1},{"type":"Initialized","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z",)"
      R"("lastProbeTime":null,"reason":null,"message":null,"observedGeneration":1},{"type":"Ready","status":"True",)"
      R"("lastTransitionTime":"2026-01-01T00:00:00Z","lastProbeTime":null,"reason":null,"message":null,"observedGeneration":1},)"
      R"({"type":"ContainersReady","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z","lastProbeTime":null,"reason":null,"message":null,)"
      R"("observedGeneration":1}]},"metadata":{"uid":"uid-1"}})");
}

TEST(Status, CrashLoopCountsRestartsAndKeepsTheLastState) {
  World w;
  w.VmOn();
  w.Running("c", "r0");
  w.Write();
  w.Exited("c", 3);
  auto& c = w.Container("c");
  c.last = guestapi::ContainerState::Termination{
      .id = "r0", .exit_code = 3, .started_at = c.started_at, .finished_at = w.now};
  w.Waiting("c", "CrashLoopBackOff");
  w.Write();
  EXPECT_EQ(w.phase(), "Running");
  EXPECT_EQ(json::String(w.State("c", "waiting"), "reason"), "CrashLoopBackOff");
  EXPECT_EQ(json::Int(w.LastState("c"), "exitCode"), 3);
  EXPECT_EQ(json::String(w.LastState("c"), "containerID"), "vch://boot1-0-r0");
  EXPECT_EQ(w.Restarts(), 0);
  w.Running("c", "r1");
  w.Write();
  EXPECT_EQ(w.Restarts(), 1);
  EXPECT_EQ(json::String(w.LastState("c"), "containerID"), "vch://boot1-0-r0");
  EXPECT_EQ(w.Write(), "");
}

TEST(Status, RestartCountsGoOnAcrossBoots) {
  World w;
  w.VmOn();
  w.Running("c", "r0");
  w.Running("c", "r1");
  w.Running("c", "r2");
  w.Write();
  EXPECT_EQ(w.Restarts(), 2);
  w.Reboot("boot2");  // by HA, with no kubelet around
  w.Running("c", "x0");
  w.Write();
  EXPECT_EQ(w.Restarts(), 3);
  EXPECT_EQ(json::Int(w.LastState("c"), "exitCode"), 137);
  EXPECT_EQ(json::String(w.LastState("c"), "reason"), "ContainerStatusUnknown");
  EXPECT_EQ(w.Write(), "");
  w.Running("c", "x1");
  w.Running("c", "x2");
  w.Write();
  EXPECT_EQ(w.Restarts(), 5);
}

TEST(Status, AGuestThatKeptItsJournalGoesOnCounting) {
  World w;
  w.VmOn();
  w.Running("c", "r0");
  w.Running("c", "r1");
  w.Write();
  EXPECT_EQ(w.Restarts(), 1);
  const std::string before(json::String(w.ContainerStatus("c"), "containerID"));
  w.Unlink();
  w.RebootWithJournal("boot2");  // by HA
  EXPECT_EQ(w.Write(), "") << "until the guest says what became of it";
  w.Linked();
  w.Write();
  EXPECT_EQ(w.Restarts(), 1);
  EXPECT_EQ(json::Int(w.State("c", "terminated"), "exitCode"), 137);
  EXPECT_EQ(json::String(w.ContainerStatus("c"), "containerID"), before);
  w.Running("c", "x0");
  w.Write();
  EXPECT_EQ(w.Restarts(), 2);
  EXPECT_EQ(json::Int(w.LastState("c"), "exitCode"), 137);
  EXPECT_EQ(json::String(w.ContainerStatus("c"), "containerID"), "vch://boot1-2-x0");
  EXPECT_EQ(w.Write(), "");
  // A kubelet that has forgotten everything sees nothing lost.
  w.ForgetAll();
  EXPECT_FALSE(w.Compute().lost_containers);
  EXPECT_EQ(w.Write(), "");
  w.RebootWithJournal("boot3");
  w.Running("c", "y0");
  w.Running("c", "y1");
  w.Write();
  EXPECT_EQ(w.Restarts(), 4);
  // The scratch disk is gone: the guest begins anew, the API goes on.
  w.Reboot("boot4");
  w.Running("c", "z0");
  w.Write();
  EXPECT_EQ(w.Restarts(), 5);
  EXPECT_EQ(json::String(w.ContainerStatus("c"), "containerID"), "vch://boot4-0-z0");
}

TEST(Status, ALossThatWasSeenFromOutsideIsCountedOnceWithAJournal) {
  World w;
  w.VmOn();
  w.Running("c", "r0");
  w.Write();
  w.VmOff();
  EXPECT_TRUE(w.Compute().lost_containers);
  w.Write();
  EXPECT_EQ(w.Restarts(), 1);
  w.RebootWithJournal("boot2");
  w.VmOn();
  w.Write();
  EXPECT_EQ(w.Restarts(), 1);
  w.Linked();
  w.Write();
  w.Waiting("c");  // for its secrets
  w.Container("c").message = "waiting for the kubelet";
  w.Container("c").last = guestapi::Termination{.id = "r0", .reason = "Error", .exit_code = 137};
  w.Write();
  EXPECT_EQ(json::String(w.State("c", "waiting"), "message"), "waiting for the kubelet");
  EXPECT_EQ(w.Restarts(), 1);
  w.Running("c", "x0");
  w.Write();
  EXPECT_EQ(w.Restarts(), 1);
  EXPECT_EQ(w.Write(), "");
  w.Running("c", "x1");
  w.Write();
  EXPECT_EQ(w.Restarts(), 2);
}

TEST(Status, AnEndThatTheKubeletHadMissedIsBelieved) {
  World w(R"({"restartPolicy":"OnFailure","containers":[{"name":"c","image":"img"}]})");
  w.VmOn();
  w.Running("c", "r0");
  w.Write();
  w.VmOff();  // just after it had ended by itself
  w.Write();
  EXPECT_EQ(json::Int(w.LastState("c"), "exitCode"), 137);
  w.Exited("c", 0);
  w.RebootWithJournal("boot2");
  w.VmOn();
  w.guest.finished = true;
  w.Linked();
  w.Write();
  EXPECT_EQ(w.phase(), "Succeeded");
  EXPECT_EQ(json::Int(w.State("c", "terminated"), "exitCode"), 0);
  EXPECT_EQ(json::String(w.State("c", "terminated"), "reason"), "Completed");
}

TEST(Status, PoweredOffByHandAndOnAgain) {
  World w;
  w.VmOn();
  w.Running("c", "r0");
  w.Write();
  w.VmOff();
  EXPECT_TRUE(w.Compute().lost_containers);
  w.Write();
  EXPECT_EQ(w.phase(), "Running");
  EXPECT_EQ(w.Ready(), "False");
  EXPECT_NE(w.State("c", "waiting"), nullptr);
  EXPECT_EQ(json::Int(w.LastState("c"), "exitCode"), 137);
  EXPECT_EQ(w.Restarts(), 1);
  EXPECT_EQ(w.Write(), "");  // counted once
  w.VmOn();                  // the old state is still in the store
  EXPECT_EQ(w.Write(), "");
  w.Reboot("boot2");
  EXPECT_EQ(w.Write(), "");
  w.Waiting("c");
  w.Write();
  EXPECT_EQ(w.Restarts(), 1);
  w.Running("c", "x0");
  w.Write();
  EXPECT_EQ(w.Restarts(), 1);
  EXPECT_EQ(w.Ready(), "True");
  EXPECT_EQ(w.Write(), "");
}

TEST(Status, LostContainersByRestartPolicy) {
  for (std::string_view spec : {kNever, kOnFailure}) {
    for (bool removed : {false, true}) {
      World w(spec);
      w.VmOn();
      w.Running("c", "r0");
      w.Write();
      w.ForgetAll();
      if (removed) {
        w.VmGone();
      } else {
        w.VmOff();
      }
      w.Write();
      EXPECT_EQ(w.phase(), spec == kNever ? "Failed" : "Running");
      if (spec == kNever) EXPECT_EQ(json::Int(w.State("c", "terminated"), "exitCode"), 137);
      EXPECT_EQ(w.Write(), "");
    }
  }
}

TEST(Status, OtherContainersOfANeverPodGoWithIt) {
  World w(R"({"restartPolicy":"Never","containers":[{"name":"c","image":"i"},{"name":"d","image":"i"}]})");
  w.VmOn();
  w.Running("c", "r0");
  w.Waiting("d", "ImagePullBackOff");
  w.Write();
  EXPECT_EQ(w.phase(), "Pending");
  w.VmOff();
  w.Write();
  EXPECT_EQ(w.phase(), "Failed");
}

TEST(Status, PhasesAsTheKubelets) {
  World done(kOnFailure);
  done.VmOn();
  done.Running("c", "r0");
  done.guest.finished = true;
  done.Exited("c", 0);
  done.Write();
  EXPECT_EQ(done.phase(), "Succeeded");
  EXPECT_EQ(json::String(done.Condition("Ready"), "reason"), "PodCompleted");
  EXPECT_EQ(json::String(done.Condition("Initialized"), "status"), "True");

  World failed(kNever);
  failed.VmOn();
  failed.Running("c", "r0");
  failed.guest.finished = true;
  failed.Exited("c", 3);
  failed.Write();
  EXPECT_EQ(failed.phase(), "Failed");
  EXPECT_EQ(json::String(failed.Condition("Ready"), "reason"), "PodFailed");

  World late(kNever);
  late.VmOn();
  late.Running("c", "r0");
  late.guest.finished = late.guest.deadline_exceeded = true;
  late.Exited("c", 0);
  late.Write();
  EXPECT_EQ(late.phase(), "Failed");
  EXPECT_EQ(json::String(late.status(), "reason"), "DeadlineExceeded");
}

TEST(Status, TheGuestDecidesWhenAPodIsOver) {
  // Killed by its liveness probe it ended well, and is about to be restarted.
  World w(kOnFailure);
  w.VmOn();
  w.Running("c", "r0");
  w.Write();
  w.Exited("c", 0);
  w.Write();
  EXPECT_EQ(w.phase(), "Running");
  w.Running("c", "r1");
  w.Write();
  EXPECT_EQ(w.phase(), "Running");
  EXPECT_EQ(w.Restarts(), 1);
}

TEST(Status, RestartPoliciesOfContainersCountBeforeThePods) {
  World w(R"({"restartPolicy":"Never","containers":[
    {"name":"c","image":"x","restartPolicy":"OnFailure"},
    {"name":"d","image":"x","restartPolicy":"Never","restartPolicyRules":[{"action":"Restart","exitCodes":{"operator":"In","values":[42]}}]}]})");
  w.VmOn();
  w.Running("c", "c0");
  w.Running("d", "d0");
  w.Write();
  w.Exited("c", 1);
  w.Container("c").phase = guestapi::ContainerState::Phase::kWaiting;
  w.Container("c").reason = "CrashLoopBackOff";
  w.Container("c").last = guestapi::Termination{.id = "c0", .reason = "Error", .exit_code = 1};
  w.Exited("d", 42);
  w.Write();
  EXPECT_EQ(w.phase(), "Running");
  PodStatus status;
  kubeapi::PodView pod(w.pod);
  status.main = {{.name = "c", .state = ContainerStatus::State::kTerminated, .terminated = {.exit_code = 0}},
                 {.name = "d", .state = ContainerStatus::State::kTerminated, .terminated = {.exit_code = 42}}};
  EXPECT_EQ(PhaseOf(pod, status, false), kubeapi::PodPhase::kRunning);
  status.main[1].terminated.exit_code = 1;
  EXPECT_EQ(PhaseOf(pod, status, false), kubeapi::PodPhase::kFailed);
  status.main[1].terminated.exit_code = 0;
  EXPECT_EQ(PhaseOf(pod, status, false), kubeapi::PodPhase::kSucceeded);
}

TEST(Status, InitContainersAndSidecars) {
  World w(
      R"({"restartPolicy":"Never","initContainers":[{"name":"i","image":"x"},{"name":"s","image":"x","restartPolicy":"Always"}],
    "containers":[{"name":"c","image":"x"}]})");
  w.Write();
  EXPECT_EQ(json::String(w.State("i", "waiting"), "reason"), "PodInitializing");
  w.VmOn();
  w.Running("i", "i0");
  w.Waiting("s", "PodInitializing");
  w.Waiting("c", "PodInitializing");
  w.Write();
  EXPECT_EQ(w.phase(), "Pending");
  EXPECT_EQ(json::String(w.Condition("Initialized"), "message"), "containers with incomplete status: [i s]");
  w.Exited("i", 0);
  w.Running("s", "s0");
  w.Running("c", "c0");
  w.Write();
  EXPECT_EQ(w.phase(), "Running");
  EXPECT_EQ(w.Ready(), "True");
  EXPECT_TRUE(json::Bool(w.ContainerStatus("i"), "ready"));
  w.Exited("c", 0);
  w.Write();
  EXPECT_EQ(w.phase(), "Running");  // the sidecar still runs
  w.guest.finished = true;
  w.Exited("s", 143);
  w.Write();
  EXPECT_EQ(w.phase(), "Succeeded");

  World bad(
      R"({"restartPolicy":"Never","initContainers":[{"name":"i","image":"x"}],"containers":[{"name":"c","image":"x"}]})");
  bad.VmOn();
  bad.Running("i", "i0");
  bad.Write();
  bad.guest.finished = true;
  bad.Exited("i", 1);
  bad.Waiting("c", "PodInitializing");
  bad.Write();
  EXPECT_EQ(bad.phase(), "Failed");
  bad.VmOff();
  EXPECT_EQ(bad.Write().find("137"), std::string::npos);
}

TEST(Status, ReadinessProbesAndGates) {
  World w(R"({"readinessGates":[{"conditionType":"lb"}],"containers":[{"name":"c","image":"x"}]})");
  w.VmOn();
  w.Running("c", "r0", false);
  w.Write();
  EXPECT_EQ(json::String(w.Condition("Ready"), "message"), "containers with unready status: [c]");
  w.Container("c").ready = true;
  w.Write();
  EXPECT_EQ(json::String(w.Condition("Ready"), "reason"), "ReadinessGatesNotReady");
  EXPECT_EQ(json::String(w.Condition("ContainersReady"), "status"), "True");
  MergeStatus(w.pod.as_object()["status"].as_object(),
              ParseOrDie(R"({"conditions":[{"type":"lb","status":"True"}]})").as_object());
  w.Write();
  EXPECT_EQ(w.Ready(), "True");
}

TEST(Status, SilenceMakesAPodNotReadyAfterAWhile) {
  World w;
  w.VmOn();
  w.Running("c", "r0");
  w.Write();
  w.Unlink(absl::Seconds(39));
  StatusResult quiet = w.Compute();
  EXPECT_EQ(quiet.patch, "");
  EXPECT_EQ(quiet.recompute_at, w.now + absl::Seconds(1));
  w.Unlink(absl::Seconds(40));
  w.Write();
  EXPECT_EQ(json::String(w.Condition("Ready"), "reason"), "GuestUnreachable");
  EXPECT_EQ(json::String(w.Condition("ContainersReady"), "status"), "True");
  EXPECT_EQ(w.phase(), "Running");
  w.ForgetAll();  // a restarted kubelet does not know better
  EXPECT_EQ(w.Write(), "");
  w.Linked();
  w.Write();
  EXPECT_EQ(w.Ready(), "True");
}

TEST(Status, UnreachableVmIsNotOff) {
  World w;
  w.VmOn();
  w.Running("c", "r0");
  w.Write();
  w.record.connection = vimtypes::ConnectionState::kDisconnected;
  w.record.power = vimtypes::PowerState::kOff;
  w.Write();
  EXPECT_EQ(w.phase(), "Running");
  EXPECT_EQ(json::String(w.Condition("Ready"), "reason"), "VmUnreachable");
  EXPECT_NE(w.State("c", "running"), nullptr);
}

TEST(Status, VCenterOutageChangesNothing) {
  World w;
  w.VmOn();
  w.Running("c", "r0");
  w.Write();
  w.facts.synced = false;
  w.has_vm = false;
  EXPECT_EQ(w.Write(), "");
}

TEST(Status, WhyAPodWaits) {
  World w;
  w.verdict = Verdict::Wait("CreateContainerConfigError", "secret \"s\" not found");
  w.Write();
  EXPECT_EQ(w.phase(), "Pending");
  EXPECT_EQ(json::String(w.State("c", "waiting"), "reason"), "CreateContainerConfigError");
  EXPECT_EQ(json::String(w.State("c", "waiting"), "message"), "secret \"s\" not found");
  w.verdict = {};
  w.Write();
  EXPECT_EQ(json::String(w.State("c", "waiting"), "reason"), "ContainerCreating");
  EXPECT_EQ(json::String(w.State("c", "waiting"), "message"), "");
}

TEST(Status, DeadlineOfAPodThatNeverGotAVm) {
  World w(R"({"restartPolicy":"Always","activeDeadlineSeconds":60,"containers":[{"name":"c","image":"img"}]})");
  w.verdict = Verdict::Wait("ImagePullBackOff", "no such image");
  w.Write();
  EXPECT_EQ(w.Compute().recompute_at, kubeapi::ParseTime("2026-01-01T00:01:00Z"));
  w.now += absl::Seconds(59);
  w.Write();
  EXPECT_EQ(w.phase(), "Pending");
  w.now += absl::Seconds(1);
  w.facts.create_in_flight = true;
  EXPECT_EQ(w.Compute().phase, kubeapi::PodPhase::kPending);
  w.facts.create_in_flight = false;
  w.Write();
  EXPECT_EQ(w.phase(), "Failed");
  EXPECT_EQ(json::String(w.status(), "reason"), "DeadlineExceeded");
  EXPECT_EQ(w.Ready(), "False");
  EXPECT_EQ(w.Write(), "");
}

TEST(Status, DeadlineOfAPodWhoseGuestHasNoSpec) {
  const auto past = [](World& w) {
    w.Write();
    w.now += absl::Seconds(61);
  };
  const auto ends = [](World& w) {
    w.Write();
    return w.phase() == "Failed" && json::String(w.status(), "reason") == "DeadlineExceeded";
  };
  constexpr std::string_view kSpec =
      R"({"restartPolicy":"Always","activeDeadlineSeconds":60,"containers":[{"name":"c","image":"img"}]})";
  World boots_for_ever(kSpec);
  boots_for_ever.VmExists(vimtypes::PowerState::kOn);
  past(boots_for_ever);
  EXPECT_TRUE(ends(boots_for_ever));

  World waits_for_a_config_map(kSpec);
  waits_for_a_config_map.VmOn();
  waits_for_a_config_map.guest.pod_uid.clear();
  waits_for_a_config_map.Linked();
  past(waits_for_a_config_map);
  EXPECT_TRUE(ends(waits_for_a_config_map));

  World has_a_spec(kSpec);
  has_a_spec.VmOn();
  has_a_spec.Waiting("c", "CreateContainerConfigError");
  past(has_a_spec);
  EXPECT_FALSE(ends(has_a_spec)) << "its guest ends it, and says so";

  World cannot_be_reached(kSpec);
  cannot_be_reached.VmExists(vimtypes::PowerState::kOn);
  cannot_be_reached.record.connection = vimtypes::ConnectionState::kDisconnected;
  past(cannot_be_reached);
  EXPECT_FALSE(ends(cannot_be_reached));
}

TEST(Status, AKubeletThatHasJustStartedAsksTheGuestBeforeTheDeadlineCounts) {
  World w(R"({"restartPolicy":"Never","activeDeadlineSeconds":60,"containers":[{"name":"c","image":"img"}]})");
  w.Write();
  w.VmOn();
  w.now += absl::Seconds(100);
  w.Unlink(absl::Seconds(10));
  EXPECT_EQ(w.Compute().phase, kubeapi::PodPhase::kPending);
  EXPECT_EQ(w.Compute().recompute_at, w.now + absl::Seconds(30));
  w.Unlink(absl::Seconds(40));
  EXPECT_EQ(w.Compute().phase, kubeapi::PodPhase::kFailed);
  w.Running("c", "r0");
  w.Exited("c", 0);
  w.guest.finished = true;
  EXPECT_EQ(w.Compute().phase, kubeapi::PodPhase::kSucceeded);
}

TEST(Status, ResourcesAreThoseThatTheContainerHas) {
  World w(R"({"restartPolicy":"Always","containers":[{"name":"c","image":"img",
      "resources":{"limits":{"memory":"200"},"requests":{"memory":"100","cpu":"5m"}}}]})");
  const auto resources = [&w](std::string_view field) {
    const json::Value* found = json::Get(w.ContainerStatus("c"), field);
    return found == nullptr ? "" : json::Serialize(*found);
  };
  w.VmOn();
  w.Running("c", "r0");
  w.Container("c").resources = {.cpu_request_milli = 5, .memory_limit_bytes = 200, .memory_request_bytes = 100};
  w.Write();
  const std::string first = R"({"limits":{"memory":"200"},"requests":{"memory":"100","cpu":"5m"}})";
  EXPECT_EQ(resources("resources"), first);
  EXPECT_EQ(resources("allocatedResources"), R"({"memory":"100","cpu":"5m"})");
  EXPECT_EQ(w.Write(), "");

  auto& spec = w.pod.at("spec").at("containers").at(0).at("resources").as_object();
  spec["limits"] = ParseOrDie(R"({"memory":"300"})");
  w.pod.at("metadata").as_object()["generation"] = 2;
  EXPECT_EQ(w.Write(), "") << "the guest does not know of it yet";
  w.guest.generation = 2;
  w.Linked();
  w.Write();
  EXPECT_EQ(resources("resources"), first);
  EXPECT_EQ(json::String(w.Condition("PodResizeInProgress"), "status"), "True");
  w.guest.resize_error = "in use";
  w.Write();
  EXPECT_EQ(json::String(w.Condition("PodResizeInProgress"), "reason"), "Error");
  EXPECT_EQ(json::String(w.Condition("PodResizeInProgress"), "message"), "in use");
  w.guest.resize_error.clear();
  w.Container("c").resources->memory_limit_bytes = 300;
  w.Write();
  EXPECT_EQ(w.Condition("PodResizeInProgress"), nullptr);
  EXPECT_EQ(resources("resources"), R"({"limits":{"memory":"300"},"requests":{"memory":"100","cpu":"5m"}})");
  EXPECT_EQ(w.Write(), "");

  spec["limits"] = ParseOrDie(R"({"memory":"9G"})");
  w.pod.at("metadata").as_object()["generation"] = 3;
  w.guest.generation = 3;
  w.guest.resize_infeasible = "The pod's VM didn't have enough capacity";
  w.Write();
  EXPECT_EQ(json::String(w.Condition("PodResizePending"), "status"), "True");
  EXPECT_EQ(json::String(w.Condition("PodResizePending"), "reason"), "Infeasible");
  EXPECT_EQ(json::String(w.Condition("PodResizePending"), "message"), "The pod's VM didn't have enough capacity");
  EXPECT_EQ(w.Condition("PodResizeInProgress"), nullptr);
  EXPECT_EQ(resources("resources"), R"({"limits":{"memory":"300"},"requests":{"memory":"100","cpu":"5m"}})");
  EXPECT_EQ(w.Write(), "");
  w.Unlink(absl::Seconds(1));
  EXPECT_EQ(w.Write(), "") << "what was said stands";
}

TEST(Status, APodThatWritesTooMuchIsEvicted) {
  World w;
  w.VmOn();
  w.Running("c", "r0");
  w.Write();
  w.guest.evicted = "Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ";
  w.Write();
  EXPECT_EQ(w.phase(), "Running") << "it is still being stopped";
  w.Exited("c", 0);
  w.guest.finished = true;
  w.Write();
  EXPECT_EQ(w.phase(), "Failed");
  EXPECT_EQ(json::String(w.status(), "reason"), "Evicted");
  EXPECT_EQ(json::String(w.status(), "message"), w.guest.evicted);
}

TEST(Status, RejectedPod) {
  World w;
  w.verdict = Verdict::Reject("OutOfcpu", "no cpu");
  w.Write();
  EXPECT_EQ(w.phase(), "Failed");
  EXPECT_EQ(json::String(w.status(), "reason"), "OutOfcpu");
  EXPECT_EQ(json::String(w.status(), "message"), "Pod was rejected: no cpu");
  EXPECT_EQ(w.Write(), "");
  w.Delete();
  EXPECT_EQ(w.Write(), "");
  EXPECT_TRUE(ReadyToDelete(kubeapi::PodView(w.pod), w.Vm()));
}

TEST(Status, AnAddressIsToldOnceTheGuestHasSpoken) {
  World w;
  w.VmOn();
  w.Write();
  EXPECT_EQ(json::String(w.status(), "podIP"), "");
  w.Linked();
  w.Write();
  EXPECT_EQ(json::String(w.status(), "podIP"), "10.1.0.5");
  w.ForgetAll();
  EXPECT_EQ(w.Write(), "") << "and stays";
}

TEST(Status, NewAddressReplacesTheOld) {
  World w;
  MergeStatus(w.pod.as_object()["status"].as_object(),
              ParseOrDie(R"({"podIP":"10.9.9.9","podIPs":[{"ip":"10.9.9.9"}]})").as_object());
  w.VmOn();
  w.Running("c", "r0");
  w.Write();
  EXPECT_EQ(json::String(w.status(), "podIP"), "10.1.0.5");
  EXPECT_EQ(json::Items(w.status(), "podIPs").size(), 1);
}

TEST(Status, ServerThatDropsObservedGenerationIsNotAskedAgain) {
  World w;
  w.VmOn();
  w.Running("c", "r0");
  w.Write();
  w.pod.as_object()["status"].as_object().erase("observedGeneration");
  for (auto& condition : w.pod.as_object()["status"].as_object()["conditions"].as_array())
    condition.as_object().erase("observedGeneration");
  EXPECT_EQ(w.Write(), "");
}

TEST(Status, DeletedPodEndsWithAllContainersTerminated) {
  World w;
  w.Write();
  w.VmOn();
  w.Delete();
  w.Write();
  EXPECT_EQ(w.phase(), "Pending");
  w.VmOff();
  w.Write();
  EXPECT_EQ(w.phase(), "Failed");
  EXPECT_EQ(json::Int(w.State("c", "terminated"), "exitCode"), 137);
  EXPECT_TRUE(FinalStatusWritten(kubeapi::PodView(w.pod)));
  EXPECT_FALSE(ReadyToDelete(kubeapi::PodView(w.pod), w.Vm()));
  w.VmGone();
  EXPECT_TRUE(ReadyToDelete(kubeapi::PodView(w.pod), w.Vm()));
}

TEST(Status, AReplacedPodsGuestIsNotBelieved) {
  World w;
  w.VmOn();
  w.guest.pod_uid = "another";
  w.Running("c", "r0");
  w.Write();
  EXPECT_EQ(w.phase(), "Pending");
}

TEST(RunId, RoundTrip) {
  const std::string text = FormatRunId(BootPrefix("3f-9a1c20-7777-8888"), 12, "a-b-c");
  RunId run = ParseRunId(text);
  EXPECT_EQ(run.boot, "3f9a1c207777");
  EXPECT_EQ(run.n, 12);
  EXPECT_EQ(run.id, "a-b-c");
  for (std::string_view bad : {"", "docker://abc", "vch://", "vch://a", "vch://a-b", "vch://a-x-b", "vch://a--1-b"}) {
    EXPECT_EQ(ParseRunId(bad).boot, "") << bad;
  }
}

TEST(Status, ContainerWhoseImageFailsSaysSoAndTheOthersWait) {
  World w(R"({"restartPolicy":"Always","containers":[{"name":"a","image":"x"},{"name":"b","image":"y"}]})");
  w.waits["b"] = {.reason = "ErrImagePull", .message = "not found"};
  w.Write();
  EXPECT_EQ(json::String(w.State("a", "waiting"), "reason"), "ContainerCreating");
  EXPECT_EQ(json::String(w.State("b", "waiting"), "reason"), "ErrImagePull");
  EXPECT_EQ(json::String(w.State("b", "waiting"), "message"), "not found");
  EXPECT_EQ(w.phase(), "Pending");
  w.waits.clear();
  w.VmOn();
  w.Waiting("b");
  w.Write();
  EXPECT_EQ(json::String(w.State("b", "waiting"), "reason"), "ContainerCreating");
  EXPECT_EQ(json::String(w.State("b", "waiting"), "message"), "");
}

TEST(Status, AContainerWithoutItsImageKeepsThePodPendingAndTheOthersRun) {
  World w(R"({"restartPolicy":"OnFailure","containers":[{"name":"a","image":"x"},{"name":"b","image":"y"}]})");
  const auto reason = [&w](std::string_view name) { return json::String(w.State(name, "waiting"), "reason"); };
  w.waits["b"] = {.reason = "ImagePullBackOff", .message = "Back-off pulling image \"y\""};
  w.VmOn();
  w.Running("a", "r0");
  w.Waiting("b");
  w.Write();
  EXPECT_EQ(w.phase(), "Pending");
  EXPECT_NE(w.State("a", "running"), nullptr);
  EXPECT_EQ(reason("b"), "ImagePullBackOff") << "the guest only knows that it is not there";
  EXPECT_EQ(json::String(w.State("b", "waiting"), "message"), "Back-off pulling image \"y\"");
  EXPECT_EQ(json::String(w.Condition("ContainersReady"), "message"), "containers with unready status: [b]");
  EXPECT_EQ(json::String(w.Condition("Initialized"), "status"), "True");
  // A kubelet that has just started knows neither.
  w.ForgetAll();
  w.waits.clear();
  EXPECT_EQ(w.Write(), "");
  w.Exited("a", 0);
  w.waits["b"] = {.reason = "ErrImagePull", .message = "not found"};
  w.Write();
  EXPECT_EQ(w.phase(), "Pending") << "b is still to run";
  EXPECT_EQ(reason("b"), "ErrImagePull");
  w.waits.clear();
  w.Running("b", "r1");
  w.Write();
  EXPECT_EQ(w.phase(), "Running");
}

TEST(Status, TheImageThatIsMissingSaysMoreThanTheLastCrash) {
  World w(R"({"restartPolicy":"Always","containers":[{"name":"a","image":"x"},{"name":"b","image":"y"}]})");
  w.VmOn();
  w.Running("a", "r0");
  w.Running("b", "r1");
  w.Write();
  w.Exited("b", 3);
  w.Write();
  w.Waiting("b", "CrashLoopBackOff");
  w.Write();
  w.waits["b"] = {.reason = "ErrImagePull", .message = "not found"};  // another one, since
  w.Write();
  EXPECT_EQ(json::String(w.State("b", "waiting"), "reason"), "ErrImagePull");
  EXPECT_EQ(json::Int(w.LastState("b"), "exitCode"), 3);
  EXPECT_EQ(w.phase(), "Running") << "it has run before";
}

TEST(Status, WhatAnEndedPodsContainerWaitedForStaysTold) {
  World w(
      R"({"restartPolicy":"Never","activeDeadlineSeconds":5,"containers":[{"name":"a","image":"x"},{"name":"b","image":"y"}]})");
  w.waits["b"] = {.reason = "ErrImagePull", .message = "not found"};
  w.VmOn();
  w.Running("a", "r0");
  w.Waiting("b");
  w.guest.deadline_exceeded = w.guest.finished = true;
  w.Exited("a", 143);
  w.Write();
  EXPECT_EQ(w.phase(), "Failed");
  EXPECT_EQ(json::String(w.State("b", "waiting"), "reason"), "ErrImagePull");
  w.VmOff();
  w.ForgetAll();
  w.waits.clear();
  EXPECT_EQ(w.Write(), "");
}

}  // namespace
}  // namespace vck::podvm
