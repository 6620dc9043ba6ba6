// NodeController and StatusReconciler against a scripted API server, on fake time.
#include "node/kube_side.h"

#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "guestlink/links.h"
#include "kube/support.h"
#include "node/node_controller.h"
#include "node/status_reconciler.h"
#include "vch/pod_key.h"

namespace vck::node {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// Keeps one object, applies nothing: the tests look at what was asked.
struct Server {
  std::vector<http::Request> writes;
  int status = 200;
  std::string answer = "{}";
  testing::FakeReply operator()(const http::Request& request) {
    writes.push_back(request);
    testing::FakeReply reply;
    reply.status = status;
    reply.body = answer;
    return reply;
  }
};

class NodeControllerTest : public ::testing::Test {
 protected:
  NodeFacts facts = [] {
    NodeFacts f;
    f.capacity = {.cpu_millis = 4000, .memory_bytes = 1 << 30, .ephemeral_bytes = 1 << 30, .pods = 10};
    f.allocatable = f.capacity;
    f.inventory_synced = f.has_pod_range = f.vcenter_ok = true;
    return f;
  }();
  NodeIdentity identity{
      .name = "vch1", .vch_id = "id", .internal_ip = "10.0.0.9", .taints = {{"k", "v", "NoSchedule"}}};
  Server server;
  kube::ClientFixture fixture{[this](const http::Request& r) { return server(r); }};
  metrics::Registry registry;
  ObjectStore nodes;
  std::string cidr;
  int created = 0;
  NodeController controller{{.clock = fixture.loop.clock(),
                             .client = fixture.client,
                             .nodes = nodes,
                             .registry = registry,
                             .facts = [this] { return facts; },
                             .pod_cidr = [this](std::string_view c) { cidr = c; },
                             .created = [this] { ++created; }},
                            identity,
                            {}};
  std::string StoredNode(const std::string& rv, const std::string& more_labels = "") {
    auto node = json::Parse(BuildNode(identity, facts, nullptr, {}, fixture.loop.clock().WallNow()));
    auto& object = node->get_object();
    auto& meta = object["metadata"].get_object();
    meta["uid"] = "u";
    meta["resourceVersion"] = rv;
    if (!more_labels.empty()) meta["labels"].get_object()[more_labels] = "x";
    object["spec"].get_object()["podCIDR"] = "10.9.0.0/20";
    return json::Serialize(*node);
  }
  void Show(const std::string& text) {
    auto object = kube::Object::Parse(text);
    ASSERT_TRUE(object.ok()) << object.status();
    nodes.Put("vch1", *object);
  }
  static Task<> Drop(Task<Status> task) { (void)co_await std::move(task); }
};

TEST_F(NodeControllerTest, RegistersOnceTheApiIsKnownToHaveNoNode) {
  kube::Background run(fixture.loop, Drop(controller.Run()));
  fixture.loop.Advance(absl::Seconds(30));
  EXPECT_THAT(server.writes, IsEmpty()) << "before the first list nobody knows";
  nodes.MarkSynced();
  server.status = 201;
  fixture.loop.Advance(absl::Seconds(1));
  ASSERT_THAT(server.writes, SizeIs(1));
  EXPECT_EQ(server.writes[0].method, "POST");
  EXPECT_EQ(created, 1);
}

TEST_F(NodeControllerTest, AdoptsANodeAndLeavesPeoplesTaintsAndLabels) {
  nodes.MarkSynced();
  auto node = json::Parse(StoredNode("1", "people"));
  node->get_object()["spec"].get_object().erase("taints");  // somebody removed ours
  Show(json::Serialize(*node));
  kube::Background run(fixture.loop, Drop(controller.Run()));
  fixture.loop.Advance(absl::Minutes(1));
  EXPECT_THAT(server.writes, IsEmpty()) << "all is as it should be, and a taint that is gone stays gone";
  EXPECT_EQ(cidr, "10.9.0.0/20");
}

TEST_F(NodeControllerTest, DeletedNodeIsBackAtOnceWithItsLabelsAndPodCidr) {
  nodes.MarkSynced();
  Show(StoredNode("1", "people"));
  kube::Background run(fixture.loop, Drop(controller.Run()));
  fixture.loop.Advance(absl::Seconds(1));
  server.status = 201;
  nodes.Erase("vch1");
  fixture.loop.Advance(absl::Seconds(5));
  ASSERT_FALSE(server.writes.empty());
  EXPECT_EQ(server.writes.back().method, "POST");
  EXPECT_THAT(server.writes.back().body, HasSubstr("\"people\":\"x\""));
  EXPECT_THAT(server.writes.back().body, HasSubstr("10.9.0.0/20"));
}

TEST_F(NodeControllerTest, WritesStatusWhenFactsChangeAndAsAHeartbeat) {
  nodes.MarkSynced();
  Show(StoredNode("1"));
  kube::Background run(fixture.loop, Drop(controller.Run()));
  fixture.loop.Advance(absl::Minutes(4));
  EXPECT_THAT(server.writes, IsEmpty());
  fixture.loop.Advance(absl::Minutes(2));
  EXPECT_FALSE(server.writes.empty()) << "the heartbeat";
  server.writes.clear();
  Show(StoredNode("2"));
  facts.vcenter_ok = false;
  controller.Kick();
  fixture.loop.Advance(absl::Seconds(1));
  ASSERT_THAT(server.writes, SizeIs(1));
  EXPECT_EQ(server.writes[0].method, "PATCH");
  EXPECT_THAT(server.writes[0].target, HasSubstr("/nodes/vch1/status"));
  EXPECT_THAT(server.writes[0].body, Not(HasSubstr("taints")));
}

TEST_F(NodeControllerTest, RestartLeavesTheStatusAloneUntilVCenterIsSeen) {
  nodes.MarkSynced();
  Show(StoredNode("1"));
  const NodeFacts before = facts;
  facts = {};
  facts.has_pod_range = facts.vcenter_connecting = true;
  kube::Background run(fixture.loop, Drop(controller.Run()));
  fixture.loop.Advance(absl::Minutes(1));
  EXPECT_THAT(server.writes, IsEmpty());
  facts.vcenter_connecting = false;  // it does not answer
  controller.Kick();
  fixture.loop.Advance(absl::Seconds(1));
  ASSERT_THAT(server.writes, SizeIs(1));
  EXPECT_THAT(server.writes[0].body, Not(HasSubstr("capacity")));
  EXPECT_THAT(server.writes[0].body, HasSubstr(R"("type":"Ready","status":"True")"));
  EXPECT_THAT(server.writes[0].body, HasSubstr(R"("type":"VCenterUnavailable","status":"True")"));
  facts = before;
  facts.allocatable.cpu_millis = 3000;
  controller.Kick();
  fixture.loop.Advance(absl::Seconds(1));
  ASSERT_THAT(server.writes, SizeIs(2));
  EXPECT_THAT(server.writes[1].body, HasSubstr(R"("allocatable":{"cpu":"3")"));
}

TEST_F(NodeControllerTest, KeepsTryingWhileTheServerRefuses) {
  nodes.MarkSynced();
  server.status = 403;
  server.answer = kube::StatusObject(403, "Forbidden");
  kube::Background run(fixture.loop, Drop(controller.Run()));
  fixture.loop.Advance(absl::Minutes(1));
  EXPECT_GT(server.writes.size(), 5u);
  EXPECT_LT(server.writes.size(), 40u) << "at a bounded rate";
}

// ---- status ----

class NoLinks : public guestlink::Links {
 public:
  void Connect(const std::string&, const guestlink::Endpoint&) override {}
  void Disconnect(const std::string&) override {}
  void Forget(const std::string&) override {}
  void Push(const std::string&, std::shared_ptr<const guestapi::GuestSpec>) override {}
  void Stop(const std::string&, guestapi::StopRequest) override {}
  flow::Store<std::string, guestlink::LinkState>& states() override { return store; }
  [[nodiscard]] std::string key_hash() const override { return ""; }
  Task<Status> Run() override { co_return absl::OkStatus(); }
  flow::Store<std::string, guestlink::LinkState> store;
};

class StatusReconcilerTest : public ::testing::Test {
 protected:
  StatusReconcilerTest() {
    vms.MarkSynced();
    pods.MarkSynced();
  }
  static std::string PodText(const std::string& rv, const std::string& meta, const std::string& status) {
    return absl::StrCat(
        R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"default","uid":"u1","generation":1,"resourceVersion":")",
        rv, "\"", meta,
        R"(},"spec":{"nodeName":"n","restartPolicy":"Always","containers":[{"name":"c","image":"i"}]},"status":)",
        status, "}");
  }
  void Put(const std::string& text) { pods.Put("u1", *kube::Object::Parse(text)); }
  StatusOr<flow::Result> Once() { return fixture.loop.Run(reconciler.Reconcile("u1")); }

