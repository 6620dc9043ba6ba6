#include "kubeapi/pod_view.h"

#include <gtest/gtest.h>

#include "kubeapi/node_view.h"

namespace vck::kubeapi {
namespace {

constexpr std::string_view kPod =
    R"({"metadata":{"name":"web-0","namespace":"shop","uid":"u-1","generation":3,"resourceVersion":"77",
  "deletionTimestamp":"2026-01-01T00:00:30Z","deletionGracePeriodSeconds":30,"annotations":{"kubernetes.io/config.mirror":"x"}},
 "spec":{"nodeName":"n1","restartPolicy":"OnFailure","terminationGracePeriodSeconds":5,"os":{"name":"linux"},"hostNetwork":true,
  "initContainers":[{"name":"i"},{"name":"s","restartPolicy":"Always"}],
  "containers":[{"name":"c","image":"busybox","command":["sh"],"ports":[{"containerPort":80}],"resources":{"limits":{"cpu":"1","memory":"oops"}}}],
  "ephemeralContainers":[{"name":"e"}]},
 "status":{"phase":"Running","podIP":"10.0.0.1","conditions":[{"type":"Ready","status":"True"}],
  "containerStatuses":[{"name":"c","state":{"running":{}}}]}})";

TEST(PodView, ReadsAPod) {
  auto document = json::Document::Parse(kPod);
  PodView pod(document->root());
  EXPECT_EQ(pod.name(), "web-0");
  EXPECT_EQ(pod.ns(), "shop");
  EXPECT_EQ(pod.generation(), 3);
  EXPECT_TRUE(pod.deleting());
  EXPECT_EQ(pod.deletion_grace_seconds(), 30);
  EXPECT_EQ(pod.deletion_timestamp(), absl::FromUnixSeconds(1767225630));
  EXPECT_EQ(pod.restart_policy(), RestartPolicy::kOnFailure);
  EXPECT_EQ(pod.termination_grace_seconds(), 5);
  EXPECT_TRUE(pod.host_network());
  EXPECT_TRUE(pod.is_mirror());
  EXPECT_FALSE(pod.is_static());
  EXPECT_EQ(pod.phase(), PodPhase::kRunning);
  EXPECT_TRUE(pod.HasRun());
  EXPECT_TRUE(pod.AnyRunning());
  std::string seen;
  pod.ForEachContainer(
      [&](const ContainerView& c) { seen += absl::StrCat(c.name(), static_cast<int>(c.kind()), " "); });
  EXPECT_EQ(seen, "i0 s1 c2 e3 ");
  ContainerView c(pod.containers()[0], ContainerView::Kind::kMain);
  EXPECT_EQ(c.Request("cpu")->Value(), 1);  // by the limit
  EXPECT_FALSE(c.Limit("memory"));          // malformed
  EXPECT_NE(pod.ContainerStatus(ContainerView::Kind::kMain, "c"), nullptr);
  EXPECT_EQ(pod.ContainerStatus(ContainerView::Kind::kInit, "c"), nullptr);
}

TEST(PodView, AbsentFieldsReadAsDefaults) {
  for (std::string_view text :
       {"{}", "null", "[]", R"({"metadata":[],"spec":3,"status":"x"})", R"({"spec":{"containers":{"a":1}}})"}) {
    auto document = json::Document::Parse(text);
    PodView pod(document->root());
    EXPECT_EQ(pod.name(), "");
    EXPECT_FALSE(pod.deleting());
    EXPECT_EQ(pod.restart_policy(), RestartPolicy::kAlways);
    EXPECT_EQ(pod.termination_grace_seconds(), 30);
    EXPECT_FALSE(pod.active_deadline_seconds());
    EXPECT_EQ(pod.phase(), PodPhase::kUnknown);
    EXPECT_FALSE(pod.HasRun());
    EXPECT_TRUE(pod.containers().empty());
  }
}

TEST(PodView, HostnameIsCutAsTheKubeletDoes) {
  auto document = json::Document::Parse(absl::StrCat(R"({"metadata":{"name":")", std::string(62, 'a'), R"(-.bcd"}})"));
  EXPECT_EQ(PodView(document->root()).hostname(), std::string(62, 'a'));
  auto named = json::Document::Parse(R"({"metadata":{"name":"x"},"spec":{"hostname":"h"}})");
  EXPECT_EQ(PodView(named->root()).hostname(), "h");
}

TEST(NodeView, AllocatableFallsBackToCapacity) {
  auto document = json::Document::Parse(
      R"({"metadata":{"name":"n"},"status":{"capacity":{"cpu":"8","memory":"1Gi"},"allocatable":{"cpu":"7"}}})");
  NodeView node(document->root());
  EXPECT_EQ(node.Allocatable("cpu")->Value(), 7);
  EXPECT_EQ(node.Allocatable("memory")->ToBinaryString(), "1Gi");
  EXPECT_FALSE(node.Allocatable("pods"));
}

}  // namespace
}  // namespace vck::kubeapi
