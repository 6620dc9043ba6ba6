// Probes and hooks in the life of a pod.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tether/lifecycle.h"
#include "tether/pod.h"

namespace vck::tether {
namespace {

using guestapi::ContainerSpec;
using guestapi::GuestSpec;
using guestapi::Handler;
using guestapi::Probe;
using guestapi::RestartPolicy;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr auto kAlways = RestartPolicy::kAlways;
constexpr auto kOnFailure = RestartPolicy::kOnFailure;
constexpr auto kNever = RestartPolicy::kNever;

Probe Every(int period, int failures = 1, int delay = 0, int successes = 1) {
  return {.initial_delay = delay, .period = period, .success_threshold = successes, .failure_threshold = failures};
}

TEST(Probes, ReadinessComesAndGoesByItsThresholds) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "")});
  spec.containers[0].readiness = Every(10, 2, 5, 3);
  Pod pod(spec);
  pod.Answer("c/readiness", "ssssfsffs");
  pod.Pass(absl::Seconds(24));
  EXPECT_EQ(pod.TakeProbes(), "c/readiness@5 c/readiness@15") << "the first after the delay";
  EXPECT_EQ(pod.View(), "c=Running/started");
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(pod.View(), "c=Running/ready") << "three in a row";
  pod.Pass(absl::Seconds(30));
  EXPECT_EQ(pod.TakeProbes(), "c/readiness@25 c/readiness@35 c/readiness@45 c/readiness@55");
  EXPECT_EQ(pod.View(), "c=Running/ready") << "one failure is not two";
  pod.Pass(absl::Seconds(20));
  EXPECT_EQ(pod.View(), "c=Running/started");
  EXPECT_EQ(pod.TakeLog(), "c@0") << "a container that is not ready is not restarted";
}

TEST(Probes, FailuresAreToldAndRepetitionsCounted) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "")});
  spec.containers[0].readiness = Every(10, 3);
  Pod pod(spec);
  pod.Answer("c/readiness", "fwefffffff");
  pod.Pass(absl::Seconds(25));
  EXPECT_THAT(
      pod.TakeEvents(),
      ElementsAre("Created c: Container created", "Started c: Container started",
                  "!Unhealthy c: Readiness probe failed: output", "!ProbeWarning c: Readiness probe warning: output",
                  "!Unhealthy c: Readiness probe errored and resulted in unknown state: output"));
  const int64_t before = pod.State().sequence;
  pod.Pass(absl::Seconds(30));
  EXPECT_EQ(pod.State().events.back().count, 4);
  EXPECT_EQ(pod.State().sequence, before + 1) << "the loss of readiness, but no snapshot for each repetition";
  pod.Pass(absl::Seconds(20));
  EXPECT_EQ(pod.State().sequence, before + 2) << "once a minute";
}

TEST(Probes, AnErrorSaysNothingOfTheContainer) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "")});
  spec.containers[0].liveness = Every(1, 2);
  Pod pod(spec);
  pod.Answer("c/liveness", "fefes");
  pod.Pass(absl::Seconds(10));
  EXPECT_EQ(pod.TakeLog(), "c@0 TERM:c@2 c@2") << "two failures with an error between them";
}

TEST(Probes, ASlowProbeDelaysTheNext) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "")});
  spec.containers[0].readiness = Every(2);
  Pod pod(spec);
  pod.Answer("c/readiness", "s", absl::Seconds(5));
  pod.Pass(absl::Seconds(11));
  EXPECT_EQ(pod.TakeProbes(), "c/readiness@0 c/readiness@5 c/readiness@10") << "never two at once";
}

TEST(Probes, StartupHoldsBackTheOthersAndIsAskedOnce) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "")});
  spec.containers[0].startup = Every(3, 10);
  spec.containers[0].liveness = Every(4, 1, 2);
  spec.containers[0].readiness = Every(5);
  Pod pod(spec);
  pod.Answer("c/startup", "ffs");
  pod.Pass(absl::Seconds(5));
  EXPECT_EQ(pod.View(), "c=Running");
  EXPECT_EQ(pod.TakeProbes(), "c/startup@0 c/startup@3");
  pod.Pass(absl::Seconds(7));
  EXPECT_EQ(pod.View(), "c=Running/ready");
  EXPECT_EQ(pod.TakeProbes(), "c/startup@6 c/liveness@6 c/readiness@6 c/liveness@10 c/readiness@11")
      << "their delays count from the start of the container";
}