  Server server;
  kube::ClientFixture fixture{[this](const http::Request& r) { return server(r); }};
  ObjectStore pods;
  VmIndex::Store vms;
  VmIndex index{vms, "v"};
  NoLinks links;
  PodMemories memories;
  bool fresh = true;
  StatusReconciler reconciler{{.clock = fixture.loop.clock(),
                               .pods = pods,
                               .vms = index,
                               .links = links,
                               .memories = memories,
                               .vch_id = "v",
                               .fresh = [this] { return fresh; }},
                              fixture.client,
                              "10.0.0.9",
                              {}};
  const std::string terminal =
      R"({"phase":"Failed","conditions":[{"type":"Ready","status":"False"}],"containerStatuses":[{"name":"c","state":{"terminated":{"exitCode":1}}}]})";
  const std::string deleting = R"(,"deletionTimestamp":"2026-01-01T00:00:00Z","deletionGracePeriodSeconds":5)";
};

TEST_F(StatusReconcilerTest, WritesWithTheUidAndNotTwiceTheSame) {
  Put(PodText("1", "", R"({"phase":"Pending"})"));
  server.answer = PodText("2", "", R"({"phase":"Pending"})");
  ASSERT_TRUE(Once().ok());
  ASSERT_FALSE(server.writes.empty());
  EXPECT_EQ(server.writes[0].method, "PATCH");
  EXPECT_THAT(server.writes[0].target, HasSubstr("/pods/web/status"));
  EXPECT_THAT(server.writes[0].body, HasSubstr("\"uid\":\"u1\""));
}

TEST_F(StatusReconcilerTest, RemovesTheObjectOnlyWhenNothingIsLeft) {
  Put(PodText("1", deleting, terminal));
  server.answer = PodText("2", deleting, terminal);
  vimtypes::VmRecord vm;
  vm.vm = {"VirtualMachine", "vm-1"};
  vm.connection = vimtypes::ConnectionState::kConnected;
  vm.power = vimtypes::PowerState::kOff;
  vm.pod_key = vch::Encode(vch::PodKey{.vch_id = "v", .pod_uid = "u1", .pod_namespace = "default", .pod_name = "web"});
  vms.Put("vm-1", std::make_shared<const vimtypes::VmRecord>(vm));
  auto deletes = [this] {
    int n = 0;
    for (const auto& w : server.writes) n += w.method == "DELETE";
    return n;
  };
  ASSERT_TRUE(Once().ok());
  EXPECT_EQ(deletes(), 0) << "its VM is there";
  vms.Erase("vm-1");
  fresh = false;
  ASSERT_TRUE(Once().ok());
  EXPECT_EQ(deletes(), 0) << "absence means nothing during an outage";
  fresh = true;
  memories["u1"] = std::make_unique<PodMemory>();
  memories["u1"]->creating = true;
  ASSERT_TRUE(Once().ok());
  EXPECT_EQ(deletes(), 0) << "a create is in flight";
  memories["u1"]->creating = false;
  ASSERT_TRUE(Once().ok());
  ASSERT_EQ(deletes(), 1);
  EXPECT_THAT(server.writes.back().body, HasSubstr("\"uid\":\"u1\"")) << "with the UID as precondition";
  EXPECT_THAT(server.writes.back().body, HasSubstr("\"gracePeriodSeconds\":0"));
}

// Seen with an API server that had just started: it answered, and the object was still there.
TEST_F(StatusReconcilerTest, AnObjectThatIsStillThereIsRemovedAgain) {
  Put(PodText("1", deleting, terminal));
  server.answer = PodText("2", deleting, terminal);
  auto result = Once();
  ASSERT_TRUE(result.ok());
  ASSERT_EQ(server.writes.back().method, "DELETE");
  EXPECT_EQ(result->requeue_after, absl::Seconds(10));
  server.status = 404;
  server.answer = kube::StatusObject(404, "NotFound");
  result = Once();
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->requeue_after, absl::Seconds(10));
  server.status = 409;
  server.answer = kube::StatusObject(409, "Conflict");
  EXPECT_FALSE(Once().ok()) << "the queue tries again";
  pods.Erase("u1");
  result = Once();
  ASSERT_TRUE(result.ok());
  EXPECT_FALSE(result->requeue_after.has_value());
}

