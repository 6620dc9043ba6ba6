#include "kube/client.h"

#include "gmock/gmock.h"
#include "json/json.h"
#include "support.h"

namespace vck::kube {
namespace {

using ::testing::ElementsAre;
using testing::FakeReply;
using ::testing::HasSubstr;

const ObjectRef kWeb{kPods, "ns", "web"};

TEST(ResourcePath, Shapes) {
  EXPECT_EQ(ResourcePath(kWeb), "/api/v1/namespaces/ns/pods/web");
  EXPECT_EQ(ResourcePath(kWeb, "status"), "/api/v1/namespaces/ns/pods/web/status");
  EXPECT_EQ(ResourcePath({kPods, "", ""}), "/api/v1/pods");
  EXPECT_EQ(ResourcePath({kNodes, "ignored", "n/1"}), "/api/v1/nodes/n%2F1");
  EXPECT_EQ(ResourcePath({kLeases, "kube-node-lease", "n"}),
            "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n");
}

TEST(Client, GetSendsWhoAndWhat) {
  ClientFixture f([](const http::Request&) { return FakeReply{.body = "{}"}; });
  auto credentials = std::make_shared<Credentials>();
  credentials->headers.Set("Authorization", "Bearer secret");
  f.credentials->current = credentials;
  auto body = f.loop.Run(f.client.Get(kWeb));
  ASSERT_TRUE(body.ok()) << body.status();
  const http::Request& request = f.http->requests().at(0);
  EXPECT_EQ(request.method, "GET");
  EXPECT_EQ(request.target, "/prefix/api/v1/namespaces/ns/pods/web");
  EXPECT_EQ(request.headers.Get("authorization"), "Bearer secret");
  EXPECT_EQ(request.headers.Get("accept"), "application/json");
  EXPECT_EQ(request.headers.Get("user-agent"), "vch-kubelet/" VCK_VERSION);
}

TEST(Client, WritesAndTheirQueries) {
  ClientFixture f([](const http::Request&) { return FakeReply{.body = "{}"}; });
  PatchOptions apply;
  apply.field_manager = "vch kubelet";
  apply.force = true;
  apply.subresource = "status";
  (void)f.loop.Run(f.client.Patch(kWeb, PatchType::kApply, "{}", apply));
  (void)f.loop.Run(f.client.Patch(kWeb, PatchType::kStrategic, "{}"));
  (void)f.loop.Run(f.client.Patch(kWeb, PatchType::kMerge, "{}"));
  (void)f.loop.Run(f.client.Create(kWeb, "{}", {.dry_run = true}));
  (void)f.loop.Run(f.client.Create(kWeb, "{}", {.subresource = "binding"}));
  (void)f.loop.Run(f.client.Update(kWeb, "{}"));
  std::vector<std::string> seen;
  for (const http::Request& r : f.http->requests()) {
    seen.push_back(absl::StrCat(r.method, " ", r.target.substr(7), " ", *r.headers.Get("content-type")));
  }
  const std::string pods = "/api/v1/namespaces/ns/pods";
  EXPECT_THAT(
      seen, ElementsAre(
                "PATCH " + pods + "/web/status?fieldManager=vch%20kubelet&force=true application/apply-patch+yaml",
                "PATCH " + pods + "/web application/strategic-merge-patch+json",
                "PATCH " + pods + "/web application/merge-patch+json", "POST " + pods + "?dryRun=All application/json",
                "POST " + pods + "/web/binding application/json", "PUT " + pods + "/web application/json"));
  EXPECT_EQ(f.client.calls().at({"patch", "pods"}), 2);
  EXPECT_EQ(f.client.calls().at({"patch", "pods/status"}), 1);
  EXPECT_EQ(f.client.results().at(200), 6);
}

TEST(Client, DeleteCarriesPreconditions) {
  ClientFixture f([](const http::Request&) { return FakeReply{.body = "{}"}; });
  ASSERT_TRUE(f.loop.Run(f.client.Delete(kWeb, {.uid = "u", .grace_period_seconds = 0})).ok());
  EXPECT_EQ(f.http->requests()[0].body,
            R"({"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0,"preconditions":{"uid":"u"}})");
}

TEST(Client, A401RefreshesOnce) {
  int calls = 0;
  ClientFixture f([&](const http::Request& r) {
    ++calls;
    if (r.headers.Get("authorization") == "Bearer t1") return FakeReply{.body = "{}"};
    return FakeReply{.status = 401, .body = StatusObject(401, "Unauthorized")};
  });
  EXPECT_TRUE(f.loop.Run(f.client.Get(kWeb)).ok());
  EXPECT_EQ(calls, 2);
  f.http->Handle([&](const http::Request&) {
    ++calls;
    return FakeReply{.status = 401, .body = StatusObject(401, "Unauthorized")};
  });
  EXPECT_EQ(f.loop.Run(f.client.Get(kWeb)).status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(calls, 4);
}

TEST(Client, WaitsAsLongAsTheServerAsks) {
  int calls = 0;
  ClientFixture f([&](const http::Request&) {
    if (++calls < 3) return FakeReply{.status = calls == 1 ? 429 : 503, .headers = {{"Retry-After", "2"}}};
    return FakeReply{.body = "{}"};
  });
  Instant start = f.loop.clock().Now();
  EXPECT_TRUE(f.loop.Run(f.client.Get(kWeb)).ok());
  absl::Duration took = f.loop.clock().Now() - start;
  EXPECT_GE(took, absl::Seconds(4));
  EXPECT_LE(took, absl::Seconds(5));
}

TEST(Client, WaitsUntilTheDateThatTheServerNames) {
  int calls = 0;
  ClientFixture f([&](const http::Request&) {
    if (++calls > 1) return FakeReply{.body = "{}"};
    return FakeReply{.status = 503, .headers = {{"Retry-After", "Thu, 01 Jan 2026 00:00:09 GMT"}}};
  });
  Instant start = f.loop.clock().Now();
  EXPECT_TRUE(f.loop.Run(f.client.Get(kWeb)).ok());
  EXPECT_GE(f.loop.clock().Now() - start, absl::Seconds(9));
  EXPECT_LE(f.loop.clock().Now() - start, absl::Seconds(11));
}

TEST(Client, GivesUpWhenTheServerAsksForMoreTimeThanThereIs) {
  ClientFixture f([&](const http::Request&) { return FakeReply{.status = 429, .headers = {{"Retry-After", "20"}}}; });
  Instant start = f.loop.clock().Now();
  Status status = f.loop.Run(f.client.Get(kWeb, {.timeout = absl::Seconds(10)})).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(GetApiError(status)->retry_after, absl::Seconds(20));
  EXPECT_EQ(f.loop.clock().Now(), start);
}

TEST(Client, A503WithoutRetryAfterIsTheCallersBusiness) {
  ClientFixture f([&](const http::Request&) { return FakeReply{.status = 503, .body = "upstream"}; });
  EXPECT_EQ(f.loop.Run(f.client.Get(kWeb)).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(f.http->requests().size(), 1u);
}

TEST(Client, HoldsItsOwnRate) {
  ClientFixture f([](const http::Request&) { return FakeReply{.body = "{}"}; }, {.qps = 10, .burst = 5});
  Instant start = f.loop.clock().Now();
  for (int i = 0; i < 25; ++i) ASSERT_TRUE(f.loop.Run(f.client.Get(kWeb)).ok());
  EXPECT_NEAR(absl::ToDoubleSeconds(f.loop.clock().Now() - start), 2.0, 0.01);
  EXPECT_GT(f.client.rate_limited(), absl::ZeroDuration());
  // Watches do not wait.
  start = f.loop.clock().Now();
  EXPECT_TRUE(f.loop.Run(f.client.Watch({kPods, "", ""}, {})).ok());
  EXPECT_EQ(f.loop.clock().Now(), start);
}

TEST(Client, TheDeadlineIsTheWholeCalls) {
  ClientFixture f([](const http::Request&) { return FakeReply{.delay = absl::Seconds(60)}; });
  Instant start = f.loop.clock().Now();
  Status status = f.loop.Run(f.client.Get(kWeb, {.timeout = absl::Seconds(3)})).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(f.loop.clock().Now() - start, absl::Seconds(3));
  EXPECT_THAT(status.message(), HasSubstr("get pods /api/v1/namespaces/ns/pods/web"));
  EXPECT_EQ(f.client.results().at(0), 1);
}

TEST(Client, ListsInPages) {
  ClientFixture f([](const http::Request& r) {
    if (r.target.find("continue=two") != std::string::npos) return FakeReply{.body = PodList(5, {Pod("b", "2", 2)})};
    return FakeReply{.body = PodList(5, {Pod("a", "1", 1)}, "two")};
  });
  auto list = f.loop.Run(f.client.List({kPods, "", ""}, {.field_selector = "spec.nodeName=n", .limit = 1}));
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_EQ(list->items.size(), 2u);
  EXPECT_EQ(list->resource_version, "5");
  EXPECT_EQ(f.http->requests()[0].target, "/prefix/api/v1/pods?fieldSelector=spec.nodeName%3Dn&limit=1");
}

TEST(Client, AnExpiredContinueTokenStartsOver) {
  ClientFixture f([](const http::Request& r) {
    if (r.target.find("continue=") != std::string::npos) {
      return FakeReply{.status = 410, .body = StatusObject(410, "Expired")};
    }
    if (r.target.find("limit=") == std::string::npos)
      return FakeReply{.body = PodList(9, {Pod("a", "1", 1), Pod("b", "2", 2)})};
    return FakeReply{.body = PodList(5, {Pod("a", "1", 1)}, "two")};
  });
  auto list = f.loop.Run(f.client.List({kPods, "", ""}, {.limit = 1}));
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_EQ(list->items.size(), 2u);
  EXPECT_EQ(list->resource_version, "9");
}

TEST(Client, WatchReturnsTheServersRefusal) {
  ClientFixture f(
      [](const http::Request&) { return FakeReply{.status = 410, .body = StatusObject(410, "Expired", "too old")}; });
  auto body = f.loop.Run(f.client.Watch({kPods, "", ""}, {.resource_version = "1"}));
  EXPECT_EQ(body.status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(body.status().message(), HasSubstr("too old"));
}

}  // namespace
}  // namespace vck::kube
