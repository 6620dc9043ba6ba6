#include "kubeapi/resources.h"

#include <gtest/gtest.h>

namespace vck::kubeapi {
namespace {

struct Parsed {
  explicit Parsed(std::string_view spec)
      : document(*json::Document::Parse(absl::StrCat(R"({"spec":)", spec, "}"))), pod(document.root()) {}
  json::Document document;
  PodView pod;
};

TEST(Resources, InitContainersRunOneByOne) {
  Parsed p(
      R"({"initContainers":[{"name":"a","resources":{"requests":{"cpu":"2","memory":"10Mi"}}},{"name":"b","resources":{"requests":{"cpu":"1"}}}],
    "containers":[{"name":"c","resources":{"requests":{"cpu":"500m","memory":"20Mi"}}},{"name":"d","resources":{"requests":{"cpu":"1"}}}]})");
  EXPECT_EQ(PodRequests(p.pod, "cpu").MilliValue(), 2000);
  EXPECT_EQ(PodRequests(p.pod, "memory").Value(), 20 << 20);
}

TEST(Resources, SidecarsRunBesideAllThatComesAfter) {
  Parsed p(R"({"initContainers":[{"name":"a","resources":{"requests":{"cpu":"3"}}},
    {"name":"s","restartPolicy":"Always","resources":{"requests":{"cpu":"1"}}},
    {"name":"b","resources":{"requests":{"cpu":"2500m"}}}],
    "containers":[{"name":"c","resources":{"requests":{"cpu":"2"}}}],"overhead":{"cpu":"100m"}})");
  EXPECT_EQ(PodRequests(p.pod, "cpu").MilliValue(), 3600);  // s + b, over a alone (3) and s + c (3)
}

TEST(Resources, PodLevelValuesComeFirst) {
  Parsed p(
      R"({"resources":{"limits":{"memory":"1Gi"}},"containers":[{"name":"c","resources":{"requests":{"memory":"10Mi"}}}]})");
  EXPECT_EQ(PodRequests(p.pod, "memory").ToBinaryString(), "1Gi");
  EXPECT_EQ(PodLimits(p.pod, "memory").ToBinaryString(), "1Gi");
  EXPECT_TRUE(AllLimited(p.pod, "memory"));
}

constexpr std::string_view kAsked = R"("spec":{
  "initContainers":[{"name":"i","resources":{"requests":{"cpu":"1"}}},
    {"name":"s","restartPolicy":"Always","resources":{"requests":{"cpu":"8"}}}],
  "containers":[{"name":"c","resources":{"requests":{"cpu":"4","memory":"1Gi"}}},{"name":"d","resources":{"requests":{"cpu":"1"}}}],
  "overhead":{"cpu":"100m"}})";
constexpr std::string_view kHas = R"(
  "initContainerStatuses":[{"name":"i","resources":{"requests":{"cpu":"64"}}},
    {"name":"s","resources":{"requests":{"cpu":"2"}},"allocatedResources":{"cpu":"2"}}],
  "containerStatuses":[{"name":"c","resources":{"requests":{"cpu":"500m","memory":"2Gi"}},"allocatedResources":{"cpu":"1"}},
    {"name":"d","allocatedResources":{"cpu":"64"}}])";

// A resize that is not done yet may still be, so the larger counts; d's kubelet says nothing of resources, and of an
// init container they never count.
TEST(Resources, WhatAPodHoldsIsTheLargerOfSpecAndStatus) {
  const auto document = json::Document::Parse(absl::StrCat("{", kAsked, R"(,"status":{)", kHas, "}}"));
  const PodView pod(document->root());
  EXPECT_EQ(HeldByPod(pod, "cpu").MilliValue(), 8000 + 4000 + 1000 + 100);
  EXPECT_EQ(HeldByPod(pod, "memory").ToBinaryString(), "2Gi");
  EXPECT_EQ(PodRequests(pod, "memory").ToBinaryString(), "1Gi");
}

TEST(Resources, WhatCannotBeGivenIsNotHeld) {
  const auto held = [](std::string_view reason) {
    const auto document = json::Document::Parse(
        absl::StrCat("{", kAsked, R"(,"status":{"conditions":[{"type":"PodResizePending","status":"True","reason":")",
                     reason, R"("}],)", kHas, "}}"));
    return HeldByPod(PodView(document->root()), "cpu").MilliValue();
  };
  EXPECT_EQ(held("Infeasible"), 2000 + 1000 + 1000 + 100);
  EXPECT_EQ(held("Deferred"), 8000 + 4000 + 1000 + 100);
}

TEST(Resources, APodWithoutStatusHoldsWhatItRequests) {
  const auto document = json::Document::Parse(absl::StrCat("{", kAsked, "}"));
  const PodView pod(document->root());
  EXPECT_EQ(HeldByPod(pod, "cpu"), PodRequests(pod, "cpu"));
}

TEST(Resources, CeilingTakesRequestsWhereNoLimitIs) {
  bool unstated = true;
  Parsed p(R"({"containers":[{"name":"a","resources":{"limits":{"memory":"1Gi"},"requests":{"memory":"1Mi"}}},
    {"name":"b","resources":{"requests":{"memory":"512Mi"}}}]})");
  EXPECT_EQ(PodCeiling(p.pod, "memory", &unstated).ToBinaryString(), "1536Mi");
  EXPECT_FALSE(unstated);
  EXPECT_FALSE(AllLimited(p.pod, "memory"));
  EXPECT_EQ(PodCeiling(p.pod, "cpu", &unstated), Quantity());
  EXPECT_TRUE(unstated);
}

TEST(Resources, QosClasses) {
  EXPECT_EQ(QosClass(Parsed(R"({"containers":[{"name":"a"}]})").pod), "BestEffort");
  EXPECT_EQ(QosClass(Parsed(R"({"containers":[{"name":"a","resources":{"requests":{"cpu":"1"}}}]})").pod), "Burstable");
  EXPECT_EQ(QosClass(Parsed(R"({"containers":[{"name":"a","resources":{"limits":{"cpu":"1","memory":"1Gi"}}}]})").pod),
            "Guaranteed");
  EXPECT_EQ(
      QosClass(
          Parsed(
              R"({"containers":[{"name":"a","resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"500m"}}}]})")
              .pod),
      "Burstable");
  EXPECT_EQ(
      QosClass(Parsed(R"({"containers":[{"name":"a","resources":{"limits":{"cpu":"1","memory":"1Gi"}}},{"name":"b"}]})")
                   .pod),
      "Burstable");
}

TEST(Resources, NamesAreListedOnce) {
  Parsed p(
      R"({"containers":[{"name":"a","resources":{"limits":{"cpu":"1","x.io/gpu":"1"}}},{"name":"b","resources":{"requests":{"cpu":"1"}}}]})");
  EXPECT_EQ(ResourceNames(p.pod), (std::vector<std::string_view>{"cpu", "x.io/gpu"}));
}

}  // namespace
}  // namespace vck::kubeapi
