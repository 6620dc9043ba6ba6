#include "kube/object_watch.h"

#include <deque>
#include <map>

#include "gmock/gmock.h"
#include "support.h"

namespace vck::kube {
namespace {

using testing::FakePipe;
using testing::FakeReply;
using ::testing::HasSubstr;

std::string Map(const std::string& name, int rv, bool immutable = false) {
  return absl::StrCat(R"({"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":")", name,
                      R"(","namespace":"ns","uid":"u-)", name, R"(","resourceVersion":")", rv, R"("},"data":{"k":"v"})",
                      immutable ? R"(,"immutable":true)" : "", "}");
}

struct WatchFixture : ClientFixture {
  WatchFixture()
      : ClientFixture([this](const http::Request&) {
          FakeReply reply = replies.front();
          if (replies.size() > 1) replies.pop_front();
          return reply;
        }),
        watch(loop.executor(), client, kConfigMaps) {
    watch.Subscribe([this](const std::string& key) { changes.push_back(key); });
  }
  std::deque<FakeReply> replies;
  std::vector<std::string> changes;
  ObjectWatch watch;
};

TEST(ObjectWatch, SeesAnObjectAndItsChanges) {
  WatchFixture f;
  auto pipe = std::make_shared<FakePipe>();
  f.replies = {{.body = Event("ADDED", Map("c", 3)) + Bookmark(5, true), .pipe = pipe}};
  ObjectWatch::Ref ref = f.watch.Acquire("ns", "c");
  EXPECT_EQ(ref.Get().state, ObjectWatch::State::kUnknown);
  Background run(f.loop, f.watch.Run());
  f.loop.RunReady();
  ASSERT_EQ(ref.Get().state, ObjectWatch::State::kPresent);
  EXPECT_EQ(ref.Get().object->resource_version(), "3");
  pipe->Push(Event("MODIFIED", Map("c", 6)));
  f.loop.RunReady();
  EXPECT_EQ(ref.Get().object->resource_version(), "6");
  pipe->Push(Event("DELETED", Map("c", 7)));
  f.loop.RunReady();
  EXPECT_EQ(ref.Get().state, ObjectWatch::State::kAbsent);
  EXPECT_EQ(f.changes.size(), 3u);
  EXPECT_THAT(f.http->requests()[0].target,
              HasSubstr("/namespaces/ns/configmaps?watch=true&fieldSelector=metadata.name%3Dc"));
}

TEST(ObjectWatch, TheLastReferenceEndsTheWatch) {
  WatchFixture f;
  auto pipe = std::make_shared<FakePipe>();
  f.replies = {{.body = Event("ADDED", Map("c", 3)) + Bookmark(5, true), .pipe = pipe}};
  Background run(f.loop, f.watch.Run());
  f.loop.RunReady();
  ObjectWatch::Ref one = f.watch.Acquire("ns", "c");
  ObjectWatch::Ref two = f.watch.Acquire("ns", "c");
  f.loop.RunReady();
  EXPECT_EQ(f.http->requests().size(), 1u);
  one.Release();
  f.loop.RunReady();
  EXPECT_FALSE(pipe->abandoned());
  two = ObjectWatch::Ref();
  f.loop.RunReady();
  EXPECT_TRUE(pipe->abandoned());
  EXPECT_EQ(f.watch.size(), 0u);
  EXPECT_EQ(f.watch.Get("ns", "c").state, ObjectWatch::State::kUnknown);
}

TEST(ObjectWatch, TakenAgainItStartsAfresh) {
  WatchFixture f;
  f.replies = {{.body = Event("ADDED", Map("c", 3)) + Bookmark(5, true), .pieces = {FakeReply::Silence()}}};
  Background run(f.loop, f.watch.Run());
  f.watch.Acquire("ns", "c").Release();
  ObjectWatch::Ref ref = f.watch.Acquire("ns", "c");
  f.loop.RunReady();
  EXPECT_EQ(ref.Get().state, ObjectWatch::State::kPresent);
}

TEST(ObjectWatch, AnAbsentObjectIsSeenWhenItAppears) {
  WatchFixture f;
  auto pipe = std::make_shared<FakePipe>();
  f.replies = {{.body = Bookmark(5, true), .pipe = pipe}};
  ObjectWatch::Ref ref = f.watch.Acquire("ns", "c");
  Background run(f.loop, f.watch.Run());
  f.loop.RunReady();
  EXPECT_EQ(ref.Get().state, ObjectWatch::State::kAbsent);
  pipe->Push(Event("ADDED", Map("c", 9)));
  f.loop.RunReady();
  EXPECT_EQ(ref.Get().state, ObjectWatch::State::kPresent);
}

TEST(ObjectWatch, ForbiddenJustAfterBindingIsTriedAgain) {
  WatchFixture f;
  FakeReply forbidden{.status = 403, .body = StatusObject(403, "Forbidden")};
  f.replies = {forbidden,
               forbidden,
               {.body = Event("ADDED", Map("c", 3)) + Bookmark(5, true), .pieces = {FakeReply::Silence()}}};
  ObjectWatch::Ref ref = f.watch.Acquire("ns", "c");
  Background run(f.loop, f.watch.Run());
  f.loop.RunReady();
  EXPECT_EQ(ref.Get().state, ObjectWatch::State::kFailed);
  EXPECT_EQ(ref.Get().error.code(), absl::StatusCode::kPermissionDenied);
  f.loop.Advance(absl::Seconds(3));
  EXPECT_EQ(ref.Get().state, ObjectWatch::State::kPresent);
}

TEST(ObjectWatch, AnImmutableObjectIsReadOnceAndNotWatched) {
  WatchFixture f;
  auto pipe = std::make_shared<FakePipe>();
  f.replies = {{.body = Event("ADDED", Map("c", 3, true)) + Bookmark(5, true), .pipe = pipe}};
  ObjectWatch::Ref ref = f.watch.Acquire("ns", "c");
  Background run(f.loop, f.watch.Run());
  f.loop.RunReady();
  EXPECT_EQ(ref.Get().state, ObjectWatch::State::kPresent);
  EXPECT_TRUE(pipe->abandoned());
  f.loop.Advance(absl::Minutes(20));
  EXPECT_EQ(f.http->requests().size(), 1u);
  EXPECT_EQ(ref.Get().state, ObjectWatch::State::kPresent);
}

}  // namespace
}  // namespace vck::kube
