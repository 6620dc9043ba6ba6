#include "tether/lifecycle.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tether/pod.h"

namespace vck::tether {
namespace {

using guestapi::ContainerSpec;
using guestapi::GuestSpec;
using guestapi::RestartPolicy;
using ::testing::HasSubstr;

constexpr auto kAlways = RestartPolicy::kAlways;
constexpr auto kOnFailure = RestartPolicy::kOnFailure;
constexpr auto kNever = RestartPolicy::kNever;

TEST(Lifecycle, RestartPolicyDecidesWhatAnExitMeans) {
  struct Case {
    RestartPolicy policy;
    std::string script, view;
    bool finished;
  } cases[] = {
      {kNever, "exit 0", "c=Completed(0)", true},
      {kNever, "exit 3", "c=Error(3)", true},
      {kOnFailure, "exit 0", "c=Completed(0)", true},
      {kOnFailure, "exit 3", "c=CrashLoopBackOff*1", false},
      {kAlways, "exit 0", "c=CrashLoopBackOff*1", false},
      {kAlways, "exit 3", "c=CrashLoopBackOff*1", false},
      {kAlways, "", "c=Running/ready", false},
      {kNever, "sleep 2; false", "c=Running/ready", false},
  };
  for (const Case& c : cases) {
    Pod pod(PodSpec(c.policy, {Container("c", c.script)}));
    pod.Pass(absl::Seconds(1));
    EXPECT_EQ(pod.View(), c.view) << c.script;
    EXPECT_EQ(pod.finished(), c.finished) << c.script;
  }
}

TEST(Lifecycle, APodIsFinishedWhenAllItsMainsAre) {
  Pod pod(PodSpec(kOnFailure, {Container("a", "sleep 1"), Container("b", "sleep 5")}));
  pod.Pass(absl::Seconds(2));
  EXPECT_EQ(pod.View(), "a=Completed(0) b=Running/ready");
  EXPECT_FALSE(pod.finished());
  pod.Pass(absl::Seconds(4));
  EXPECT_TRUE(pod.finished());
}

TEST(Lifecycle, BackOffIsTheKubelets) {
  Pod pod(PodSpec(kAlways, {Container("c", "exit 1")}));
  pod.Pass(absl::Minutes(25));
  // At once, then 10 s after the end of each run, doubled to 300 s.
  EXPECT_EQ(pod.TakeLog(), "c@0 c@0 c@10 c@30 c@70 c@150 c@310 c@610 c@910 c@1210");
}

TEST(Lifecycle, BackOffIsForgottenAfterTenMinutesWithoutARestart) {
  Pod pod(PodSpec(kAlways, {Container("c", "sleep 601; exit 1")}));
  pod.Pass(absl::Seconds(2000));
  EXPECT_EQ(pod.TakeLog(), "c@0 c@601 c@1202 c@1803");
  Pod quicker(PodSpec(kAlways, {Container("c", "sleep 599; exit 1")}));
  quicker.Pass(absl::Seconds(2000));
  EXPECT_EQ(quicker.TakeLog(), "c@0 c@599 c@1208 c@1827");
}

TEST(Lifecycle, BackOffShowsTheLastRunAndTheEndShowsItAgain) {
  Pod pod(PodSpec(kAlways, {Container("c", "sleep 1; exit 7")}));
  pod.Pass(absl::Seconds(4));
  auto c = pod.State().containers[0];
  EXPECT_EQ(c.phase, guestapi::ContainerState::Phase::kWaiting);
  EXPECT_EQ(c.reason, "CrashLoopBackOff");
  EXPECT_THAT(c.message, HasSubstr("back-off 10s restarting failed container=c pod=pod_default(uid)"));
  EXPECT_EQ(c.restart_count, 1);
  EXPECT_EQ(c.id, "run-2");
  ASSERT_TRUE(c.last);
  EXPECT_EQ(c.last->id, "run-2");
  EXPECT_EQ(c.last->exit_code, 7);
  EXPECT_EQ(c.last->finished_at - c.last->started_at, absl::Seconds(1));
  pod.Stop(30);
  EXPECT_TRUE(pod.finished());
  c = pod.State().containers[0];
  EXPECT_EQ(c.phase, guestapi::ContainerState::Phase::kTerminated);
  EXPECT_EQ(c.exit_code, 7);
  EXPECT_EQ(c.last->id, "run-1");
}

TEST(Lifecycle, ARunHasAnIdOfItsOwnAndRemembersTheOneBefore) {
  Pod pod(PodSpec(kAlways, {Container("c", "sleep 3; exit 2")}));
  pod.Pass(absl::Seconds(4));
  auto c = pod.State().containers[0];
  EXPECT_EQ(c.id, "run-2");
  EXPECT_EQ(c.restart_count, 1);
  EXPECT_EQ(c.last->id, "run-1");
  EXPECT_EQ(c.last->exit_code, 2);
  EXPECT_EQ(c.last->reason, "Error");
}

TEST(Lifecycle, InitContainersRunOneAfterAnother) {
  Pod pod(PodSpec(kAlways, {Init("i1", "sleep 2"), Init("i2", "sleep 3"), Container("c", "")}));
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(pod.View(), "i1=Running/ready i2=PodInitializing c=PodInitializing");
  pod.Pass(absl::Seconds(9));
  EXPECT_EQ(pod.TakeLog(), "i1@0 i2@2 c@5");
  EXPECT_EQ(pod.View(), "i1=Completed(0) i2=Completed(0) c=Running/ready");
  EXPECT_TRUE(pod.State().containers[0].ready) << "an init container that has succeeded is ready";
}

TEST(Lifecycle, AFailedInitContainerIsRepeatedOrFailsThePod) {
  Pod always(PodSpec(kAlways, {Init("i", "exit 1"), Container("c", "")}));
  always.Pass(absl::Seconds(1));
  EXPECT_EQ(always.View(), "i=CrashLoopBackOff*1 c=PodInitializing");
  EXPECT_FALSE(always.finished());

  Pod never(PodSpec(kNever, {Sidecar("s", ""), Init("i", "sleep 1; exit 4"), Container("c", "")}));
  never.Pass(absl::Seconds(3));
  EXPECT_EQ(never.View(), "s=Error(143) i=Error(4) c=PodInitializing");
  EXPECT_TRUE(never.finished());
  EXPECT_EQ(never.TakeLog(), "s@0 i@0 TERM:s@1");
}

TEST(Lifecycle, SidecarsStartInOrderAndOutliveTheMains) {
  Pod pod(PodSpec(kNever, {Sidecar("s1", ""), Init("i", "sleep 1"), Sidecar("s2", "on-term sleep 3; sleep infinity"),
                           Container("c", "sleep 5")}));
  pod.Pass(absl::Seconds(20));
  EXPECT_EQ(pod.TakeLog(), "s1@0 i@0 s2@1 c@1 TERM:s2@6 TERM:s1@9");
  EXPECT_TRUE(pod.finished());
}

TEST(Lifecycle, SidecarsAreRestartedWhateverThePolicyAndHoldUpNothingOnceStarted) {
  Pod pod(PodSpec(kNever, {Sidecar("s", "sleep 2; exit 1"), Init("i", "sleep 3"), Container("c", "sleep 20")}));
  pod.Pass(absl::Seconds(15));
  EXPECT_EQ(pod.TakeLog(), "s@0 i@0 s@2 c@3 s@14");
  EXPECT_EQ(pod.State().containers[0].restart_count, 2);
}

TEST(Lifecycle, StopsMainsThenSidecarsInReverse) {
  Pod pod(PodSpec(kAlways, {Sidecar("s1", ""), Sidecar("s2", "on-term sleep 2; sleep infinity"),
                            Container("a", "on-term sleep 4; sleep infinity"), Container("b", "")}));
  pod.Pass(absl::Seconds(10));
  pod.TakeLog();
  pod.Stop(30);
  EXPECT_TRUE(pod.State().stopping);
  pod.Pass(absl::Seconds(30));
  EXPECT_EQ(pod.TakeLog(), "TERM:a@10 TERM:b@10 TERM:s2@14 TERM:s1@16");
  EXPECT_TRUE(pod.finished());
  EXPECT_EQ(pod.View(), "s1=Error(143) s2=Completed(0) a=Completed(0) b=Error(143)") << "nothing is restarted";
}

TEST(Lifecycle, KillsWhatIgnoresTheGrace) {
  Pod pod(
      PodSpec(kAlways, {Sidecar("s", "ignore-term; sleep infinity"), Container("c", "trap '' TERM; sleep infinity")}));
  pod.Pass(absl::Seconds(1));
  pod.TakeLog();
  pod.Stop(5);
  pod.Pass(absl::Seconds(20));
  // The sidecar gets its two seconds although the grace is over.
  EXPECT_EQ(pod.TakeLog(), "TERM:c@1 KILL:c@6 TERM:s@6 KILL:s@8");
  EXPECT_EQ(pod.View(), "s=Error(137) c=Error(137)");
  EXPECT_TRUE(pod.finished());
}

TEST(Lifecycle, ALaterStopMayOnlyShortenTheGrace) {
  struct Case {
    int64_t first, second;
    std::string log;
  } cases[] = {
      {30, 5, "TERM:c@1 KILL:c@8"},
      {5, 30, "TERM:c@1 KILL:c@6"},
      {30, 0, "TERM:c@1 KILL:c@3"},
      {0, 30, "KILL:c@1"},
  };
  for (const Case& c : cases) {
    Pod pod(PodSpec(kAlways, {Container("c", "ignore-term; sleep infinity")}));
    pod.Pass(absl::Seconds(1));
    pod.TakeLog();
    pod.Stop(c.first);
    pod.Pass(absl::Seconds(2));
    pod.Stop(c.second);
    pod.Pass(absl::Seconds(60));
    EXPECT_EQ(pod.TakeLog(), c.log) << c.first << " then " << c.second;
    EXPECT_TRUE(pod.finished());
  }
}

TEST(Lifecycle, GraceZeroSparesNobody) {
  Pod pod(PodSpec(kAlways, {Sidecar("s", ""), Container("c", "")}));
  pod.Pass(absl::Seconds(1));
  pod.TakeLog();
  pod.Stop(0);
  pod.Pass(absl::ZeroDuration());
  EXPECT_EQ(pod.TakeLog(), "KILL:c@1 KILL:s@1");
  EXPECT_TRUE(pod.finished());
}

TEST(Lifecycle, StopBeforeAndDuringStart) {
  Pod nothing;
  nothing.Stop(30);
  EXPECT_TRUE(nothing.finished()) << "a guest without a spec has nothing to stop";
  nothing.Apply(PodSpec(kAlways, {Container("c", "")}));
  nothing.Pass(absl::Seconds(1));
  EXPECT_EQ(nothing.TakeLog(), "");
  EXPECT_EQ(nothing.State().spec_revision, 1);

  Pod starting(PodSpec(kAlways, {Init("i", ""), Container("c", "")}));
  starting.Stop(30);
  starting.Pass(absl::Seconds(1));
  EXPECT_TRUE(starting.finished());
  EXPECT_EQ(starting.View(), "i=Error(143) c=PodInitializing");
}

TEST(Lifecycle, ActiveDeadlineStopsThePodForGood) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "ignore-term; sleep infinity")});
  spec.active_deadline_seconds = 10;
  spec.grace_seconds = 3;
  Pod pod(spec);
  pod.Pass(absl::Seconds(11));
  EXPECT_TRUE(pod.State().deadline_exceeded);
  EXPECT_FALSE(pod.finished());
  pod.Pass(absl::Seconds(10));
  EXPECT_EQ(pod.TakeLog(), "c@0 TERM:c@10 KILL:c@13");
  EXPECT_TRUE(pod.finished());
  EXPECT_FALSE(pod.State().stopping) << "nobody asked for it";
}