TEST(Probes, AFailedStartupRestartsTheContainer) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "ignore-term; sleep infinity")});
  spec.containers[0].startup = Every(1, 3);
  spec.containers[0].startup->grace_seconds = 4;
  Pod pod(spec);
  pod.Answer("c/startup", "f");
  pod.Pass(absl::Seconds(7));
  EXPECT_EQ(pod.TakeLog(), "c@0 TERM:c@2 KILL:c@6 c@6") << "the probe's own grace";
  EXPECT_EQ(pod.TakeProbes(), "c/startup@0 c/startup@1 c/startup@2 c/startup@6 c/startup@7");
  EXPECT_EQ(pod.View(), "c=Running*1");
  EXPECT_EQ(pod.State().containers[0].last->exit_code, 137);
  auto events = pod.TakeEvents();
  EXPECT_THAT(events, ::testing::Contains("Killing c: Container c failed startup probe, will be restarted"));
}

TEST(Probes, LivenessRestartsByThePolicyAndWithThePodsGrace) {
  struct Case {
    RestartPolicy policy;
    std::string log, view, event;
    bool finished;
  } cases[] = {
      {kAlways, "c@0 TERM:c@3 KILL:c@8 c@8", "c=Running/ready*1",
       "Killing c: Container c failed liveness probe, will be restarted", false},
      {kOnFailure, "c@0 TERM:c@3 KILL:c@8 c@8", "c=Running/ready*1",
       "Killing c: Container c failed liveness probe, will be restarted", false},
      {kNever, "c@0 TERM:c@3 KILL:c@8", "c=Error(137)", "Killing c: Container c failed liveness probe", true},
  };
  for (const Case& c : cases) {
    GuestSpec spec = PodSpec(c.policy, {Container("c", "ignore-term; sleep infinity")});
    spec.grace_seconds = 5;
    spec.containers[0].liveness = Every(3);
    Pod pod(spec);
    pod.Answer("c/liveness", "sfs");
    pod.Pass(absl::Seconds(9));
    EXPECT_EQ(pod.TakeLog(), c.log);
    EXPECT_EQ(pod.View(), c.view);
    EXPECT_THAT(pod.TakeEvents(),
                ::testing::IsSupersetOf({std::string("!Unhealthy c: Liveness probe failed: output"), c.event}));
    EXPECT_EQ(pod.finished(), c.finished);
  }
}

TEST(Probes, OneThatWasKilledByItsProbeIsRestartedEvenIfItEndsWell) {
  GuestSpec spec = PodSpec(kOnFailure, {Container("c", "trap 'exit 0' TERM; sleep infinity")});
  spec.containers[0].liveness = Every(1);
  Pod pod(spec);
  pod.Answer("c/liveness", "sfs");
  pod.Pass(absl::Seconds(5));
  EXPECT_EQ(pod.TakeLog(), "c@0 TERM:c@1 c@1");
  EXPECT_FALSE(pod.finished());
}

TEST(Probes, ARestartForgetsResultsAndBackOffCounts) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "")});
  spec.containers[0].liveness = Every(1);
  spec.containers[0].readiness = Every(100);
  Pod pod(spec);
  pod.Answer("c/liveness", "f");
  pod.Answer("c/readiness", "s-");
  pod.Pass(absl::Seconds(29));
  EXPECT_EQ(pod.TakeLog(), "c@0 TERM:c@0 c@0 TERM:c@0 c@10 TERM:c@10");
  EXPECT_EQ(pod.View(), "c=CrashLoopBackOff*2");
  EXPECT_THAT(pod.TakeEvents(),
              ::testing::Contains("!BackOff c: Back-off restarting failed container c in pod pod_default(uid)"));
  pod.Answer("c/liveness", "s");
  pod.Pass(absl::Seconds(10));
  EXPECT_EQ(pod.View(), "c=Running/started*3") << "ready before, but not in this run";
}

