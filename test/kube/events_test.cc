#include "kube/events.h"

#include "gmock/gmock.h"
#include "json/json.h"
#include "support.h"

namespace vck::kube {
namespace {

using testing::FakeReply;
using ::testing::HasSubstr;

const InvolvedObject kWeb{.ns = "ns", .name = "web", .uid = "u1", .resource_version = "7"};

EventOptions Options() { return {.host = "node-1"}; }

json::Value Json(const std::string& text) { return *json::Parse(text); }

struct Correlation {
  EventCorrelator correlator{Options()};
  FakeClock clock;
  EventCorrelator::Action See(const std::string& message, const InvolvedObject& object = kWeb) {
    return correlator.Observe(object, EventType::kWarning, "Failed", message, clock.Now(), clock.WallNow());
  }
  // And the server takes it.
  EventCorrelator::Action Store(const std::string& message, const InvolvedObject& object = kWeb) {
    auto action = See(message, object);
    if (auto* create = std::get_if<EventCorrelator::Create>(&action)) correlator.Stored(create->key);
    if (auto* patch = std::get_if<EventCorrelator::Patch>(&action)) correlator.Stored(patch->key);
    return action;
  }
};

TEST(EventCorrelator, TheFirstIsCreatedAndTheNextCounted) {
  Correlation c;
  auto first = c.Store("no disk");
  ASSERT_TRUE(std::holds_alternative<EventCorrelator::Create>(first));
  const auto& create = std::get<EventCorrelator::Create>(first);
  json::Value body = Json(create.body);
  EXPECT_EQ(create.ns, "ns");
  EXPECT_EQ(json::String(body, "reason"), "Failed");
  EXPECT_EQ(json::String(body, "type"), "Warning");
  EXPECT_EQ(json::Int(body, "count"), 1);
  EXPECT_EQ(json::String(body, "firstTimestamp"), "2026-01-01T00:00:00Z");
  EXPECT_EQ(json::String(body, "reportingComponent"), "kubelet");
  EXPECT_EQ(json::String(json::Get(body, "source"), "host"), "node-1");
  EXPECT_EQ(json::String(json::Get(body, "involvedObject"), "uid"), "u1");
  EXPECT_THAT(create.name, HasSubstr("web."));

  c.clock.Advance(absl::Seconds(30));
  auto second = c.Store("no disk");
  ASSERT_TRUE(std::holds_alternative<EventCorrelator::Patch>(second));
  const auto& patch = std::get<EventCorrelator::Patch>(second);
  EXPECT_EQ(patch.name, create.name);
  EXPECT_EQ(json::Int(Json(patch.body), "count"), 2);
  EXPECT_EQ(json::String(Json(patch.body), "lastTimestamp"), "2026-01-01T00:00:30Z");
  EXPECT_EQ(json::String(Json(patch.create_body), "firstTimestamp"), "2026-01-01T00:00:00Z");
}

TEST(EventCorrelator, WhatTheServerNeverGotIsCreatedAgain) {
  Correlation c;
  auto first = c.See("no disk");
  c.correlator.Failed(std::get<EventCorrelator::Create>(first).key);
  EXPECT_TRUE(std::holds_alternative<EventCorrelator::Create>(c.See("no disk")));
}

TEST(EventCorrelator, ManySimilarOnesAreCombined) {
  Correlation c;
  for (int i = 0; i < 9; ++i) {
    EXPECT_TRUE(std::holds_alternative<EventCorrelator::Create>(c.Store(absl::StrCat("try ", i))));
  }
  auto tenth = c.Store("try 9");
  ASSERT_TRUE(std::holds_alternative<EventCorrelator::Create>(tenth));
  EXPECT_EQ(json::String(Json(std::get<EventCorrelator::Create>(tenth).body), "message"),
            "(combined from similar events): try 9");
  auto next = c.Store("try 10");
  ASSERT_TRUE(std::holds_alternative<EventCorrelator::Patch>(next));
  EXPECT_EQ(json::Int(Json(std::get<EventCorrelator::Patch>(next).body), "count"), 2);
  // After a quiet time each stands for itself again.
  c.clock.Advance(absl::Minutes(11));
  auto later = c.Store("try 11");
  EXPECT_EQ(json::String(Json(std::get<EventCorrelator::Create>(later).body), "message"), "try 11");
}

TEST(EventCorrelator, SpamOfOneObjectIsDropped) {
  Correlation c;
  for (int i = 0; i < 25; ++i) EXPECT_FALSE(std::holds_alternative<EventCorrelator::Drop>(c.Store("again")));
  EXPECT_TRUE(std::holds_alternative<EventCorrelator::Drop>(c.See("again")));
  InvolvedObject other = kWeb;
  other.uid = "u2";
  EXPECT_FALSE(std::holds_alternative<EventCorrelator::Drop>(c.See("again", other)));
  c.clock.Advance(absl::Minutes(5));
  EXPECT_FALSE(std::holds_alternative<EventCorrelator::Drop>(c.See("again")));
  EXPECT_TRUE(std::holds_alternative<EventCorrelator::Drop>(c.See("again")));
}

TEST(EventCorrelator, RemembersOnlySoMuch) {
  EventOptions options = Options();
  options.cache = 10;
  EventCorrelator correlator(options);
  FakeClock clock;
  for (int i = 0; i < 100; ++i) {
    InvolvedObject object = kWeb;
    object.uid = absl::StrCat(i);
    auto action = correlator.Observe(object, EventType::kNormal, "R", "m", clock.Now(), clock.WallNow());
    EXPECT_TRUE(std::holds_alternative<EventCorrelator::Create>(action));
  }
}

TEST(Recorder, SendsInTheBackgroundAndCountsOn) {
  std::map<std::string, int> seen;
  ClientFixture f([&](const http::Request& r) {
    ++seen[r.method];
    return FakeReply{.status = r.method == "POST" ? 201 : 200, .body = "{}"};
  });
  Recorder recorder(f.client, Options());
  recorder.Event(kWeb, EventType::kNormal, "Started", "Started container");
  recorder.Event(kWeb, EventType::kNormal, "Started", "Started container");
  EXPECT_EQ(f.http->requests().size(), 0u);
  Background run(f.loop, recorder.Run());
  f.loop.RunReady();
  EXPECT_EQ(seen["POST"], 1);
  EXPECT_EQ(seen["PATCH"], 1);
  EXPECT_EQ(recorder.stats().sent, 2);
}

TEST(Recorder, AnEventThatTheServerForgotIsCreatedAgain) {
  ClientFixture f([&](const http::Request& r) {
    if (r.method == "PATCH") return FakeReply{.status = 404, .body = StatusObject(404, "NotFound")};
    return FakeReply{.status = 201, .body = "{}"};
  });
  Recorder recorder(f.client, Options());
  Background run(f.loop, recorder.Run());
  recorder.Event(kWeb, EventType::kNormal, "Started", "x");
  recorder.Event(kWeb, EventType::kNormal, "Started", "x");
  f.loop.RunReady();
  ASSERT_EQ(f.http->requests().size(), 3u);
  EXPECT_EQ(json::Int(Json(f.http->requests()[2].body), "count"), 2);
  EXPECT_EQ(recorder.stats().sent, 2);
}

TEST(Recorder, AFullQueueDropsAndARefusalIsNotRepeated) {
  EventOptions options = Options();
  options.queue = 3;
  ClientFixture f(
      [&](const http::Request&) { return FakeReply{.status = 403, .body = StatusObject(403, "Forbidden")}; });
  Recorder recorder(f.client, options);
  for (int i = 0; i < 5; ++i) recorder.Event(kWeb, EventType::kNormal, "R", absl::StrCat(i));
  EXPECT_EQ(recorder.stats().dropped, 2);
  Background run(f.loop, recorder.Run());
  f.loop.Advance(absl::Minutes(2));
  EXPECT_EQ(recorder.stats().failed, 3);
  EXPECT_EQ(f.http->requests().size(), 3u);
}

TEST(Recorder, AnOutageIsRiddenOut) {
  bool down = true;
  ClientFixture f([&](const http::Request&) {
    if (down) return FakeReply{.error = absl::UnavailableError("refused")};
    return FakeReply{.status = 201, .body = "{}"};
  });
  Recorder recorder(f.client, Options());
  recorder.Event(kWeb, EventType::kNormal, "R", std::string(5000, 'x'));
  Background run(f.loop, recorder.Run());
  f.loop.Advance(absl::Seconds(5));
  down = false;
  f.loop.Advance(absl::Seconds(12));
  EXPECT_EQ(recorder.stats().sent, 1);
  EXPECT_EQ(json::String(Json(f.http->requests().back().body), "message").size(), 1024u);
}

TEST(Recorder, FlushEndsAtItsDeadline) {
  ClientFixture f([&](const http::Request&) { return FakeReply{.error = absl::UnavailableError("refused")}; });
  Recorder recorder(f.client, Options());
  for (int i = 0; i < 5; ++i) recorder.Event(kWeb, EventType::kNormal, "R", absl::StrCat(i));
  Instant deadline = f.loop.clock().Now() + absl::Seconds(2);
  f.loop.Run(recorder.Flush(deadline));
  EXPECT_EQ(f.loop.clock().Now(), deadline);
  EXPECT_EQ(recorder.queued(), 0u);
}

}  // namespace
}  // namespace vck::kube