TEST(Lifecycle, AShorterDeadlineOfALaterSpecCountsFromTheBeginning) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "")});
  Pod pod(spec);
  pod.Pass(absl::Seconds(8));
  spec.active_deadline_seconds = 5;
  spec.revision = 2;
  pod.Apply(spec);
  EXPECT_TRUE(pod.State().deadline_exceeded);
}

TEST(Lifecycle, TheDeadlineCountsFromThePodsStart) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "")});
  spec.active_deadline_seconds = 60;
  spec.grace_seconds = 1;
  Pod pod;
  pod.Pass(absl::Seconds(20));  // booting
  spec.start_time = pod.Now().wall - absl::Seconds(50);
  pod.Apply(spec);
  pod.Pass(absl::Seconds(9));
  EXPECT_FALSE(pod.State().deadline_exceeded);
  pod.Reboot();
  pod.Pass(absl::Seconds(2));
  EXPECT_TRUE(pod.State().deadline_exceeded);

  Pod late;
  spec.start_time = late.Now().wall - absl::Seconds(61);
  late.Apply(spec);
  EXPECT_TRUE(late.State().deadline_exceeded);
  EXPECT_TRUE(late.finished());
  EXPECT_EQ(late.TakeLog(), "");

  Pod ahead;  // of what its clock says: no deadline comes later than by a whole period
  spec.start_time = ahead.Now().wall + absl::Hours(1);
  ahead.Apply(spec);
  ahead.Pass(absl::Seconds(61));
  EXPECT_TRUE(ahead.State().deadline_exceeded);
}

