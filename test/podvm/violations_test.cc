// What kubelets written for other back ends get wrong: each usual violation of the pod contract that the pure part can
// commit has a test of its name.
#include <gtest/gtest.h>

#include "podvm/admission.h"
#include "podvm/status.h"
#include "world.h"

namespace vck::podvm {
namespace {

constexpr std::string_view kNever =
    R"({"restartPolicy":"Never","containers":[{"name":"c","image":"i"},{"name":"d","image":"i"}]})";

World Running() {
  World w;
  w.VmOn();
  w.Running("c", "r0");
  w.Write();
  return w;
}

TEST(Violations, TerminalPhaseWhileContainersRun) {
  // Failed init container of a Never pod beside a running sidecar: getPhase alone would say Failed.
  World w(
      R"({"restartPolicy":"Never","initContainers":[{"name":"s","image":"i","restartPolicy":"Always"},{"name":"i","image":"i"}],
    "containers":[{"name":"c","image":"i"}]})");
  w.VmOn();
  w.Running("s", "s0");
  w.Running("i", "i0");
  w.Write();
  w.Exited("i", 1);
  w.Write();
  EXPECT_EQ(w.phase(), "Pending");
  w.guest.finished = true;
  w.Exited("s", 137);
  w.Write();
  EXPECT_EQ(w.phase(), "Failed");
}

TEST(Violations, TerminalPhaseThatRegresses) {
  World w(kNever);
  w.VmOn();
  w.Running("c", "r0");
  w.Running("d", "d0");
  w.Exited("c", 0);
  w.guest.finished = true;
  w.Exited("d", 0);
  w.Write();
  EXPECT_EQ(w.phase(), "Succeeded");
  w.Reboot("boot2");
  w.Running("c", "x0");
  w.Write();
  EXPECT_EQ(w.phase(), "Succeeded");
  EXPECT_EQ(w.Ready(), "False");
}

TEST(Violations, ObjectDeletedBeforeItsFinalStatus) {
  World w = Running();
  w.Delete();
  w.VmGone();
  EXPECT_FALSE(ReadyToDelete(kubeapi::PodView(w.pod), w.Vm()));
  w.Write();
  EXPECT_EQ(w.Ready(), "False");
  EXPECT_TRUE(ReadyToDelete(kubeapi::PodView(w.pod), w.Vm()));
  w.facts.create_in_flight = true;
  EXPECT_FALSE(ReadyToDelete(kubeapi::PodView(w.pod), w.Vm()));
  w.facts.create_in_flight = false;
  w.facts.synced = false;
  EXPECT_FALSE(ReadyToDelete(kubeapi::PodView(w.pod), w.Vm()));
}

TEST(Violations, StatusWrittenWithoutUid) {
  World w = Running();
  w.Exited("c", 1);
  std::string patch = w.Write();
  EXPECT_NE(patch.find(R"("metadata":{"uid":"uid-1"})"), std::string::npos);
}

TEST(Violations, CleanUpOnlyOnDeletionTimestamp) {
  World w = Running();
  EXPECT_EQ(w.Steps(false), "AskStop (GuestStopping)");  // the object vanished
  w.VmOff();
  EXPECT_EQ(w.Steps(false), "Destroy ");
}

TEST(Violations, StatusThatErasesOthersConditions) {
  World w;
  MergeStatus(
      w.pod.as_object()["status"].as_object(),
      ParseOrDie(R"({"conditions":[{"type":"lb","status":"True"},{"type":"DisruptionTarget","status":"True"}]})")
          .as_object());
  w.VmOn();
  w.Running("c", "r0");
  std::string patch = w.Write();
  for (std::string_view others : {"lb", "DisruptionTarget", "PodScheduled"}) {
    EXPECT_EQ(patch.find(others), std::string::npos);
    EXPECT_EQ(json::String(w.Condition(others), "status"), "True") << others;
  }
}

TEST(Violations, SubSecondTimes) {
  World w = Running();
  w.now += absl::Milliseconds(3400);
  w.Exited("c", 1);
  std::string patch = w.Write();
  EXPECT_EQ(json::String(w.State("c", "terminated"), "finishedAt"), "2026-01-01T00:00:03Z");
  EXPECT_EQ(patch.find("00.25"), std::string::npos);
}

TEST(Violations, GuestClockTimes) {
  World w;
  w.offset = absl::Hours(5) + absl::Milliseconds(700);  // the guest is late
  w.VmOn();
  w.Running("c", "r0");
  w.Write();
  EXPECT_EQ(json::String(w.State("c", "running"), "startedAt"), "2026-01-01T00:00:00Z");
  // The estimate wavers with each snapshot; what was written stays.
  for (int i = 0; i < 20; ++i) {
    w.offset += absl::Milliseconds(137);
    w.Linked();
    EXPECT_EQ(w.Write(), "");
  }
  // Nothing is told to have happened in the future.
  w.offset += absl::Hours(1);
  w.Container("c").finished_at = w.now;
  auto& c = w.Container("c");
  c.phase = guestapi::ContainerState::Phase::kTerminated;
  w.Linked();
  w.Write();
  EXPECT_LE(json::String(w.State("c", "terminated"), "finishedAt"), kubeapi::FormatTime(w.now));
}

TEST(Violations, KubeletRestartResetsCountsAndLastState) {
  World w = Running();
  w.Exited("c", 3);
  w.Running("c", "r1");
  w.Write();
  EXPECT_EQ(w.Restarts(), 1);
  w.ForgetAll();
  EXPECT_EQ(w.Write(), "");
  w.Linked();
  EXPECT_EQ(w.Write(), "");
  EXPECT_EQ(w.Restarts(), 1);
  EXPECT_EQ(json::Int(w.LastState("c"), "exitCode"), 3);
}

TEST(Violations, RestartsMissedWhileTheKubeletWasAwayAreCounted) {
  World w = Running();
  w.Reboot("boot2");
  w.Running("c", "x0");
  w.Write();
  w.ForgetAll();
  for (std::string id : {"x1", "x2", "x3"}) w.Running("c", id);
  w.Write();
  EXPECT_EQ(w.Restarts(), 4);
}

TEST(Violations, KubeletRestartFlipsReady) {
  World w = Running();
  w.ForgetAll();
  EXPECT_TRUE(w.Compute().ready);
  EXPECT_EQ(w.Write(), "");
  w.facts.synced = false;  // nor before the inventory is there
  w.has_vm = false;
  EXPECT_EQ(w.Write(), "");
}

TEST(Violations, ObservedGenerationAheadOfWhatWasApplied) {
  World w;
  w.pod.as_object()["metadata"].as_object()["generation"] = 4;
  w.Write();
  EXPECT_EQ(json::Int(w.status(), "observedGeneration"), 0);
  w.guest.generation = 3;
  w.VmOn();
  w.Running("c", "r0");
  w.Write();
  EXPECT_EQ(json::Int(w.status(), "observedGeneration"), 3);
  w.guest.generation = 4;
  w.Linked();
  w.Write();
  EXPECT_EQ(json::Int(w.status(), "observedGeneration"), 4);
  EXPECT_EQ(json::Int(w.Condition("Ready"), "observedGeneration"), 4);
  w.Reboot("boot2");  // and it never goes back
  w.guest.generation = 0;
  w.Linked();
  w.Write();
  EXPECT_EQ(json::Int(w.status(), "observedGeneration"), 4);
}

TEST(Violations, StormOfFailedPods) {
  // What cannot run here waits; a controller would replace a Failed pod at once.
  World w(R"({"containers":[{"name":"c","image":"i","ports":[{"containerPort":10350}]}]})");
  kubeapi::PodView view(w.pod);
  w.verdict = Admit({.pod = &view});
  EXPECT_EQ(w.verdict.kind, Verdict::Kind::kWait);
  w.Write();
  EXPECT_EQ(w.phase(), "Pending");
}

TEST(Violations, AddressGivenAwayWhileTheVmMayLive) {
  // `gone` is what frees an address.
  World w = Running();
  w.record.connection = vimtypes::ConnectionState::kInaccessible;
  EXPECT_FALSE(w.MakePlan(false).gone);
  w.facts.synced = false;
  w.has_vm = false;
  EXPECT_FALSE(w.MakePlan(false).gone);
  w.facts.synced = true;
  w.facts.create_in_flight = true;
  EXPECT_FALSE(w.MakePlan(false).gone);
  w.facts.create_in_flight = false;
  EXPECT_TRUE(w.MakePlan(false).gone);
}

}  // namespace
}  // namespace vck::podvm
