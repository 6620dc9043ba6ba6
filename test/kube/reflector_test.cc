#include "kube/reflector.h"

#include "gmock/gmock.h"
#include "support.h"

namespace vck::kube {
namespace {

using ::testing::ElementsAre;
using testing::FakePipe;
using testing::FakeReply;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

bool Has(const http::Request& r, std::string_view text) { return r.target.find(text) != std::string::npos; }
bool IsWatch(const http::Request& r) { return Has(r, "watch=true"); }

// A reflector of pods into a store. Lists and watches are answered from scripts, in order; when the watches run out,
// further ones stay silent.
struct ReflectorFixture : ClientFixture {
  explicit ReflectorFixture(bool streaming = false)
      : ClientFixture([this](const http::Request& r) { return Answer(r); }),
        sink(store),
        reflector(client, sink, Options(streaming)) {
    store.Subscribe([this](const std::string& key) { changes.push_back(key); });
  }
  static ReflectorOptions Options(bool streaming) {
    return {.collection = {kPods, "", ""},
            .field_selector = "spec.nodeName=n",
            .streaming_list = streaming,
            .page_size = 2};
  }
  FakeReply Answer(const http::Request& r) {
    auto& script = IsWatch(r) ? watches : lists;
    if (script.empty()) return IsWatch(r) ? FakeReply{.pieces = {FakeReply::Silence()}} : FakeReply{.status = 500};
    FakeReply reply = std::move(script.front());
    script.pop_front();
    return reply;
  }
  // "name=version" of all, sorted.
  std::vector<std::string> Contents() {
    std::vector<std::string> out;
    for (const auto& [key, object] : store.items()) out.push_back(absl::StrCat(key, "=", object->resource_version()));
    std::sort(out.begin(), out.end());
    return out;
  }
  void RunFor(absl::Duration d) {
    Background run(loop, reflector.Run());
    loop.Advance(d);
  }
  std::vector<http::Request> Watches() {
    std::vector<http::Request> out;
    for (const http::Request& r : http->requests()) {
      if (IsWatch(r)) out.push_back(r);
    }
    return out;
  }