TEST(Lifecycle, WhoWritesTooMuchIsEvicted) {
  Pod pod(PodSpec(kAlways, {Container("c", "ignore-term; sleep infinity")}));
  pod.Pass(absl::Seconds(1));
  pod.TakeEvents();
  pod.Step(Noticed{.container = "c", .reason = "ProcessLimitReached", .message = "no more"});
  pod.Step(Exceeded{"Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". "});
  EXPECT_EQ(pod.TakeEvents()[0], "!ProcessLimitReached c: no more");
  pod.Pass(absl::Seconds(3));
  EXPECT_EQ(pod.TakeLog(), "c@0 TERM:c@1 KILL:c@3");
  EXPECT_TRUE(pod.finished());
  EXPECT_EQ(pod.State().evicted, "Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ");
  pod.Reboot();
  EXPECT_TRUE(pod.finished());
  EXPECT_NE(pod.State().evicted, "");
}

TEST(Lifecycle, ADeadlineAfterTheEndChangesNothing) {
  GuestSpec spec = PodSpec(kNever, {Container("c", "exit 0")});
  spec.active_deadline_seconds = 10;
  Pod pod(spec);
  pod.Pass(absl::Seconds(30));
  EXPECT_TRUE(pod.finished());
  EXPECT_FALSE(pod.State().deadline_exceeded);
}

TEST(Lifecycle, WhatWaitsForARestartIsKnownWhateverTheReason) {
  ContainerSpec ruled = Container("ruled", "exit 42");
  ruled.restart_rules = {{.exit_codes = {42}}};
  Pod pod(PodSpec(kNever, {ruled, Container("over", "exit 3"), Container("runs", "")}));
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(pod.View(), "ruled=CrashLoopBackOff*1 over=Error(3) runs=Running/ready");
  EXPECT_TRUE(pod.lifecycle().Waits("ruled"));
  EXPECT_FALSE(pod.lifecycle().Waits("over"));
  EXPECT_FALSE(pod.lifecycle().Waits("runs"));

  ContainerSpec sick = Container("sick", "trap 'exit 0' TERM; sleep infinity");  // ends well when it is killed
  sick.liveness = guestapi::Probe{.period = 1, .failure_threshold = 1};
  Pod ends_well(PodSpec(kOnFailure, {sick}));
  ends_well.Answer("sick/liveness", "f");
  ends_well.Pass(absl::Seconds(4));
  EXPECT_EQ(ends_well.View(), "sick=CrashLoopBackOff*1");
  EXPECT_TRUE(ends_well.lifecycle().Waits("sick"));
}

TEST(Lifecycle, OnlyNewerSpecsOfTheSamePodCount) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "")});
  spec.revision = 5;
  Pod pod(spec);
  spec.revision = 4;
  spec.generation = 9;
  pod.Apply(spec);
  EXPECT_EQ(pod.State().spec_revision, 5);
  EXPECT_EQ(pod.State().generation, 1);
  spec.revision = 6;
  spec.pod_uid = "another";
  pod.Apply(spec);
  EXPECT_EQ(pod.State().spec_revision, 5);
  spec.pod_uid = "uid";
  pod.Apply(spec);
  EXPECT_EQ(pod.State().generation, 9);
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(pod.TakeLog(), "c@0") << "a new revision restarts nothing";
}