TEST(Probes, WhileAPodIsStoppedOnlyReadinessIsAskedFor) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "ignore-term; sleep infinity")});
  spec.containers[0].liveness = Every(2);
  spec.containers[0].readiness = Every(3);
  Pod pod(spec);
  pod.Answer("c/readiness", "ssf");
  pod.Pass(absl::Seconds(5));
  pod.TakeProbes();
  pod.Stop(10);
  pod.Answer("c/liveness", "f");
  EXPECT_EQ(pod.View(), "c=Running/ready");
  pod.Pass(absl::Seconds(5));
  EXPECT_EQ(pod.TakeProbes(), "c/readiness@6 c/readiness@9");
  EXPECT_EQ(pod.View(), "c=Running/started");
  pod.Pass(absl::Seconds(30));
  EXPECT_EQ(pod.TakeLog(), "c@0 TERM:c@5 KILL:c@15");
}

TEST(Probes, AnswersOfOtherRunsChangeNothing) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "")});
  spec.containers[0].readiness = Every(10);
  Pod pod(spec);
  pod.Answer("c/readiness", "-");
  pod.Pass(absl::Seconds(1));
  const int64_t before = pod.State().sequence;
  pod.Step(ProbeDone{.run_id = "run-7", .kind = ProbeKind::kReadiness});
  pod.Step(ProbeDone{.run_id = "run-1", .kind = ProbeKind::kLiveness});
  pod.Step(HookDone{.run_id = "run-1", .kind = HookKind::kPostStart});
  EXPECT_EQ(pod.State().sequence, before);
  pod.Step(ProbeDone{.run_id = "run-1", .kind = ProbeKind::kReadiness});
  EXPECT_EQ(pod.View(), "c=Running/ready");
  pod.Step(
      ProbeDone{.run_id = "run-1", .kind = ProbeKind::kReadiness, .result = {HandlerResult::Outcome::kFailure, ""}});
  EXPECT_EQ(pod.View(), "c=Running/ready") << "an answer that nobody waits for";
}

TEST(Probes, ASidecarsStartupHoldsUpWhatFollows) {
  GuestSpec spec = PodSpec(kNever, {Sidecar("s", ""), Init("i", "sleep 1"), Container("c", "sleep 10")});
  spec.containers[0].startup = Every(2, 5);
  Pod pod(spec);
  pod.Answer("s/startup", "ffs");
  pod.Pass(absl::Seconds(20));
  EXPECT_EQ(pod.TakeLog(), "s@0 i@4 c@5 TERM:s@15");
}

TEST(Probes, ASidecarThatFailsItsProbeIsRestartedInAnyPod) {
  GuestSpec spec = PodSpec(kNever, {Sidecar("s", ""), Container("c", "sleep 10")});
  spec.containers[0].liveness = Every(2);
  Pod pod(spec);
  pod.Answer("s/liveness", "sfs");
  pod.Pass(absl::Seconds(5));
  EXPECT_EQ(pod.TakeLog(), "s@0 c@0 TERM:s@2 s@2");
  EXPECT_THAT(pod.TakeEvents(), ::testing::Contains("Killing s: Init container s failed liveness probe"));
}

TEST(Policy, AContainersOwnCountsBeforeThePods) {
  GuestSpec spec = PodSpec(kAlways, {Container("once", "sleep 1; exit 1"), Container("c", "sleep 3; exit 1")});
  spec.containers[0].restart_policy = kNever;
  spec.containers[1].restart_policy = kOnFailure;
  Pod pod(spec);
  pod.Pass(absl::Seconds(4));
  EXPECT_EQ(pod.TakeLog(), "once@0 c@0 c@3");
  EXPECT_EQ(pod.View(), "once=Error(1) c=Running/ready*1");

  GuestSpec init = PodSpec(kNever, {Init("i", "sleep 1; exit 1"), Container("c", "")});
  init.containers[0].restart_policy = kOnFailure;
  Pod again(init);
  again.Pass(absl::Seconds(3));
  EXPECT_EQ(again.View(), "i=CrashLoopBackOff*1 c=PodInitializing");
}

