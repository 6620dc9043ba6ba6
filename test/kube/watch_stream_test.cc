#include "kube/watch_stream.h"

#include "gmock/gmock.h"
#include "kube/errors.h"
#include "support.h"

namespace vck::kube {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// "type name version" of each event, in order.
StatusOr<std::vector<std::string>> Drain(WatchStream& stream) {
  std::vector<std::string> out;
  while (true) {
    auto event = stream.Next();
    if (!event.ok()) return event.status();
    if (!*event) return out;
    const WatchEvent& e = **event;
    out.push_back(absl::StrCat(static_cast<int>(e.type), " ",
                               e.object ? absl::StrCat(e.object->name(), " ", e.object->resource_version()) : e.error));
  }
}

const char* const kScript = R"({"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"1"}}}
{"type":"MODIFIED","object":{"metadata":{"name":"a","resourceVersion":"2","labels":{"x":"}\n{\""}}}}
{"object":{"metadata":{"name":"a","resourceVersion":"3"}},"type":"DELETED"}

{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"4"}}}
{"type":"ERROR","object":{"kind":"Status","code":410}}
)";

TEST(WatchStream, ReadsEventsCutAnywhere) {
  const std::string script = kScript;
  for (size_t first = 0; first <= script.size(); ++first) {
    WatchStream stream;
    std::vector<std::string> events;
    for (const std::string& chunk : {script.substr(0, first), script.substr(first)}) {
      stream.Feed(chunk);
      auto some = Drain(stream);
      ASSERT_TRUE(some.ok()) << first << some.status();
      events.insert(events.end(), some->begin(), some->end());
    }
    ASSERT_THAT(events, ElementsAre("0 a 1", "1 a 2", "2 a 3", "3  4", R"(4 {"kind":"Status","code":410})")) << first;
    EXPECT_FALSE(stream.partial());
  }
}

TEST(WatchStream, ReadsEventsByteByByte) {
  WatchStream stream;
  size_t events = 0;
  for (char c : std::string(kScript)) {
    std::string chunk(1, c);
    stream.Feed(chunk);
    auto some = Drain(stream);
    ASSERT_TRUE(some.ok());
    events += some->size();
  }
  EXPECT_EQ(events, 5u);
}

TEST(WatchStream, AnEventWithoutItsEndIsNone) {
  WatchStream stream;
  std::string chunk = R"({"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"1"}}})";
  stream.Feed(chunk);
  EXPECT_TRUE(Drain(stream)->empty());
  EXPECT_TRUE(stream.partial());
}

TEST(WatchStream, RefusesTooLongEvents) {
  WatchStream stream(100);
  std::string chunk(60, 'x');
  stream.Feed(chunk);
  EXPECT_TRUE(Drain(stream).ok());
  stream.Feed(chunk);
  EXPECT_EQ(stream.Next().status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(stream.Next().status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(WatchStream, RefusesWhatIsNoEvent) {
  for (const char* line :
       {"<html>", "{}", "[]", R"({"type":"ADDED"})", R"({"type":"ADDED","object":{}})", R"({"type":1})",
        R"({"type":"ADDED","object":{"metadata":{}}} x)", R"({"object":{"metadata":{}}})"}) {
    EXPECT_FALSE(ParseWatchEvent(line).ok()) << line;
  }
  EXPECT_THAT(ParseWatchEvent(R"({"type":"RENAMED","object":{"metadata":{}}})").status().message(),
              HasSubstr("RENAMED"));
}

TEST(WatchStream, KnowsTheEndOfTheInitialEvents) {
  auto event = ParseWatchEvent(Bookmark(7, true));
  ASSERT_TRUE(event.ok()) << event.status();
  EXPECT_TRUE(event->object->initial_events_end());
  EXPECT_FALSE(ParseWatchEvent(Bookmark(7))->object->initial_events_end());
}

TEST(Errors, CarryCodeReasonAndDelay) {
  Status status = ErrorFromResponse(409, StatusObject(409, "AlreadyExists"), std::nullopt, "create");
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ErrorFromResponse(409, StatusObject(409, "Conflict"), std::nullopt, "x").code(),
            absl::StatusCode::kAborted);
  EXPECT_EQ(ErrorFromStatusObject(StatusObject(410, "Expired"), "w").code(), absl::StatusCode::kOutOfRange);
  status = ErrorFromResponse(503, "<html>\n", absl::Seconds(7), "get");
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  ASSERT_TRUE(GetApiError(status));
  EXPECT_EQ(GetApiError(status)->code, 503);
  EXPECT_EQ(GetApiError(status)->retry_after, absl::Seconds(7));
  EXPECT_EQ(GetApiError(absl::NotFoundError("x")), std::nullopt);
  status = ErrorFromResponse(
      429, R"({"kind":"Status","code":429,"reason":"TooManyRequests","message":"m","details":{"retryAfterSeconds":3}})",
      std::nullopt, "x");
  EXPECT_EQ(GetApiError(status)->retry_after, absl::Seconds(3));
  EXPECT_EQ(GetApiError(status)->reason, "TooManyRequests");
}

}  // namespace
}  // namespace vck::kube
