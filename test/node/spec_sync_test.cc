// SpecSync with its References, Tokens and Services, against a fake API server.
#include "node/spec_sync.h"

#include "absl/strings/escaping.h"
#include "fake_api.h"
#include "gmock/gmock.h"

namespace vck::node {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class SpecSyncTest : public ::testing::Test {
 protected:
  SpecSyncTest() { api.Service("default", "kubernetes", "10.96.0.1"); }
  void Sync() {
    auto object = kube::Object::Parse(
        absl::StrCat(R"({"metadata":{"name":"p","namespace":"n","uid":"u","resourceVersion":"1","generation":)",
                     generation, R"(,"labels":{"app":")", label, R"("}},"spec":)", spec, R"(,"status":{"phase":")",
                     phase, R"(","startTime":)", start_time, "}}"));
    ASSERT_TRUE(object.ok()) << object.status();
    auto document = json::Document::Parse((*object)->json());
    kubeapi::PodView view(document->root());
    sync.Sync({.object = **object, .view = view, .ip = "10.0.0.5", .images = {}, .now = loop.clock().WallNow()},
              memory);
  }
  // Whatever comes is followed.
  void Settle() {
    for (int i = 0; i < 5; ++i) {
      Sync();
      loop.RunReady();
    }
    Sync();
  }
  [[nodiscard]] std::string File(size_t i = 0) const { return memory.spec->volumes.at(0).files.at(i).content; }

  FakeApi api;
  kube::ClientFixture fixture{[this](const http::Request& r) { return api(r); }};
  testing::Loop& loop = fixture.loop;
  std::vector<std::string> events, changed;
  int status_changes = 0, all_changed = 0;
  SpecSync sync{loop.executor(),
                fixture.client,
                {.changed = [this](const std::string& uid) { changed.push_back(uid); },
                 .all_changed = [this] { ++all_changed; },
                 .allocatable = [] { return podvm::Allocatable{.cpu_milli = 4000, .memory_bytes = 1 << 30}; },
                 .events = {.event = [this](const kube::Object&, bool, std::string reason,
                                            std::string message) { events.push_back(reason + ": " + message); },
                            .status_changed = [this](const std::string&) { ++status_changes; }}},
                {.node_name = "n1", .host_ip = "192.0.2.1", .dns = {.cluster_dns = {"10.96.0.10"}}}};
  PodMemory memory;
  int generation = 1;
  std::string label = "a", phase = "Pending", start_time = "null";
  std::string spec = R"({"serviceAccountName":"sa","volumes":[{"name":"v","configMap":{"name":"c"}}],
      "containers":[{"name":"c","volumeMounts":[{"name":"v","mountPath":"/v"}]}]})";
};

TEST_F(SpecSyncTest, WaitsForServicesThenResolves) {
  spec = R"({"containers":[{"name":"c"}]})";
  Sync();
  EXPECT_EQ(memory.spec, nullptr);
  EXPECT_TRUE(memory.unresolved.admitted());
  kube::Background run(loop, [](SpecSync* s) -> Task<> { (void)co_await s->Run(); }(&sync));
  loop.RunReady();
  EXPECT_EQ(all_changed, 1);
  Sync();
  ASSERT_NE(memory.spec, nullptr);
  EXPECT_EQ(memory.spec->containers[0].env.at(0).first, "KUBERNETES_PORT");
  EXPECT_THAT(events, IsEmpty());
}

TEST_F(SpecSyncTest, AMissingConfigMapIsToldAndAwaited) {
  kube::Background run(loop, [](SpecSync* s) -> Task<> { (void)co_await s->Run(); }(&sync));
  Settle();
  EXPECT_EQ(memory.spec, nullptr);
  EXPECT_EQ(memory.unresolved.reason, "ContainerCreating");
  EXPECT_THAT(events,
              ElementsAre("FailedMount: MountVolume.SetUp failed for volume \"v\" : configmap \"c\" not found"));
  EXPECT_EQ(status_changes, 1);
  changed.clear();
  api.ConfigMap("c", R"({"k":"1"})");
  loop.RunReady();
  EXPECT_THAT(changed, ElementsAre("u"));
  Settle();
  ASSERT_NE(memory.spec, nullptr);
  EXPECT_TRUE(memory.unresolved.admitted());
  EXPECT_EQ(File(), "1");
}

