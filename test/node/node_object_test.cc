#include "node/node_object.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vck::node {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

NodeIdentity Identity() {
  return {.name = "vch1",
          .vch_id = "id-1",
          .internal_ip = "10.0.0.9",
          .kubelet_port = 10250,
          .labels = {{"zone", "a"}},
          .taints = {{"virtual-kubelet.io/provider", "vsphere", "NoSchedule"}},
          .boot_id = "b",
          .machine_id = "m"};
}
NodeFacts Good() {
  NodeFacts f;
  f.capacity = {
      .cpu_millis = 64000, .memory_bytes = int64_t{256} << 30, .ephemeral_bytes = int64_t{1} << 40, .pods = 4000};
  f.allocatable = f.capacity;
  f.inventory_synced = f.has_pod_range = f.vcenter_ok = true;
  return f;
}
const absl::Time kNow = absl::FromUnixSeconds(1767225600);

std::string ConditionStatus(const json::Value& node, std::string_view type) {
  for (const auto& c : json::Items(json::Get(node, "status"), "conditions")) {
    if (json::String(c, "type") == type) return std::string(json::String(c, "status"));
  }
  return "(absent)";
}

TEST(NodeObject, NewNodeHasTaintsLabelsAndConditions) {
  auto node = json::Parse(BuildNode(Identity(), Good(), nullptr, {}, kNow));
  ASSERT_TRUE(node.ok());
  EXPECT_EQ(json::String(json::Path(*node, {"metadata", "labels"}), "type"), "virtual-kubelet");
  EXPECT_EQ(json::String(json::Path(*node, {"metadata", "labels"}), "zone"), "a");
  EXPECT_EQ(json::String(json::Items(json::Get(*node, "spec"), "taints").at(0), "effect"), "NoSchedule");
  EXPECT_EQ(ConditionStatus(*node, "Ready"), "True");
  EXPECT_EQ(ConditionStatus(*node, "VCenterUnavailable"), "False");
  EXPECT_EQ(json::String(json::Path(*node, {"status", "capacity"}), "cpu"), "64");
}

TEST(NodeObject, RecreatedNodeKeepsWhatPeopleSet) {
  auto old = json::Parse(
      R"({"metadata":{"name":"vch1","labels":{"team":"x","node-restriction.kubernetes.io/a":"b","type":"other"},
    "annotations":{"note":"keep"}},"spec":{"podCIDR":"10.4.0.0/20","podCIDRs":["10.4.0.0/20"],"unschedulable":true,
    "taints":[{"key":"mine","effect":"NoExecute"}]}})");
  auto node = json::Parse(BuildNode(Identity(), Good(), &*old, {}, kNow));
  ASSERT_TRUE(node.ok());
  const auto* labels = json::Path(*node, {"metadata", "labels"});
  EXPECT_EQ(json::String(labels, "team"), "x");
  EXPECT_EQ(json::String(labels, "type"), "virtual-kubelet");
  EXPECT_EQ(json::String(labels, "node-restriction.kubernetes.io/a"), "") << "admission would refuse the whole node";
  EXPECT_EQ(json::String(json::Path(*node, {"metadata", "annotations"}), "note"), "keep");
  EXPECT_EQ(json::String(json::Get(*node, "spec"), "podCIDR"), "10.4.0.0/20");
  ASSERT_EQ(json::Items(json::Get(*node, "spec"), "taints").size(), 1u) << "taints are set at the first creation only";
  EXPECT_EQ(json::String(json::Items(json::Get(*node, "spec"), "taints").at(0), "key"), "mine");
  EXPECT_TRUE(json::Bool(json::Get(*node, "spec"), "unschedulable"));
}

