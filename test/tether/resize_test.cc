// In-place resize: other resources for containers that run.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tether/lifecycle.h"
#include "tether/pod.h"

namespace vck::tether {
namespace {

using guestapi::GuestSpec;
using guestapi::RestartPolicy;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

GuestSpec Spec(int64_t memory, int64_t cpu = 500) {
  GuestSpec spec = PodSpec(RestartPolicy::kAlways, {Container("c", ""), Container("d", "")});
  spec.containers[0].memory_limit_bytes = spec.containers[0].memory_request_bytes = memory;
  spec.containers[0].cpu_limit_milli = cpu;
  return spec;
}

GuestSpec Next(GuestSpec spec) {
  spec.revision = 2;
  return spec;
}

guestapi::Resources Has(const Pod& pod) { return pod.State().containers[0].resources.value(); }

TEST(Resize, ARunningContainerGetsOtherLimits) {
  Pod pod(Spec(100));
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(Has(pod).memory_limit_bytes, 100);
  pod.TakeLog();
  pod.Apply(Next(Spec(200, 700)));
  EXPECT_EQ(Has(pod).memory_limit_bytes, 100) << "not before it has them";
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(pod.TakeLog(), "resize:c@1");
  EXPECT_EQ(Has(pod), Spec(200, 700).containers[0].resources());
  EXPECT_EQ(pod.View(), "c=Running/ready d=Running/ready");
  EXPECT_THAT(pod.TakeEvents(), Contains("ResizeCompleted c: Pod resize completed: container c"));
}

TEST(Resize, WhatDoesNotFitTheVmIsGivenToNobody) {
  Pod pod(Spec(100), {.cpu_milli = 1000, .memory_bytes = 250});
  pod.Pass(absl::Seconds(1));
  pod.TakeLog();
  GuestSpec next = Next(Spec(251, 700));
  next.generation = 2;
  pod.Apply(next);
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(pod.TakeLog(), "");
  EXPECT_EQ(Has(pod), Spec(100).containers[0].resources());
  EXPECT_THAT(pod.State().resize_infeasible, HasSubstr("memory, requested: 251, capacity: 250"));
  EXPECT_EQ(pod.State().generation, 2);
  EXPECT_THAT(pod.TakeEvents(), Contains(HasSubstr("!ResizeInfeasible: Pod resize Infeasible: The pod's VM")));
  // A reboot does not give it either.
  pod.Reboot();
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(Has(pod).memory_limit_bytes, 100);
  ++next.revision;
  pod.Apply(next);
  EXPECT_THAT(pod.State().resize_infeasible, HasSubstr("memory"));
  // What fits is given, and is no wish any more.
  next = Spec(250);
  next.revision = 4;
  pod.Apply(next);
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(Has(pod).memory_limit_bytes, 250);
  EXPECT_EQ(pod.State().resize_infeasible, "");
  next.containers[0].cpu_limit_milli = 1001;
  ++next.revision;
  pod.Apply(next);
  EXPECT_THAT(pod.State().resize_infeasible, HasSubstr("cpu, requested: 1001, capacity: 1000"));
}

TEST(Resize, APodThatNeverFitIsNotHeldUpByThat) {
  Pod pod(Spec(500), {.cpu_milli = 1000, .memory_bytes = 250});
  pod.Pass(absl::Seconds(1));
  pod.Apply(Next(Spec(400)));
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(Has(pod).memory_limit_bytes, 400);
}

TEST(Resize, ByRestartWhereThePolicySaysSo) {
  GuestSpec spec = Spec(100);
  spec.containers[0].restart_for_memory = true;
  Pod pod(spec);
  pod.Pass(absl::Seconds(1));
  pod.TakeLog();
  GuestSpec next = Next(Spec(200));
  next.containers[0].restart_for_memory = true;
  pod.Apply(next);
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(pod.TakeLog(), "TERM:c@1 c@1");
  EXPECT_EQ(pod.View(), "c=Running/ready*1 d=Running/ready");
  EXPECT_EQ(Has(pod).memory_limit_bytes, 200);
  EXPECT_THAT(pod.TakeEvents(), Contains("Killing c: Container c resize requires restart"));
  // The other resource needs none.
  next.containers[0].cpu_limit_milli = 900;
  ++next.revision;
  pod.Apply(next);
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(pod.TakeLog(), "resize:c@2");
}

TEST(Resize, AFailureIsToldAndTriedAgain) {
  Pod pod(Spec(100));
  pod.FailResizes("too much is in use");
  pod.Pass(absl::Seconds(1));
  pod.TakeLog();
  pod.Apply(Next(Spec(50)));
  pod.Pass(absl::Seconds(5));
  EXPECT_EQ(pod.State().resize_error, "too much is in use");
  EXPECT_EQ(Has(pod).memory_limit_bytes, 100);
  EXPECT_THAT(pod.TakeEvents(), Contains("!ResizeError c: Pod resize error: container c: too much is in use"));
  pod.FailResizes("");
  pod.Pass(absl::Seconds(10));
  EXPECT_EQ(pod.TakeLog(), "resize:c@1 resize:c@11");
  EXPECT_EQ(Has(pod).memory_limit_bytes, 50);
  EXPECT_THAT(pod.State().resize_error, IsEmpty());
}

TEST(Resize, AContainerThatIsBeingStartedGetsThemAfterwards) {
  GuestSpec spec = Spec(100);
  spec.containers[0].post_start.emplace();
  Pod pod;
  pod.Answer("c/postStart", "s", absl::Seconds(5));
  pod.Apply(spec);
  GuestSpec next = Next(spec);
  next.containers[0].set_resources(Spec(200).containers[0].resources());
  pod.Apply(next);
  pod.Pass(absl::Seconds(10));
  EXPECT_EQ(Has(pod).memory_limit_bytes, 200);
}

}  // namespace
}  // namespace vck::tether