TEST(Lifecycle, EphemeralContainersRunOnceAndEndWithThePod) {
  GuestSpec spec = PodSpec(kNever, {Container("c", "sleep 10")});
  Pod pod(spec);
  pod.Pass(absl::Seconds(1));
  spec.containers.push_back(Container("debug", "", ContainerSpec::Kind::kEphemeral));
  spec.containers.push_back(Container("short", "exit 1", ContainerSpec::Kind::kEphemeral));
  spec.revision = 2;
  pod.Apply(spec);
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(pod.View(), "c=Running/ready debug=Running/ready short=Error(1)");
  pod.Pass(absl::Seconds(20));
  EXPECT_EQ(pod.TakeLog(), "c@0 debug@1 short@1 TERM:debug@10");
  EXPECT_TRUE(pod.finished());
}

TEST(Lifecycle, AStartThatFailsIsRepeatedAndSaysWhy) {
  std::vector<std::string> ids;
  Lifecycle machine("b", [&] { return ids.emplace_back(absl::StrCat("r", ids.size())); });
  auto at = [](int s) { return Stamp{Instant{absl::Seconds(s)}, absl::FromUnixSeconds(s)}; };
  auto spec = std::make_shared<GuestSpec>(PodSpec(kNever, {Container("c", "")}));
  machine.Step(Apply{spec}, at(0));
  EXPECT_TRUE(machine.Step(StartFailed{"r0", "CreateContainerError", "no such user"}, at(1)).empty());
  auto state = machine.Snapshot(at(1));
  EXPECT_EQ(state.containers[0].reason, "CreateContainerError");
  EXPECT_EQ(state.containers[0].message, "no such user");
  ASSERT_EQ(state.events.size(), 1u);
  EXPECT_EQ(state.events[0].reason, "Failed");
  EXPECT_EQ(state.events[0].message, "Error: no such user");
  EXPECT_EQ(machine.deadline(), at(11).mono);
  EXPECT_EQ(machine.Step(Tick{}, at(11)).size(), 1u);
  EXPECT_EQ(machine.Snapshot(at(11)).containers[0].reason, "CreateContainerError") << "until it has started";
  machine.Step(StartFailed{"r1", "CreateContainerError", "no such user"}, at(11));
  // What stood in the way may be gone with a new spec.
  auto next = std::make_shared<GuestSpec>(*spec);
  next->revision = 2;
  EXPECT_EQ(machine.Step(Apply{next}, at(12)).size(), 1u);
  machine.Step(Started{"r2"}, at(12));
  EXPECT_EQ(machine.Snapshot(at(12)).containers[0].restart_count, 0) << "nothing had run before";
  EXPECT_FALSE(machine.finished());
}

