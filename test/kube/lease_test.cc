#include "kube/lease.h"

#include "gmock/gmock.h"
#include "json/json.h"
#include "kube/csr.h"
#include "support.h"

namespace vck::kube {
namespace {

using testing::FakeReply;
using ::testing::HasSubstr;

// One Lease as the API server keeps it: versions, merge patches of spec, preconditions.
struct LeaseServer {
  bool exists = false, down = false;
  int version = 0, writes = 0;
  json::Object spec, metadata;

  FakeReply Text(int status = 200) {
    json::Object lease{
        {"kind", "Lease"}, {"apiVersion", "coordination.k8s.io/v1"}, {"metadata", metadata}, {"spec", spec}};
    lease["metadata"].as_object()["resourceVersion"] = absl::StrCat(version);
    return {.status = status, .body = json::Serialize(json::Value(lease))};
  }
  FakeReply operator()(const http::Request& r) {
    if (down) return {.error = absl::UnavailableError("refused")};
    if (r.method == "GET") return exists ? Text() : FakeReply{.status = 404, .body = StatusObject(404, "NotFound")};
    json::Value body = *json::Parse(r.body);
    if (r.method == "POST") {
      if (exists) return {.status = 409, .body = StatusObject(409, "AlreadyExists")};
      exists = true;
    } else if (!exists) {
      return {.status = 404, .body = StatusObject(404, "NotFound")};
    }
    std::string_view want = json::String(json::Get(body, "metadata"), "resourceVersion");
    if (!want.empty() && want != absl::StrCat(version)) return {.status = 409, .body = StatusObject(409, "Conflict")};
    for (const auto& m : json::Members(body, "metadata")) metadata[m.key()] = m.value();
    for (const auto& m : json::Members(body, "spec")) spec[m.key()] = m.value();
    ++version;
    ++writes;
    return Text();
  }
  std::string Holder() { return std::string(json::AsString(spec["holderIdentity"])); }
};

TEST(NodeLease, CreatesAndRenews) {
  LeaseServer server;
  ClientFixture f([&](const http::Request& r) { return server(r); });
  std::string uid;
  NodeLease lease(f.client, {.node = "n1"}, [&] { return uid; });
  Background run(f.loop, lease.Run());
  f.loop.RunReady();
  EXPECT_EQ(server.Holder(), "n1");
  EXPECT_EQ(server.spec["leaseDurationSeconds"], 40);
  EXPECT_EQ(server.spec["renewTime"], "2026-01-01T00:00:00.000000Z");
  EXPECT_FALSE(server.metadata.contains("ownerReferences"));
  EXPECT_THAT(f.http->requests().back().target, HasSubstr("/namespaces/kube-node-lease/leases"));
  uid = "node-uid";
  f.loop.Advance(absl::Seconds(55));
  EXPECT_EQ(server.metadata["ownerReferences"].at(0).at("uid"), "node-uid");
  EXPECT_EQ(server.writes, 6);
  EXPECT_EQ(f.http->requests().size(), 7u);  // one a renewal, after the first
  server.exists = false;                     // gone with its Node
  lease.Kick();
  f.loop.RunReady();
  EXPECT_TRUE(server.exists);
}

TEST(NodeLease, RetriesQuicklyWhileTheServerIsAway) {
  LeaseServer server;
  ClientFixture f([&](const http::Request& r) { return server(r); });
  NodeLease lease(f.client, {.node = "n1"}, [] { return "u"; });
  Background run(f.loop, lease.Run());
  f.loop.Advance(absl::Seconds(5));
  server.down = true;
  f.loop.Advance(absl::Seconds(60));
  EXPECT_FALSE(lease.last_error().ok());
  server.down = false;
  f.loop.Advance(absl::Seconds(9));
  EXPECT_TRUE(lease.last_error().ok());
}

// A candidate that leads until it is cancelled.
struct Candidate {
  Candidate(ClientFixture& f, std::string identity)
      : elector(f.client, {.ns = "kube-system", .name = "vch", .identity = std::move(identity)}), loop(f.loop) {}
  static Task<Status> Hold(Candidate* self) {
    struct Count {
      int* n;
      ~Count() { --*n; }
    } count{&self->running};
    ++self->running;
    vck::Event never;
    co_await never.Wait();
    co_return absl::OkStatus();
  }
  static Task<> RunIt(Candidate* self, Executor executor) {
    self->result = co_await self->elector.Run(executor, [self] { return Hold(self); });
  }
  Task<> Run() { return RunIt(this, loop.executor()); }
  LeaderElector elector;
  testing::Loop& loop;
  int running = 0;
  Status result = absl::UnknownError("still running");
};

TEST(LeaderElector, OneLeadsAndTheOtherTakesOverAtOnceAfterARelease) {
  LeaseServer server;
  ClientFixture f([&](const http::Request& r) { return server(r); });
  Candidate a(f, "a");
  Candidate b(f, "b");
  auto run_a = std::make_unique<Background>(f.loop, a.Run());
  f.loop.RunReady();
  EXPECT_TRUE(a.elector.leading());
  Background run_b(f.loop, b.Run());
  f.loop.Advance(absl::Minutes(2));
  EXPECT_EQ(server.Holder(), "a");
  EXPECT_EQ(a.running, 1);
  EXPECT_EQ(b.running, 0);
  EXPECT_EQ(b.elector.leader(), "a");
  run_a.reset();
  EXPECT_EQ(a.running, 0);
  EXPECT_EQ(server.Holder(), "");
  f.loop.Advance(absl::Seconds(5));
  EXPECT_EQ(b.running, 1);
  EXPECT_EQ(server.Holder(), "b");
  EXPECT_EQ(server.spec["leaseTransitions"], 1);
}

TEST(LeaderElector, AnExpiredLeaseIsTakenByOnesOwnClock) {
  LeaseServer server;
  server.exists = true;
  // Its clock is years off, which says nothing.
  server.spec = {
      {"holderIdentity", "dead"}, {"leaseDurationSeconds", 15}, {"renewTime", "2031-01-01T00:00:00.000000Z"}};
  ClientFixture f([&](const http::Request& r) { return server(r); });
  Candidate b(f, "b");
  Background run(f.loop, b.Run());
  f.loop.Advance(absl::Seconds(14));
  EXPECT_EQ(b.running, 0);
  f.loop.Advance(absl::Seconds(7));
  EXPECT_EQ(b.running, 1);
}

TEST(LeaderElector, ALeaderThatCannotRenewStops) {
  LeaseServer server;
  ClientFixture f([&](const http::Request& r) { return server(r); });
  Candidate a(f, "a");
  Background run(f.loop, a.Run());
  f.loop.Advance(absl::Seconds(5));
  EXPECT_EQ(a.running, 1);
  server.down = true;
  f.loop.Advance(absl::Seconds(7));
  EXPECT_EQ(a.running, 1);
  f.loop.Advance(absl::Seconds(4));
  EXPECT_EQ(a.running, 0);
  EXPECT_EQ(a.result.code(), absl::StatusCode::kAborted);
  EXPECT_FALSE(run.running());
}

TEST(LeaderElector, ALeaderWhoseLeaseWasTakenStops) {
  LeaseServer server;
  ClientFixture f([&](const http::Request& r) { return server(r); });
  Candidate a(f, "a");
  Background run(f.loop, a.Run());
  f.loop.Advance(absl::Seconds(5));
  server.spec["holderIdentity"] = "thief";
  ++server.version;
  f.loop.Advance(absl::Seconds(3));
  EXPECT_EQ(a.running, 0);
  EXPECT_EQ(a.result.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(server.Holder(), "thief");
}

TEST(LeaderElector, SomebodyElsesLabelsAreNoConflictForLong) {
  LeaseServer server;
  ClientFixture f([&](const http::Request& r) { return server(r); });
  Candidate a(f, "a");
  Background run(f.loop, a.Run());
  f.loop.RunReady();
  ++server.version;  // a label was set
  f.loop.Advance(absl::Minutes(1));
  EXPECT_EQ(a.running, 1);
  EXPECT_EQ(server.spec["leaseTransitions"], 0);
}

TEST(LeaderElector, OptionsAreChecked) {
  LeaderElectionOptions options{.ns = "n", .name = "l", .identity = "i"};
  EXPECT_TRUE(LeaderElector::Validate(options).ok());
  options.renew_deadline = absl::Seconds(15);
  EXPECT_FALSE(LeaderElector::Validate(options).ok());
  options.renew_deadline = absl::Seconds(2);
  EXPECT_FALSE(LeaderElector::Validate(options).ok());
}

TEST(RequestCertificate, WaitsForApprovalAndSignature) {
  int gets = 0;
  ClientFixture f([&](const http::Request& r) {
    std::string head = R"({"kind":"CertificateSigningRequest","metadata":{"name":"csr-1"},"status":)";
    if (r.method == "POST") return FakeReply{.status = 201, .body = head + "{}}"};
    ++gets;
    std::string status = gets == 1   ? "{}"
                         : gets == 2 ? R"({"conditions":[{"type":"Approved","status":"True"}]})"
                                     : R"({"certificate":"UEVN"})";
    return FakeReply{.body = head + status + "}"};
  });
  auto pem = f.loop.Run(RequestCertificate(f.client, {.csr_pem = "x", .signer_name = "s", .usages = {"server auth"}}));
  ASSERT_TRUE(pem.ok()) << pem.status();
  EXPECT_EQ(*pem, "PEM");
}

TEST(RequestCertificate, ADenialIsTold) {
  ClientFixture f([&](const http::Request& r) {
    return FakeReply{
        .status = r.method == "POST" ? 201 : 200,
        .body = R"({"metadata":{"name":"csr-1"},"status":{"conditions":[{"type":"Denied","reason":"No"}]}})"};
  });
  EXPECT_EQ(f.loop.Run(RequestCertificate(f.client, {})).status().code(), absl::StatusCode::kPermissionDenied);
}

}  // namespace
}  // namespace vck::kube