TEST_F(SpecSyncTest, WhatChangesMakesANewRevisionAndNothingElseDoes) {
  kube::Background run(loop, [](SpecSync* s) -> Task<> { (void)co_await s->Run(); }(&sync));
  api.ConfigMap("c", R"({"k":"1"})");
  Settle();
  ASSERT_NE(memory.spec, nullptr);
  int64_t revision = memory.spec->revision;
  label = "b";  // nobody asked for it
  api.Service("n", "web", "10.96.0.7");
  api.ConfigMap("c", R"({"k":"1"})");  // another resource version
  Settle();
  EXPECT_EQ(memory.spec->revision, revision);
  api.ConfigMap("c", R"({"k":"2"})");
  Settle();
  EXPECT_GT(memory.spec->revision, revision);
  EXPECT_EQ(File(), "2");
  revision = memory.spec->revision;
  generation = 2;
  Settle();
  EXPECT_GT(memory.spec->revision, revision) << "the guest reports the generation";
  revision = memory.spec->revision;
  memory.pushed_revision = revision;
  memory.spec.reset();  // the guest has it
  label = "c";
  Settle();
  EXPECT_EQ(memory.spec_revision, revision);
  EXPECT_EQ(memory.spec, nullptr);
  api.ConfigMap("c", R"({"k":"3"})");
  Settle();
  ASSERT_NE(memory.spec, nullptr);
  EXPECT_GT(memory.spec->revision, revision);
  EXPECT_EQ(File(), "3");
}

TEST_F(SpecSyncTest, ADeadlineCountsFromTheStartTimeOnceThereIsOne) {
  spec = R"({"activeDeadlineSeconds":60,"containers":[{"name":"c"}]})";
  kube::Background run(loop, [](SpecSync* s) -> Task<> { (void)co_await s->Run(); }(&sync));
  Settle();
  ASSERT_NE(memory.spec, nullptr);
  EXPECT_EQ(memory.spec->start_time, absl::InfinitePast());
  start_time = R"("2026-01-01T00:00:00Z")";
  Settle();
  EXPECT_EQ(memory.spec->start_time, absl::FromUnixSeconds(1767225600));
}

TEST_F(SpecSyncTest, LabelsReachTheFilesThatNameThem) {
  kube::Background run(loop, [](SpecSync* s) -> Task<> { (void)co_await s->Run(); }(&sync));
  spec = R"({"volumes":[{"name":"v","downwardAPI":{"items":[{"path":"l","fieldRef":{"fieldPath":"metadata.labels"}}]}}],
      "containers":[{"name":"c","volumeMounts":[{"name":"v","mountPath":"/v"}]}]})";
  Settle();
  EXPECT_EQ(File(), "app=\"a\"");
  const int64_t revision = memory.spec->revision;
  label = "b";
  Settle();
  EXPECT_EQ(File(), "app=\"b\"");
  EXPECT_GT(memory.spec->revision, revision);
}

TEST_F(SpecSyncTest, ARunningPodKeepsWhatItHasWhenItsConfigMapGoes) {
  kube::Background run(loop, [](SpecSync* s) -> Task<> { (void)co_await s->Run(); }(&sync));
  api.ConfigMap("c", R"({"k":"1"})");
  Settle();
  const int64_t revision = memory.spec->revision;
  api.Remove("namespaces/n/configmaps/c");
  Settle();
  EXPECT_EQ(memory.spec->revision, revision);
  EXPECT_TRUE(memory.unresolved.admitted());
  EXPECT_EQ(events.size(), 1u);
  api.ConfigMap("c", R"({"k":"1"})");
  Settle();
  EXPECT_EQ(memory.spec->revision, revision);
  api.Remove("namespaces/n/configmaps/c");
  Settle();
  EXPECT_EQ(events.size(), 2u) << "it happened again";
}