TEST(Lifecycle, AProcessThatCannotBeStartedCountsAsARun) {
  std::vector<std::string> ids;
  auto at = [](int s) { return Stamp{Instant{absl::Seconds(s)}, absl::FromUnixSeconds(s)}; };
  for (RestartPolicy policy : {kNever, kAlways}) {
    ids.clear();
    Lifecycle machine("b", [&] { return ids.emplace_back(absl::StrCat("r", ids.size())); });
    machine.Step(Apply{std::make_shared<GuestSpec>(PodSpec(policy, {Container("c", "")}))}, at(0));
    auto actions = machine.Step(StartFailed{"r0", std::string(kStartError), "exec: \"x\": not found"}, at(1));
    auto c = machine.Snapshot(at(1)).containers[0];
    EXPECT_EQ(c.exit_code, 128);
    EXPECT_EQ(c.reason, "StartError");
    EXPECT_EQ(c.message, "exec: \"x\": not found");
    EXPECT_EQ(c.started_at, absl::InfinitePast());
    EXPECT_EQ(machine.finished(), policy == kNever);
    if (policy == kNever) continue;
    ASSERT_EQ(actions.size(), 1u);
    EXPECT_EQ(std::get<StartContainer>(actions[0]).attempt, 1);
    machine.Step(StartFailed{"r1", std::string(kStartError), "exec: \"x\": not found"}, at(1));
    c = machine.Snapshot(at(1)).containers[0];
    EXPECT_EQ(c.reason, "CrashLoopBackOff");
    EXPECT_EQ(c.restart_count, 1);
    EXPECT_EQ(c.last->reason, "StartError");
  }
}

TEST(Lifecycle, AContainerWithoutItsConfigurationWaitsAndKeepsNoOtherFromRunning) {
  GuestSpec spec = PodSpec(kAlways, {Init("i", "sleep 1"), Container("a", ""), Container("b", "")});
  spec.containers[2].config_error = "secret \"s\" not found";
  Pod pod(spec);
  pod.Pass(absl::Seconds(60));
  EXPECT_EQ(pod.TakeLog(), "i@0 a@1");
  EXPECT_EQ(pod.View(), "i=Completed(0) a=Running/ready b=CreateContainerConfigError");
  EXPECT_EQ(pod.State().containers[2].message, "secret \"s\" not found");
  const int64_t sequence = pod.State().sequence;
  pod.Pass(absl::Minutes(10));
  EXPECT_EQ(pod.State().sequence, sequence);
  spec.revision = 2;
  spec.containers[2].config_error.clear();
  pod.Apply(spec);
  pod.Pass(absl::ZeroDuration());
  EXPECT_EQ(pod.TakeLog(), "b@660");
  EXPECT_EQ(pod.View(), "i=Completed(0) a=Running/ready b=Running/ready");
}