TEST(Policy, RulesOfExitCodesCountBeforeIt) {
  GuestSpec spec = PodSpec(kNever, {Container("a", "sleep 1; exit 42"), Container("b", "sleep 1; exit 3")});
  spec.containers[0].restart_rules = {{.exit_codes = {41, 42}}};
  spec.containers[1].restart_rules = {{.negated = true, .exit_codes = {0, 3}}};
  Pod pod(spec);
  pod.Pass(absl::Seconds(2));
  EXPECT_EQ(pod.View(), "a=CrashLoopBackOff*1 b=Error(3)");
}

TEST(Hooks, AContainerRunsOnceItsPostStartHasEnded) {
  GuestSpec spec = PodSpec(kAlways, {Container("a", ""), Container("b", "")});
  spec.containers[0].post_start.emplace();
  spec.containers[0].readiness = Every(10, 1, 5);
  Pod pod(spec);
  pod.Answer("a/postStart", "s", absl::Seconds(8));
  pod.Pass(absl::Seconds(7));
  EXPECT_EQ(pod.View(), "a=ContainerCreating b=ContainerCreating") << "one after another, as the kubelet does";
  EXPECT_EQ(pod.TakeProbes(), "");
  pod.Pass(absl::Seconds(2));
  EXPECT_EQ(pod.View(), "a=Running/ready b=Running/ready");
  EXPECT_EQ(pod.TakeLog(), "a@0 a/postStart@0 b@8");
  EXPECT_EQ(pod.TakeProbes(), "a/readiness@8") << "the delay counts from the start";
  EXPECT_EQ(pod.State().containers[0].started_at, absl::FromUnixSeconds(1767225600));
}

TEST(Hooks, APostStartThatFailsKillsTheContainer) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "ignore-term; sleep infinity")});
  spec.grace_seconds = 3;
  spec.containers[0].post_start.emplace();
  spec.containers[0].pre_stop.emplace();
  Pod pod(spec);
  pod.Answer("c/postStart", "fs", absl::Seconds(1));
  pod.Pass(absl::Seconds(6));
  EXPECT_EQ(pod.TakeLog(), "c@0 c/postStart@0 c/preStop@1 TERM:c@1 KILL:c@4 c@4 c/postStart@4");
  EXPECT_EQ(pod.View(), "c=Running/ready*1");
  EXPECT_EQ(pod.State().containers[0].last->exit_code, 137);
  EXPECT_THAT(pod.TakeEvents(),
              ElementsAre("!FailedPostStartHook c: PostStartHook failed", "Killing c: FailedPostStartHook",
                          "Created c: Container created", "Started c: Container started"));

  GuestSpec never = spec;
  never.restart_policy = kNever;
  Pod once(never);
  once.Answer("c/postStart", "f");
  once.Pass(absl::Seconds(6));
  EXPECT_EQ(once.View(), "c=Error(137)");
  EXPECT_TRUE(once.finished());
}

TEST(Hooks, AContainerThatEndsDuringItsPostStartHasRun) {
  GuestSpec spec = PodSpec(kNever, {Container("c", "sleep 2; exit 3")});
  spec.containers[0].post_start.emplace();
  Pod pod(spec);
  pod.Answer("c/postStart", "s", absl::Seconds(60));
  pod.Pass(absl::Seconds(5));
  EXPECT_EQ(pod.View(), "c=Error(3)");
  EXPECT_EQ(pod.State().containers[0].finished_at - pod.State().containers[0].started_at, absl::Seconds(2));
  EXPECT_TRUE(pod.finished());
  pod.Pass(absl::Seconds(100));
}

TEST(Hooks, PreStopRunsWithinTheGrace) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "ignore-term; sleep infinity")});
  spec.containers[0].pre_stop.emplace();
  struct Case {
    int takes;
    std::string script, log;
  } cases[] = {
      {0, "s", "c/preStop@1 TERM:c@1 KILL:c@11"},
      {4, "s", "c/preStop@1 TERM:c@5 KILL:c@11"},
      {4, "f", "c/preStop@1 TERM:c@5 KILL:c@11"},
      {9, "s", "c/preStop@1 TERM:c@10 KILL:c@12"},   // at least two seconds after TERM
      {60, "s", "c/preStop@1 TERM:c@11 KILL:c@13"},  // it used up the grace
  };
  for (const Case& c : cases) {
    Pod pod(spec);
    pod.Answer("c/preStop", c.script, absl::Seconds(c.takes));
    pod.Pass(absl::Seconds(1));
    pod.TakeLog();
    pod.TakeEvents();
    pod.Stop(10);
    pod.Pass(absl::Seconds(60));
    EXPECT_EQ(pod.TakeLog(), c.log);
    std::vector<std::string> events = {"Killing c: Stopping container c"};
    if (c.script == "f") events.push_back("!FailedPreStopHook c: PreStopHook failed");
    EXPECT_EQ(pod.TakeEvents(), events);
    EXPECT_TRUE(pod.finished());
  }
}