  std::deque<FakeReply> lists, watches;
  flow::Store<std::string, Object> store;
  std::vector<std::string> changes;
  StoreSink sink;
  Reflector reflector;
};

TEST(Reflector, ListsThenWatches) {
  ReflectorFixture f;
  f.lists = {{.body = PodList(10, {Pod("a", "1", 3), Pod("b", "2", 4)})}};
  f.watches = {{.body = Event("MODIFIED", Pod("a", "1", 11)) + Event("ADDED", Pod("c", "3", 12)) +
                        Event("DELETED", Pod("b", "2", 13)),
                .pieces = {FakeReply::Silence()}}};
  f.RunFor(absl::Seconds(1));
  EXPECT_THAT(f.Contents(), ElementsAre("ns/a=11", "ns/c=12"));
  EXPECT_TRUE(f.store.Synced());
  EXPECT_EQ(f.reflector.resource_version(), "13");
  EXPECT_EQ(f.reflector.state(), Reflector::State::kWatch);
  EXPECT_THAT(f.Watches().at(0).target,
              HasSubstr("fieldSelector=spec.nodeName%3Dn&resourceVersion=10&allowWatchBookmarks=true"));
}

TEST(Reflector, ListsInPagesAndShowsThemAtOnce) {
  ReflectorFixture f;
  f.lists = {{.body = PodList(10, {Pod("a", "1", 3), Pod("b", "2", 4)}, "more")},
             {.body = PodList(10, {Pod("c", "3", 5)}), .delay = absl::Seconds(5)}};
  Background run(f.loop, f.reflector.Run());
  f.loop.Advance(absl::Seconds(4));
  EXPECT_THAT(f.Contents(), IsEmpty());
  EXPECT_FALSE(f.store.Synced());
  f.loop.Advance(absl::Seconds(2));
  EXPECT_THAT(f.Contents(), ElementsAre("ns/a=3", "ns/b=4", "ns/c=5"));
  EXPECT_THAT(f.http->requests().at(1).target, HasSubstr("limit=2&continue=more"));
}

TEST(Reflector, AnExpiredPageStartsTheListOver) {
  ReflectorFixture f;
  f.lists = {{.body = PodList(10, {Pod("a", "1", 3), Pod("b", "2", 4)}, "more")},
             {.status = 410, .body = StatusObject(410, "Expired")},
             {.body = PodList(20, {Pod("b", "2", 14), Pod("c", "3", 5)})}};
  f.RunFor(absl::Seconds(1));
  EXPECT_THAT(f.Contents(), ElementsAre("ns/b=14", "ns/c=5"));
  EXPECT_EQ(f.reflector.resource_version(), "20");
}

TEST(Reflector, GoneWhileWatchingListsAgainAndFindsWhatWasDeleted) {
  ReflectorFixture f;
  f.lists = {{.body = PodList(10, {Pod("a", "1", 3), Pod("b", "2", 4)})},
             {.body = PodList(30, {Pod("a", "1", 3), Pod("c", "3", 25)})}};
  f.watches = {{.body = Event("ERROR", StatusObject(410, "Expired", "too old resource version"))}};
  f.RunFor(absl::Seconds(3));
  EXPECT_THAT(f.Contents(), ElementsAre("ns/a=3", "ns/c=25"));
  EXPECT_EQ(f.reflector.stats().relists, 1);
  // Only what is different was told: a stayed as it was.
  EXPECT_EQ(std::count(f.changes.begin(), f.changes.end(), "ns/a"), 1);
  EXPECT_EQ(std::count(f.changes.begin(), f.changes.end(), "ns/b"), 2);
  EXPECT_THAT(f.Watches().back().target, HasSubstr("resourceVersion=30"));
}

TEST(Reflector, A410AsTheResponseListsAgain) {
  ReflectorFixture f;
  f.lists = {{.body = PodList(10, {Pod("a", "1", 3)})}, {.body = PodList(30, {})}};
  f.watches = {{.status = 410, .body = StatusObject(410, "Expired")}};
  f.RunFor(absl::Seconds(3));
  EXPECT_THAT(f.Contents(), IsEmpty());
  EXPECT_EQ(f.reflector.resource_version(), "30");
}

TEST(Reflector, ARecreatedObjectDuringAnOutageIsAnotherOne) {
  ReflectorFixture f;
  f.lists = {{.body = PodList(10, {Pod("a", "old", 3)})}, {.body = PodList(30, {Pod("a", "new", 22)})}};
  f.watches = {{.body = Event("ERROR", StatusObject(410, "Gone"))}};
  f.RunFor(absl::Seconds(3));
  EXPECT_EQ(f.store.Get("ns/a")->uid(), "new");
}

TEST(Reflector, CutStreamsGoOnFromTheLastVersion) {
  ReflectorFixture f;
  f.lists = {{.body = PodList(10, {})}};
  std::string half = Event("ADDED", Pod("b", "2", 12));
  f.watches = {{.body = Event("ADDED", Pod("a", "1", 11)) + half.substr(0, 40), .pieces = {FakeReply::Break()}},
               {.body = half + Event("ADDED", Pod("c", "3", 13))},
               {.body = Event("MODIFIED", Pod("a", "1", 14)), .pieces = {FakeReply::Silence()}}};
  f.RunFor(absl::Seconds(5));
  EXPECT_THAT(f.Contents(), ElementsAre("ns/a=14", "ns/b=12", "ns/c=13"));
  auto watches = f.Watches();
  ASSERT_EQ(watches.size(), 3u);
  EXPECT_THAT(watches[1].target, HasSubstr("resourceVersion=11&"));
  EXPECT_THAT(watches[2].target, HasSubstr("resourceVersion=13&"));
  EXPECT_EQ(f.reflector.stats().lists, 1);
}

TEST(Reflector, EventsInAnyPiecesComeInOrder) {
  std::string script;
  for (int i = 0; i < 50; ++i) script += Event(i == 0 ? "ADDED" : "MODIFIED", Pod("a", "1", 11 + i));
  for (size_t piece : {1, 7, 100}) {
    ReflectorFixture f;
    f.lists = {{.body = PodList(10, {})}};
    FakeReply reply;
    for (size_t i = 0; i < script.size(); i += piece) reply.pieces.push_back(script.substr(i, piece));
    reply.pieces.push_back(FakeReply::Silence());
    f.watches.push_back(reply);
    std::vector<std::string> versions;
    f.store.Subscribe([&](const std::string& key) { versions.emplace_back(f.store.Get(key)->resource_version()); });
    f.RunFor(absl::Seconds(1));
    ASSERT_EQ(versions.size(), 50u) << piece;
    EXPECT_EQ(versions.front(), "11");
    EXPECT_TRUE(std::is_sorted(versions.begin(), versions.end()));
  }
}

TEST(Reflector, DuplicateAndOlderVersionsAreNoChange) {
  ReflectorFixture f;
  f.lists = {{.body = PodList(10, {Pod("a", "1", 9)})}};
  f.watches = {{.body = Event("ADDED", Pod("a", "1", 9)) + Event("MODIFIED", Pod("a", "1", 11)) +
                        Event("MODIFIED", Pod("a", "1", 11)) + Event("MODIFIED", Pod("a", "1", 8)) +
                        Event("DELETED", Pod("x", "9", 12)) + Event("DELETED", Pod("a", "other", 13)),
                .pieces = {FakeReply::Silence()}}};
  f.RunFor(absl::Seconds(1));
  EXPECT_THAT(f.Contents(), ElementsAre("ns/a=11"));
  EXPECT_THAT(f.changes, ElementsAre("ns/a", "ns/a"));
  EXPECT_EQ(f.reflector.stats().duplicates, 5);
}

TEST(Reflector, BookmarksMoveTheVersion) {
  ReflectorFixture f;
  f.lists = {{.body = PodList(10, {})}};
  f.watches = {{.body = Bookmark(500)}};
  f.RunFor(absl::Seconds(1));
  EXPECT_EQ(f.reflector.resource_version(), "500");
  EXPECT_THAT(f.Watches().back().target, HasSubstr("resourceVersion=500&"));
  EXPECT_THAT(f.Contents(), IsEmpty());
}

TEST(Reflector, AServerThatWentBackIsListedAgain) {
  ReflectorFixture f;
  f.lists = {{.body = PodList(1000, {Pod("a", "1", 900)})}, {.body = PodList(50, {Pod("a", "1", 40)})}};
  f.watches = {{.body = Bookmark(49)}};
  f.RunFor(absl::Seconds(3));
  EXPECT_THAT(f.Contents(), ElementsAre("ns/a=40"));
  EXPECT_EQ(f.reflector.resource_version(), "50");
}

TEST(Reflector, OtherErrorsOnTheStreamWatchAgainAndListInTheEnd) {
  ReflectorFixture f;
  f.lists = {{.body = PodList(10, {Pod("a", "1", 3)})}, {.body = PodList(20, {Pod("a", "1", 15)})}};
  for (int i = 0; i < 3; ++i) f.watches.push_back({.body = Event("ERROR", StatusObject(500, "InternalError", "etcd"))});
  f.RunFor(absl::Seconds(30));
  EXPECT_EQ(f.reflector.stats().lists, 2);
  EXPECT_THAT(f.Contents(), ElementsAre("ns/a=15"));
}

TEST(Reflector, AnOutageKeepsTheStoreAndBacksOff) {
  ReflectorFixture f;
  f.lists = {{.body = PodList(10, {Pod("a", "1", 3)})}};
  f.watches = {{.pieces = {FakeReply::Pause(2), FakeReply::Break()}}};
  for (int i = 0; i < 1000; ++i) f.watches.push_back({.error = absl::UnavailableError("connection refused")});
  f.RunFor(absl::Minutes(10));
  EXPECT_THAT(f.Contents(), ElementsAre("ns/a=3"));
  EXPECT_EQ(f.reflector.stats().lists, 1);
  size_t tries = f.Watches().size();
  EXPECT_GT(tries, 10u);
  EXPECT_LT(tries, 60u);
}

TEST(Reflector, TooManyRequestsIsWaitedForWithoutAList) {
  ReflectorFixture f;
  f.lists = {{.body = PodList(10, {})}};
  f.watches = {{.status = 429, .body = StatusObject(429, "TooManyRequests"), .headers = {{"Retry-After", "20"}}}};
  Background run(f.loop, f.reflector.Run());
  f.loop.Advance(absl::Seconds(19));
  EXPECT_EQ(f.Watches().size(), 1u);
  f.loop.Advance(absl::Seconds(3));
  EXPECT_EQ(f.Watches().size(), 2u);
  EXPECT_EQ(f.reflector.stats().lists, 1);
}

TEST(Reflector, AFailedListIsRepeatedWithBackoffAndReadersKeepTheOldState) {
  ReflectorFixture f;
  for (int i = 0; i < 5; ++i) f.lists.push_back({.error = absl::UnavailableError("refused")});
  f.lists.push_back({.body = PodList(10, {Pod("a", "1", 3)})});
  f.RunFor(absl::Seconds(1));
  EXPECT_FALSE(f.store.Synced());
  f.RunFor(absl::Minutes(2));
  EXPECT_TRUE(f.store.Synced());
  EXPECT_EQ(f.reflector.stats().list_failures, 5);
}

TEST(Reflector, ShortEmptyWatchesBackOff) {
  ReflectorFixture f;
  f.lists = {{.body = PodList(10, {})}};
  for (int i = 0; i < 1000; ++i) f.watches.push_back({});
  f.RunFor(absl::Minutes(5));
  EXPECT_LT(f.Watches().size(), 40u);
  EXPECT_GT(f.reflector.stats().short_watches, 5);
}

TEST(Reflector, AWatchEndsAfterItsTimeEvenIfTheServerForgets) {
  ReflectorFixture f;
  f.lists = {{.body = PodList(10, {})}};
  f.RunFor(absl::Minutes(12));
  EXPECT_GE(f.Watches().size(), 2u);
  EXPECT_EQ(f.reflector.stats().lists, 1);
}

TEST(Reflector, TextThatIsNoWatchLeadsToAList) {
  ReflectorFixture f;
  f.lists = {{.body = PodList(10, {})}, {.body = PodList(12, {Pod("a", "1", 11)})}};
  f.watches = {{.body = "<html>login</html>\n"}};
  f.RunFor(absl::Seconds(3));
  EXPECT_THAT(f.Contents(), ElementsAre("ns/a=11"));
}

// ---- streaming list ----

TEST(ReflectorStreaming, TheInitialEventsAreOneReplace) {
  ReflectorFixture f(true);
  auto pipe = std::make_shared<FakePipe>();
  f.watches = {
      {.body = Event("ADDED", Pod("a", "1", 3)) + Event("ADDED", Pod("b", "2", 2)) + Bookmark(5), .pipe = pipe}};
  Background run(f.loop, f.reflector.Run());
  f.loop.Advance(absl::Seconds(1));
  EXPECT_FALSE(f.store.Synced());
  EXPECT_THAT(f.Contents(), IsEmpty());
  pipe->Push(Bookmark(20, true) + Event("ADDED", Pod("c", "3", 21)));
  f.loop.Advance(absl::Seconds(1));
  EXPECT_TRUE(f.store.Synced());
  EXPECT_THAT(f.Contents(), ElementsAre("ns/a=3", "ns/b=2", "ns/c=21"));
  EXPECT_THAT(f.Watches().at(0).target, HasSubstr("sendInitialEvents=true&resourceVersionMatch=NotOlderThan"));
  EXPECT_EQ(f.http->requests().size(), 1u);
  EXPECT_EQ(f.reflector.resource_version(), "21");
}

TEST(ReflectorStreaming, ARefusalFallsBackToPages) {
  ReflectorFixture f(true);
  f.watches = {{.status = 422, .body = StatusObject(422, "Invalid", "sendInitialEvents is forbidden")}};
  f.lists = {{.body = PodList(10, {Pod("a", "1", 3)})}, {.body = PodList(20, {})}};
  f.RunFor(absl::Milliseconds(10));
  EXPECT_THAT(f.Contents(), ElementsAre("ns/a=3"));
  EXPECT_EQ(f.reflector.stats().streaming_lists, 1);
}

TEST(ReflectorStreaming, AServerThatIgnoresTheFieldFallsBackToPages) {
  ReflectorFixture f(true);
  f.watches = {{.body = Event("ADDED", Pod("a", "1", 3)), .pieces = {FakeReply::Silence()}}};
  f.lists = {{.body = PodList(10, {Pod("a", "1", 3)})}};
  f.RunFor(absl::Seconds(70));
  EXPECT_THAT(f.Contents(), ElementsAre("ns/a=3"));
  EXPECT_EQ(f.reflector.state(), Reflector::State::kWatch);
}

TEST(ReflectorStreaming, ACutBeforeTheEndShowsNothing) {
  ReflectorFixture f(true);
  f.watches = {{.body = Event("ADDED", Pod("a", "1", 3)), .pieces = {FakeReply::Break()}}};
  f.lists = {{.body = PodList(10, {Pod("b", "2", 4)})}};
  f.RunFor(absl::Seconds(5));
  EXPECT_THAT(f.Contents(), ElementsAre("ns/b=4"));
}

TEST(ReflectorStreaming, GoneLeadsToAnotherStreamingList) {
  ReflectorFixture f(true);
  f.watches = {{.body = Event("ADDED", Pod("a", "1", 3)) + Event("ADDED", Pod("b", "2", 4)) + Bookmark(10, true) +
                        Event("ERROR", StatusObject(410, "Expired"))},
               {.body = Event("ADDED", Pod("a", "1", 3)) + Bookmark(30, true), .pieces = {FakeReply::Silence()}}};
  f.RunFor(absl::Seconds(5));
  EXPECT_THAT(f.Contents(), ElementsAre("ns/a=3"));
  EXPECT_EQ(f.reflector.stats().streaming_lists, 2);
  EXPECT_EQ(std::count(f.changes.begin(), f.changes.end(), "ns/a"), 1);
}

TEST(ReflectorStreaming, DeletedDuringTheInitialEventsIsNotThere) {
  ReflectorFixture f(true);
  f.watches = {{.body = Event("ADDED", Pod("a", "1", 3)) + Event("DELETED", Pod("a", "1", 7)) + Bookmark(10, true),
                .pieces = {FakeReply::Silence()}}};
  f.RunFor(absl::Seconds(1));
  EXPECT_TRUE(f.store.Synced());
  EXPECT_THAT(f.Contents(), IsEmpty());
}

TEST(Reflector, UidKeysTellNamesakesApart) {
  ClientFixture c([](const http::Request& r) {
    if (IsWatch(r)) {
      return FakeReply{.body = Event("DELETED", Pod("a", "u1", 11)) + Event("ADDED", Pod("a", "u2", 12)),
                       .pieces = {FakeReply::Silence()}};
    }
    return FakeReply{.body = PodList(10, {Pod("a", "u1", 3)})};
  });
  flow::Store<std::string, Object> store;
  StoreSink sink(store, StoreSink::KeyBy::kUid);
  Reflector reflector(c.client, sink, ReflectorFixture::Options(false));
  Background run(c.loop, reflector.Run());
  c.loop.Advance(absl::Seconds(1));
  EXPECT_EQ(store.Get("u1"), nullptr);
  ASSERT_NE(store.Get("u2"), nullptr);
}

}  // namespace
}  // namespace vck::kube