TEST(Lifecycle, AContainerWithoutItsImageWaitsAlone) {
  GuestSpec spec = PodSpec(kNever, {Container("a", "sleep 1"), Container("b", "sleep 2")});
  spec.containers[1].awaits_image = true;
  Pod pod(spec);
  pod.Pass(absl::Minutes(1));
  EXPECT_EQ(pod.View(), "a=Completed(0) b=ContainerCreating");
  EXPECT_FALSE(pod.finished()) << "b is still to run";
  EXPECT_THAT(pod.TakeEvents(), ::testing::Each(::testing::Not(HasSubstr(" b:")))) << "why, the kubelet tells";
  const int64_t sequence = pod.State().sequence;
  pod.Pass(absl::Minutes(1));
  EXPECT_EQ(pod.State().sequence, sequence);
  spec.revision = 2;
  spec.containers[1].awaits_image = false;
  pod.Apply(spec);
  pod.Pass(absl::Seconds(3));
  EXPECT_EQ(pod.TakeLog(), "a@0 b@120");
  EXPECT_EQ(pod.View(), "a=Completed(0) b=Completed(0)");
  EXPECT_TRUE(pod.finished());
}

TEST(Lifecycle, WhatFollowsAnInitContainerWithoutItsImageWaitsForIt) {
  for (ContainerSpec::Kind kind : {ContainerSpec::Kind::kInit, ContainerSpec::Kind::kSidecar}) {
    GuestSpec spec = PodSpec(kAlways, {Init("i", "exit 0"), Container("j", "sleep 1", kind), Container("a", "")});
    spec.containers[1].awaits_image = true;
    Pod pod(spec);
    pod.Pass(absl::Seconds(5));
    EXPECT_EQ(pod.View(), "i=Completed(0) j=PodInitializing a=PodInitializing");
    spec.revision = 2;
    spec.containers[1].awaits_image = false;
    pod.Apply(spec);
    pod.Pass(absl::Seconds(2));
    EXPECT_EQ(pod.TakeLog().substr(0, 7), "i@0 j@5");
    EXPECT_THAT(pod.View(), HasSubstr("a=Running/ready"));
  }
}

TEST(Lifecycle, AContainerThatLostItsConfigurationRunsUntilItEnds) {
  GuestSpec spec = PodSpec(kAlways, {Container("a", "sleep 20; exit 1")});
  Pod pod(spec);
  spec.revision = 2;
  spec.containers[0].config_error = "configmap \"c\" not found";
  pod.Apply(spec);
  pod.Pass(absl::Seconds(10));
  EXPECT_EQ(pod.View(), "a=Running/ready");
  pod.Pass(absl::Seconds(20));
  EXPECT_EQ(pod.View(), "a=CreateContainerConfigError");
  EXPECT_EQ(pod.State().containers[0].last->exit_code, 1);
  pod.Stop(0);
  EXPECT_EQ(pod.View(), "a=Error(1)");
  EXPECT_TRUE(pod.finished());
}

TEST(Lifecycle, EventsOfRunsThatAreOverChangeNothing) {
  Pod pod(PodSpec(kAlways, {Container("c", "")}));
  pod.Pass(absl::Seconds(1));
  int64_t before = pod.lifecycle().sequence();
  pod.Step(Exited{"run-77", 1});
  pod.Step(Started{"run-1"});
  pod.Step(StartFailed{"run-1", "x", "y"});
  pod.Step(Tick{});
  EXPECT_EQ(pod.lifecycle().sequence(), before);
  EXPECT_EQ(pod.View(), "c=Running/ready");
}

TEST(Lifecycle, SequenceGrowsWithWhatCanBeSeen) {
  Pod pod;
  EXPECT_EQ(pod.State().sequence, 1);
  pod.Apply(PodSpec(kNever, {Container("c", "exit 0")}));
  EXPECT_EQ(pod.State().sequence, 2);
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(pod.State().sequence, 4) << "started, ended";
}

}  // namespace
}  // namespace vck::tether