TEST(Hooks, AShorterGraceCutsPreStopShort) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "ignore-term; sleep infinity")});
  spec.containers[0].pre_stop.emplace();
  Pod pod(spec);
  pod.Answer("c/preStop", "-");
  pod.Pass(absl::Seconds(1));
  pod.Stop(100);
  pod.Pass(absl::Seconds(2));
  pod.Stop(5);
  pod.Pass(absl::Seconds(60));
  EXPECT_EQ(pod.TakeLog(), "c@0 c/preStop@1 TERM:c@8 KILL:c@10");

  Pod starting(spec);
  starting.Stop(100);
  starting.Pass(absl::Seconds(2));
  EXPECT_EQ(starting.TakeLog(), "c@0 TERM:c@0") << "stopped before its start: nothing to hook";
  EXPECT_TRUE(starting.finished());
}

TEST(Hooks, AllPreStopsRunAtOnceAndSidecarsWaitForTheirTurn) {
  GuestSpec spec =
      PodSpec(kAlways, {Sidecar("s1", ""), Sidecar("s2", ""), Container("c", "on-term sleep 5; sleep infinity")});
  for (ContainerSpec& c : spec.containers) c.pre_stop.emplace();
  Pod pod(spec);
  pod.Answer("s1/preStop", "s", absl::Seconds(9));
  pod.Answer("c/preStop", "s", absl::Seconds(2));
  pod.Pass(absl::Seconds(1));
  pod.TakeLog();
  pod.Stop(30);
  pod.Pass(absl::Seconds(60));
  EXPECT_EQ(pod.TakeLog(), "s1/preStop@1 s2/preStop@1 c/preStop@1 TERM:c@3 TERM:s2@8 TERM:s1@10");
  EXPECT_TRUE(pod.finished());
}

TEST(Hooks, GraceZeroRunsNone) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "")});
  spec.containers[0].pre_stop.emplace();
  Pod pod(spec);
  pod.Pass(absl::Seconds(1));
  pod.Stop(0);
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(pod.TakeLog(), "c@0 KILL:c@1");
  EXPECT_TRUE(pod.finished());
}

TEST(Hooks, AProbesKillRunsPreStop) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "")});
  spec.containers[0].pre_stop.emplace();
  spec.containers[0].liveness = Every(5, 1, 5);
  spec.containers[0].liveness->grace_seconds = 20;
  Pod pod(spec);
  pod.Answer("c/liveness", "fs");
  pod.Answer("c/preStop", "s", absl::Seconds(3));
  pod.Pass(absl::Seconds(9));
  EXPECT_EQ(pod.TakeLog(), "c@0 c/preStop@5 TERM:c@8 c@8");
  EXPECT_EQ(pod.TakeProbes(), "c/liveness@5") << "not while it is being killed";
  // A stop while the probe's grace runs may only shorten it.
  Pod stopped(spec);
  stopped.Answer("c/liveness", "f");
  stopped.Answer("c/preStop", "-");
  stopped.Pass(absl::Seconds(6));
  stopped.Stop(3);
  stopped.Pass(absl::Seconds(60));
  EXPECT_EQ(stopped.TakeLog(), "c@0 c/preStop@5 TERM:c@9");
  EXPECT_TRUE(stopped.finished());
}