TEST_F(StatusReconcilerTest, SaysNothingBeforeVCenterWasSeen) {
  vms.MarkUnsynced();
  Put(PodText("1", "", R"({"phase":"Running"})"));
  ASSERT_TRUE(Once().ok());
  EXPECT_THAT(server.writes, IsEmpty());
}

TEST_F(StatusReconcilerTest, ErrorsAreRetriedByTheQueue) {
  Put(PodText("1", "", R"({"phase":"Pending"})"));
  server.status = 500;
  server.answer = kube::StatusObject(500, "InternalError");
  EXPECT_FALSE(Once().ok());
  server.status = 404;
  server.answer = kube::StatusObject(404, "NotFound");
  auto result = Once();
  ASSERT_TRUE(result.ok()) << "the watch will show that it is gone";
  EXPECT_TRUE(result->requeue_after.has_value());
}

// ---- events ----

TEST(KubeSide, EventsOfTheNodeAreWhereKubectlLooksForThem) {
  kube::ClientFixture fixture([](const http::Request&) { return testing::FakeReply{.status = 201, .body = "{}"}; });
  auto client = std::make_unique<kube::Client>(fixture.loop.clock(), fixture.http, fixture.credentials,
                                               kube::ClientFixture::Config(), kube::ClientOptions{});
  KubeSide side(nullptr, std::move(client), nullptr, {.node_name = "vch1"});
  side.RecordNode(true, "FreeDiskSpaceFailed", "the datastore is full");
  kube::Background run(fixture.loop, side.recorder.Run());
  fixture.loop.RunReady();
  ASSERT_THAT(fixture.http->requests(), SizeIs(1));
  const http::Request& request = fixture.http->requests()[0];
  EXPECT_EQ(request.target, "/prefix/api/v1/namespaces/default/events");
  auto event = json::Parse(request.body);
  ASSERT_TRUE(event.ok()) << event.status();
  EXPECT_EQ(json::String(*event, "type"), "Warning");
  EXPECT_EQ(json::String(*event, "reason"), "FreeDiskSpaceFailed");
  EXPECT_EQ(json::String(*event, "message"), "the datastore is full");
  const json::Value* object = json::Get(*event, "involvedObject");
  EXPECT_EQ(json::String(object, "kind"), "Node");
  EXPECT_EQ(json::String(object, "name"), "vch1");
  EXPECT_EQ(json::String(object, "uid"), "vch1");
}

}  // namespace
}  // namespace vck::node
