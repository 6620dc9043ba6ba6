#include "http/retry_after.h"

#include "gtest/gtest.h"

namespace vck::http {
namespace {

const absl::Time kNow = absl::FromCivil(absl::CivilSecond(1994, 11, 6, 8, 49, 0), absl::UTCTimeZone());

std::optional<absl::Duration> Of(std::string field, std::string date = "") {
  Headers headers{{"retry-after", std::move(field)}};
  if (!date.empty()) headers.Add("Date", std::move(date));
  return RetryAfter(headers, kNow);
}

TEST(RetryAfter, Seconds) {
  EXPECT_EQ(Of("120"), absl::Seconds(120));
  EXPECT_EQ(Of(" 0 "), absl::ZeroDuration());
  EXPECT_EQ(Of("-1"), std::nullopt);
  EXPECT_EQ(RetryAfter({}, kNow), std::nullopt);
}

TEST(RetryAfter, Dates) {
  EXPECT_EQ(Of("Sun, 06 Nov 1994 08:49:37 GMT"), absl::Seconds(37));
  EXPECT_EQ(Of("Sunday, 06-Nov-94 08:49:37 GMT"), absl::Seconds(37));
  EXPECT_EQ(Of("Sun Nov  6 08:49:37 1994"), absl::Seconds(37));
  EXPECT_EQ(Of("Sun, 06 Nov 1994 08:48:00 GMT"), absl::ZeroDuration()) << "it is over";
}

TEST(RetryAfter, CountsByTheServersClock) {
  EXPECT_EQ(Of("Mon, 07 Nov 1994 00:00:10 GMT", "Mon, 07 Nov 1994 00:00:00 GMT"), absl::Seconds(10));
  EXPECT_EQ(Of("Sun, 06 Nov 1994 08:49:37 GMT", "yesterday"), absl::Seconds(37));
}

TEST(RetryAfter, WhatIsNeither) {
  for (const char* text : {"", "soon", "1.5", "Sun, 06 Nov 1994", "infinite-future", "infinite-past"}) {
    EXPECT_EQ(Of(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace vck::http