TEST(Images, AnotherImageRestartsWhatRuns) {
  GuestSpec spec = PodSpec(kNever, {Init("i", "exit 0"), Container("c", "sleep 100"), Container("done", "exit 0")});
  for (ContainerSpec& c : spec.containers) c.image = "a:1";
  Pod pod(spec);
  pod.Pass(absl::Seconds(5));
  pod.TakeLog();
  for (ContainerSpec& c : spec.containers) c.image = "a:2";
  spec.revision = 2;
  pod.Apply(spec);
  pod.Pass(absl::Seconds(5));
  EXPECT_EQ(pod.TakeLog(), "TERM:c@5 c@5") << "what has ended for good stays so";
  EXPECT_EQ(pod.View(), "i=Completed(0) c=Running/ready*1 done=Completed(0)");
  EXPECT_THAT(pod.TakeEvents(), ::testing::Contains("Killing c: Container c definition changed, will be restarted"));
}

TEST(Images, OneThatCannotBeStartedRestartsNothing) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "")});
  Pod pod(spec);
  pod.Pass(absl::Seconds(1));
  spec.containers[0].image = "a:2";
  spec.containers[0].config_error = "image a:2 is not in this VM";
  spec.revision = 2;
  pod.Apply(spec);
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(pod.View(), "c=Running/ready");
  spec.containers[0].config_error.clear();
  spec.revision = 3;
  pod.Apply(spec);
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(pod.TakeLog(), "c@0 TERM:c@2 c@2");
}

TEST(Images, OneThatIsNotThereYetIsWaitedForByWhatHasEndedOnly) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "sleep 10; exit 1")});
  spec.containers[0].image = "a:1";
  Pod pod(spec);
  pod.Pass(absl::Seconds(1));
  spec.containers[0].image = "a:2";
  spec.containers[0].awaits_image = true;
  spec.revision = 2;
  pod.Apply(spec);
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(pod.View(), "c=Running/ready");
  pod.Pass(absl::Seconds(10));
  EXPECT_EQ(pod.View(), "c=ContainerCreating");
  EXPECT_EQ(pod.State().containers[0].last->exit_code, 1);
  spec.containers[0].awaits_image = false;
  spec.revision = 3;
  pod.Apply(spec);
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(pod.View(), "c=Running/ready*1");
  EXPECT_EQ(pod.TakeLog(), "c@0 c@12");
}

TEST(Images, OneThatComesWhileTheOtherRunsReplacesIt) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "")});
  spec.containers[0].image = "a:1";
  Pod pod(spec);
  pod.Pass(absl::Seconds(1));
  for (const bool awaits : {true, false}) {
    spec.containers[0].image = "a:2";
    spec.containers[0].awaits_image = awaits;
    ++spec.revision;
    pod.Apply(spec);
    pod.Pass(absl::Seconds(1));
  }
  EXPECT_EQ(pod.TakeLog(), "c@0 TERM:c@2 c@2");
}

TEST(Events, AreBoundedAndTheNewestStay) {
  Pod pod(PodSpec(kAlways, {Container("c", "")}));
  pod.Pass(absl::Seconds(1));
  EventRing ring;
  for (int i = 0; i < 40; ++i) {
    EXPECT_TRUE(ring.Add({.container = "c", .reason = "R", .message = absl::StrCat(i), .at = absl::UnixEpoch()}));
  }
  ASSERT_EQ(ring.events().size(), EventRing::kMaxEvents);
  EXPECT_EQ(ring.events().back().message, "39");
  EXPECT_EQ(ring.events().back().number, 40);
  EXPECT_EQ(ring.events().front().number, 25);
  EXPECT_FALSE(ring.Add({.container = "c", .reason = "R", .message = "30", .at = absl::UnixEpoch()}));
  EXPECT_EQ(ring.events().back().number, 41);
  EXPECT_EQ(ring.events().back().count, 2);
  EXPECT_EQ(ring.events().size(), EventRing::kMaxEvents);
}

TEST(Events, LongMessagesAreCutBetweenCharacters) {
  std::string text(EventRing::kMaxMessage - 1, 'x');
  text += "é";
  EventRing ring;
  ring.Add({.reason = "R", .message = text});
  EXPECT_EQ(ring.events()[0].message.size(), EventRing::kMaxMessage - 1);
}

TEST(Deadline, IsTold) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "")});
  spec.active_deadline_seconds = 10;
  Pod pod(spec);
  pod.Pass(absl::Seconds(20));
  EXPECT_THAT(pod.TakeEvents(),
              ::testing::Contains("DeadlineExceeded: Pod was active on the node longer than the specified deadline"));
}

}  // namespace
}  // namespace vck::tether