TEST_F(SpecSyncTest, TokensAreRenewedInTheGuest) {
  kube::Background run(loop, [](SpecSync* s) -> Task<> { (void)co_await s->Run(); }(&sync));
  spec =
      R"({"serviceAccountName":"sa","volumes":[{"name":"v","projected":{"sources":[{"serviceAccountToken":{"path":"token"}}]}}],
      "containers":[{"name":"c","volumeMounts":[{"name":"v","mountPath":"/v"}]}]})";
  Settle();
  EXPECT_EQ(File(), "t1");
  const int64_t revision = memory.spec->revision;
  loop.Advance(absl::Hours(1));
  Settle();
  EXPECT_EQ(File(), "t2");
  EXPECT_GT(memory.spec->revision, revision);
  EXPECT_THAT(events, IsEmpty());
}

TEST_F(SpecSyncTest, RefusalsBecomeEventsOnlyAfterAWhile) {
  api.refused["namespaces/n/configmaps/c"] = "no relationship found";
  kube::Background run(loop, [](SpecSync* s) -> Task<> { (void)co_await s->Run(); }(&sync));
  Settle();
  loop.Advance(absl::Seconds(2));
  Sync();
  EXPECT_THAT(events, IsEmpty());
  changed.clear();
  loop.Advance(absl::Seconds(15));
  EXPECT_FALSE(changed.empty());
  Sync();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_THAT(events[0], ::testing::HasSubstr("no relationship found"));
  api.refused.clear();
  api.ConfigMap("c", R"({"k":"1"})");
  loop.Advance(absl::Minutes(1));
  Settle();
  EXPECT_NE(memory.spec, nullptr);
}

TEST_F(SpecSyncTest, NothingIsWatchedForAPodThatIsOverOrGone) {
  kube::Background run(loop, [](SpecSync* s) -> Task<> { (void)co_await s->Run(); }(&sync));
  api.ConfigMap("c", R"({"k":"1"})");
  Settle();
  EXPECT_TRUE(api.Watching("namespaces/n/configmaps/c"));
  phase = "Succeeded";
  Sync();
  loop.RunReady();
  EXPECT_FALSE(api.Watching("namespaces/n/configmaps/c"));
  EXPECT_NE(memory.spec, nullptr);
}

TEST_F(SpecSyncTest, PullSecrets) {
  kube::Background run(loop, [](SpecSync* s) -> Task<> { (void)co_await s->Run(); }(&sync));
  api.Secret("reg", absl::StrCat(R"("type":"kubernetes.io/dockerconfigjson","data":{".dockerconfigjson":")",
                                 absl::Base64Escape("{}"), "\"}"));
  api.Secret("opaque", R"("type":"Opaque","data":{})");
  auto pod = json::Parse(
      R"({"metadata":{"uid":"u","namespace":"n"},"spec":{"imagePullSecrets":[{"name":"reg"},{"name":"opaque"},{"name":"no"}]}})");
  kubeapi::PodView view(*pod);
  EXPECT_FALSE(sync.GetPullSecrets(view).known);
  loop.RunReady();
  PullSecrets secrets = sync.GetPullSecrets(view);
  EXPECT_TRUE(secrets.known);
  EXPECT_THAT(secrets.found,
              ElementsAre(PullSecret{.name = "reg", .type = "kubernetes.io/dockerconfigjson", .data = "{}"}));
  EXPECT_THAT(secrets.missing, ElementsAre("opaque", "no"));
}

}  // namespace
}  // namespace vck::node