TEST(NodeObject, StatusPatchOnlyWhenSomethingChangedOrTheHeartbeatIsOld) {
  auto node = json::Parse(BuildNode(Identity(), Good(), nullptr, {}, kNow));
  EXPECT_EQ(BuildStatusPatch(Identity(), Good(), *node, {}, kNow + absl::Seconds(10)), std::nullopt);
  EXPECT_TRUE(BuildStatusPatch(Identity(), Good(), *node, {}, kNow + absl::Minutes(5)).has_value());
  NodeFacts bigger = Good();
  bigger.allocatable.cpu_millis += 500;
  auto patch = BuildStatusPatch(Identity(), bigger, *node, {}, kNow + absl::Seconds(10));
  ASSERT_TRUE(patch.has_value());
  EXPECT_THAT(*patch, HasSubstr("\"cpu\":\"64500m\""));
  EXPECT_THAT(*patch, Not(HasSubstr("taints")));
  EXPECT_THAT(*patch, HasSubstr("\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"")) << "nothing flipped";
}

TEST(NodeObject, ImagesAreToldOnceTheyAreKnown) {
  const auto images = [](const json::Value& node) {
    return json::Serialize(json::Items(json::Get(node, "status"), "images"));
  };
  NodeFacts facts = Good();
  facts.images.emplace();
  auto node = json::Parse(BuildNode(Identity(), facts, nullptr, {}, kNow));
  EXPECT_EQ(json::Path(*node, {"status", "images"}), nullptr);
  EXPECT_EQ(BuildStatusPatch(Identity(), facts, *node, {}, kNow), std::nullopt) << "the API server keeps no empty list";
  facts.images->push_back({.names = {"a@sha256:1", "a:1"}, .bytes = 7});
  auto patch = BuildStatusPatch(Identity(), facts, *node, {}, kNow);
  ASSERT_TRUE(patch.has_value());
  EXPECT_EQ(images(*json::Parse(*patch)), R"([{"names":["a@sha256:1","a:1"],"sizeBytes":7}])");
  node = json::Parse(BuildNode(Identity(), facts, nullptr, {}, kNow));
  EXPECT_EQ(BuildStatusPatch(Identity(), facts, *node, {}, kNow), std::nullopt);
  // Another run of the kubelet that has not read them yet.
  EXPECT_EQ(BuildStatusPatch(Identity(), Good(), *node, {}, kNow), std::nullopt);
  facts.images->clear();
  patch = BuildStatusPatch(Identity(), facts, *node, {}, kNow);
  ASSERT_TRUE(patch.has_value());
  EXPECT_THAT(*patch, HasSubstr(R"("images":[])"));
  // As many as the kubelet tells.
  facts.images->assign(60, {.names = std::vector<std::string>(9, "n"), .bytes = 1});
  node = json::Parse(BuildNode(Identity(), facts, nullptr, {}, kNow));
  const auto& told = json::Items(json::Get(*node, "status"), "images");
  ASSERT_EQ(told.size(), 50U);
  EXPECT_EQ(json::Items(told[0], "names").size(), 5U);
}

TEST(NodeObject, DeclaresWebSocketsWithAPortAndWithNoneDoesNot) {
  NodeIdentity closed = Identity();
  closed.kubelet_port = 0;
  auto open = json::Parse(BuildNode(Identity(), Good(), nullptr, {}, kNow));
  EXPECT_EQ(json::Serialize(*json::Path(*open, {"status", "declaredFeatures"})), R"(["ExtendWebSocketsToKubelet"])");
  auto none = json::Parse(BuildNode(closed, Good(), nullptr, {}, kNow));
  EXPECT_EQ(json::Path(*none, {"status", "declaredFeatures"}), nullptr);
  // A port that was closed since.
  auto patch = BuildStatusPatch(closed, Good(), *open, {}, kNow + absl::Seconds(10));
  ASSERT_TRUE(patch.has_value());
  EXPECT_THAT(*patch, HasSubstr(R"("declaredFeatures":null)"));
  // An API server that does not know the field is told again with each heartbeat, not each time.
  open->at("status").as_object().erase("declaredFeatures");
  EXPECT_EQ(BuildStatusPatch(Identity(), Good(), *open, {}, kNow + absl::Seconds(10)), std::nullopt);
  patch = BuildStatusPatch(Identity(), Good(), *open, {}, kNow + absl::Minutes(5));
  ASSERT_TRUE(patch.has_value());
  EXPECT_THAT(*patch, HasSubstr(R"("declaredFeatures":["ExtendWebSocketsToKubelet"])"));
}

TEST(NodeObject, VCenterOutageDoesNotTakeReadyAway) {
  NodeFacts facts = Good();
  facts.vcenter_ok = false;
  facts.vcenter_message = "connection refused";
  auto node = json::Parse(BuildNode(Identity(), facts, nullptr, {}, kNow));
  EXPECT_EQ(ConditionStatus(*node, "Ready"), "True");
  EXPECT_EQ(ConditionStatus(*node, "VCenterUnavailable"), "True");
}

TEST(NodeObject, ARefusedLoginIsToldAsSuch) {
  NodeFacts facts = Good();
  facts.vcenter_ok = false;
  facts.vcenter_refuses = true;
  facts.vcenter_message = "invalid login";
  std::string node = BuildNode(Identity(), facts, nullptr, {}, kNow);
  EXPECT_THAT(node, HasSubstr("\"VCenterRefusesLogin\""));
  EXPECT_THAT(node, Not(HasSubstr("VCenterDoesNotAnswer")));
}

TEST(NodeObject, NotReadyWithoutAddressesOrInventory) {
  NodeFacts facts = Good();
  facts.has_pod_range = false;
  EXPECT_EQ(ConditionStatus(*json::Parse(BuildNode(Identity(), facts, nullptr, {}, kNow)), "Ready"), "False");
  facts = Good();
  facts.inventory_synced = false;
  EXPECT_EQ(ConditionStatus(*json::Parse(BuildNode(Identity(), facts, nullptr, {}, kNow)), "Ready"), "False");
}

// What a kubelet knows just after its start.
NodeFacts Started() {
  NodeFacts f;
  f.has_pod_range = f.vcenter_connecting = true;
  return f;
}

void SetCondition(json::Value& node, std::string_view type, std::string_view status, std::string_view reason) {
  for (auto& c : node.at("status").at("conditions").as_array()) {
    if (json::String(c, "type") != type) continue;
    c.at("status") = status;
    c.at("reason") = reason;
  }
}

TEST(NodeObject, WhatVCenterToldStandsUntilItIsSeenAgain) {
  NodeFacts before = Good();
  before.vsphere_version = "VMware vCenter Server 8.0.3 build-1";
  before.datastore_free_ratio = 0.05;
  auto node = json::Parse(BuildNode(Identity(), before, nullptr, {}, kNow));
  EXPECT_EQ(BuildStatusPatch(Identity(), Started(), *node, {}, kNow + absl::Seconds(10)), std::nullopt);

  NodeFacts down = Started();
  down.vcenter_connecting = false;
  down.vcenter_message = "connection refused";
  auto patch = BuildStatusPatch(Identity(), down, *node, {}, kNow + absl::Seconds(20));
  ASSERT_TRUE(patch.has_value());
  auto sent = json::Parse(*patch);
  EXPECT_EQ(json::Path(*sent, {"status", "capacity"}), nullptr);
  EXPECT_EQ(json::Path(*sent, {"status", "allocatable"}), nullptr);
  EXPECT_EQ(ConditionStatus(*sent, "Ready"), "True");
  EXPECT_EQ(ConditionStatus(*sent, "DiskPressure"), "True");
  EXPECT_EQ(ConditionStatus(*sent, "VCenterUnavailable"), "True");
  EXPECT_THAT(*patch, HasSubstr("8.0.3"));
}

TEST(NodeObject, ARestartEndsUnknownOfANodeThatHasServed) {
  auto node = json::Parse(BuildNode(Identity(), Good(), nullptr, {}, kNow));
  for (const char* type : {"Ready", "MemoryPressure"}) SetCondition(*node, type, "Unknown", "NodeStatusUnknown");
  auto sent = json::Parse(*BuildStatusPatch(Identity(), Started(), *node, {}, kNow + absl::Seconds(60)));
  EXPECT_EQ(ConditionStatus(*sent, "Ready"), "True");
  EXPECT_EQ(ConditionStatus(*sent, "MemoryPressure"), "Unknown");
  EXPECT_THAT(json::Serialize(*sent), Not(HasSubstr("NodeStatusUnknown")));

  auto fresh = json::Parse(BuildNode(Identity(), Started(), nullptr, {}, kNow));
  SetCondition(*fresh, "Ready", "Unknown", "NodeStatusUnknown");
  sent = json::Parse(*BuildStatusPatch(Identity(), Started(), *fresh, {}, kNow + absl::Seconds(60)));
  EXPECT_EQ(ConditionStatus(*sent, "Ready"), "False") << "it has never had anything to give";
}

TEST(NodeObject, ANewNodeWithoutInventorySaysWhyItIsNotReady) {
  auto node = json::Parse(BuildNode(Identity(), Started(), nullptr, {}, kNow));
  EXPECT_EQ(ConditionStatus(*node, "Ready"), "False");
  NodeFacts told = Started();
  told.vcenter_message = "there is no datastore \"x\"";
  auto patch = BuildStatusPatch(Identity(), told, *node, {}, kNow + absl::Seconds(1));
  ASSERT_TRUE(patch.has_value());
  EXPECT_THAT(*patch, HasSubstr("have not been seen yet: there is no datastore"));
  auto bare = json::Parse(R"({"metadata":{"name":"vch1"},"status":{}})");
  auto sent = json::Parse(*BuildStatusPatch(Identity(), Started(), *bare, {}, kNow));
  EXPECT_EQ(ConditionStatus(*sent, "Ready"), "False");
  EXPECT_EQ(json::String(json::Path(*sent, {"status", "capacity"}), "cpu"), "0");
}

TEST(NodeObject, NodeDeletedDuringAnOutageComesBackWithItsResources) {
  auto node = json::Parse(BuildNode(Identity(), Good(), nullptr, {}, kNow));
  auto again = json::Parse(BuildNode(Identity(), Started(), &*node, {}, kNow + absl::Minutes(1)));
  EXPECT_EQ(ConditionStatus(*again, "Ready"), "True");
  EXPECT_EQ(json::String(json::Path(*again, {"status", "allocatable"}), "cpu"), "64");
}

TEST(NodeObject, PressureFollowsTheDatastoreAndMemory) {
  NodeFacts facts = Good();
  facts.datastore_free_ratio = 0.05;
  facts.memory_free_ratio = 0.01;
  auto node = json::Parse(BuildNode(Identity(), facts, nullptr, {}, kNow));
  EXPECT_EQ(ConditionStatus(*node, "DiskPressure"), "True");
  EXPECT_EQ(ConditionStatus(*node, "MemoryPressure"), "True");
  EXPECT_EQ(ConditionStatus(*node, "Ready"), "True");
}

TEST(NodeObject, MetadataPatchAddsOnlyWhatIsMissing) {
  auto node = json::Parse(BuildNode(Identity(), Good(), nullptr, {}, kNow));
  EXPECT_EQ(BuildMetadataPatch(Identity(), *node), std::nullopt);
  auto bare = json::Parse(R"({"metadata":{"labels":{"people":"yes"}},"spec":{"providerID":"x"}})");
  auto patch = BuildMetadataPatch(Identity(), *bare);
  ASSERT_TRUE(patch.has_value());
  EXPECT_THAT(*patch, Not(HasSubstr("people")));
  EXPECT_THAT(*patch, Not(HasSubstr("providerID")));
}

TEST(NodeObject, Taints) {
  EXPECT_EQ(*ParseTaint("a/b=c:NoExecute"), (Taint{"a/b", "c", "NoExecute"}));
  EXPECT_EQ(*ParseTaint("a:NoSchedule"), (Taint{"a", "", "NoSchedule"}));
  for (const char* bad : {"", "a", "a:Never", "=x:NoSchedule"}) EXPECT_FALSE(ParseTaint(bad).ok()) << bad;
}

TEST(NodeObject, LabelsThatANodeMaySet) {
  for (const char* ok :
       {"a", "x.example/y", "kubernetes.io/os", "topology.kubernetes.io/zone", "node.kubernetes.io/anything"}) {
    EXPECT_TRUE(MaySetOwnLabel(ok)) << ok;
  }
  for (const char* no :
       {"node-restriction.kubernetes.io/x", "kubernetes.io/foo", "node-role.kubernetes.io/worker", "a.k8s.io/b"}) {
    EXPECT_FALSE(MaySetOwnLabel(no)) << no;
  }
}

}  // namespace
}  // namespace vck::node
