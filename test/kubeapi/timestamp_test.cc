#include "kubeapi/timestamp.h"

#include <gtest/gtest.h>

#include "kubeapi/conditions.h"

namespace vck::kubeapi {
namespace {

TEST(Time, GoesBothWays) {
  for (std::string text :
       {"1970-01-01T00:00:00Z", "2000-02-29T23:59:59Z", "2026-11-23T12:34:56Z", "1969-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2100-03-01T00:00:00Z"}) {
    auto time = ParseTime(text);
    ASSERT_TRUE(time) << text;
    EXPECT_EQ(kubeapi::FormatTime(*time), text);
    EXPECT_EQ(absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", *time, absl::UTCTimeZone()).size(),
              text.size() - (text[0] == '0' ? 3 : 0));
  }
  for (int64_t day = -40000; day < 60000; day += 97) {
    absl::Time t = absl::FromUnixSeconds(day * 86400 + 4321);
    EXPECT_EQ(kubeapi::FormatTime(t), absl::FormatTime("%E4Y-%m-%dT%H:%M:%SZ", t, absl::UTCTimeZone()));
  }
}

TEST(Time, IsCutToTheSecond) {
  EXPECT_EQ(kubeapi::FormatTime(absl::FromUnixMillis(1999)), "1970-01-01T00:00:01Z");
  EXPECT_EQ(kubeapi::FormatTime(absl::FromUnixMillis(-1)), "1969-12-31T23:59:59Z");
  EXPECT_EQ(kubeapi::FormatTime(absl::InfinitePast()), "");
}

TEST(Time, ReadsFractionsAndOffsets) {
  EXPECT_EQ(ParseTime("2026-11-23T12:00:00.5Z"), absl::FromUnixMillis(1795435200500));
  EXPECT_EQ(ParseTime("2026-11-23T13:00:00+01:00"), absl::FromUnixSeconds(1795435200));
  for (std::string_view text :
       {"", "yesterday", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "infinite-past", "2026-11-23"}) {
    EXPECT_FALSE(ParseTime(text)) << text;
  }
}

TEST(Conditions, TransitionTimeMovesOnlyWithTheStatus) {
  auto api =
      json::Parse(R"({"conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}]})");
  const json::Value* have = FindCondition(&*api, "Ready");
  absl::Time now = *ParseTime("2026-01-02T00:00:00Z");
  Condition same{.type = "Ready", .status = "True"};
  EXPECT_FALSE(Transition(have, now, &same));
  EXPECT_EQ(same.last_transition_time, "2026-01-01T00:00:00Z");
  Condition reworded{.type = "Ready", .status = "True", .reason = "Why"};
  EXPECT_TRUE(Transition(have, now, &reworded));
  EXPECT_EQ(reworded.last_transition_time, "2026-01-01T00:00:00Z");
  Condition flipped{.type = "Ready", .status = "False"};
  EXPECT_TRUE(Transition(have, now, &flipped));
  EXPECT_EQ(flipped.last_transition_time, "2026-01-02T00:00:00Z");
  EXPECT_TRUE(Transition(nullptr, now, &same));
}

}  // namespace
}  // namespace vck::kubeapi
