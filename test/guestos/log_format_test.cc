#include "guestos/log_format.h"

#include "gtest/gtest.h"

namespace vck::guestos {
namespace {

const absl::Time kNow = absl::FromUnixNanos(1'767'225'600'000'000'007);  // 2026-01-01
constexpr std::string_view kStamp = "2026-01-01T00:00:00.000000007Z";

std::string Feed(LogLines* lines, std::string_view data) {
  std::string out;
  lines->Feed(data, kNow, &out);
  return out;
}
std::string Line(std::string_view rest) { return std::string(kStamp) + " " + std::string(rest) + "\n"; }

TEST(LogLines, WholeLines) {
  LogLines lines(LogStream::kStdout);
  EXPECT_EQ(Feed(&lines, "one\ntwo\n\nthr"), Line("stdout F one") + Line("stdout F two") + Line("stdout F "));
  EXPECT_EQ(Feed(&lines, "ee"), "");
  EXPECT_EQ(Feed(&lines, "\n"), Line("stdout F three"));
}

TEST(LogLines, TheEndWithoutANewlineIsPartial) {
  LogLines lines(LogStream::kStderr);
  EXPECT_EQ(Feed(&lines, "abc"), "");
  std::string out;
  lines.Finish(kNow, &out);
  EXPECT_EQ(out, Line("stderr P abc"));
  lines.Finish(kNow, &out);
  EXPECT_EQ(out, Line("stderr P abc"));
}

TEST(LogLines, LongLinesAreCut) {
  LogLines lines(LogStream::kStdout);
  const std::string block(kMaxLogContent, 'x');
  EXPECT_EQ(Feed(&lines, block + block + "y\n"),
            Line("stdout P " + block) + Line("stdout P " + block) + Line("stdout F y"));
  // Byte by byte it is the same.
  LogLines slow(LogStream::kStdout);
  std::string out;
  for (char c : block + block + "y\n") out += Feed(&slow, std::string_view(&c, 1));
  EXPECT_EQ(out, Line("stdout P " + block) + Line("stdout P " + block) + Line("stdout F y"));
}

TEST(ParseLogEntry, Forms) {
  auto entry = ParseLogEntry("2026-01-01T00:00:00.000000007Z stderr P some text ");
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(entry->time, kNow);
  EXPECT_EQ(entry->stamp, kStamp);
  EXPECT_EQ(entry->stream, LogStream::kStderr);
  EXPECT_TRUE(entry->partial);
  EXPECT_EQ(entry->content, "some text ");
  EXPECT_EQ(ParseLogEntry("2026-01-01T00:00:00Z stdout F:tag x")->content, "x");
  EXPECT_EQ(ParseLogEntry("2026-01-01T00:00:00Z stdout F")->content, "");
  for (std::string_view bad : {"", "x", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z stdin F x",
                               "2026-01-01T00:00:00Z stdout X x", "2026-01-01T00:00:00Z stdout Fx x"}) {
    EXPECT_FALSE(ParseLogEntry(bad).has_value()) << bad;
  }
}

std::string Filter(LogQuery query, std::string_view log, size_t step = std::string_view::npos) {
  LogFilter filter(query);
  std::string out;
  for (size_t at = 0; at < log.size(); at += step) {
    filter.Feed(log.substr(at, step), &out);
    if (step == std::string_view::npos) break;
  }
  return out;
}

constexpr std::string_view kLog =
    "2026-01-01T00:00:01Z stdout F one\n"
    "2026-01-01T00:00:02Z stderr P two \n"
    "2026-01-01T00:00:03Z stderr F halves\n"
    "torn\n"
    "2026-01-01T00:00:04Z stdout P prompt> \n";

TEST(LogFilter, ShowsWhatWasWritten) {
  EXPECT_EQ(Filter({}, kLog), "one\ntwo halves\nprompt> ");
  for (size_t step : {1u, 7u, 40u}) EXPECT_EQ(Filter({}, kLog, step), "one\ntwo halves\nprompt> ") << step;
}

TEST(LogFilter, Options) {
  EXPECT_EQ(Filter({.timestamps = true}, kLog),
            "2026-01-01T00:00:01Z one\n2026-01-01T00:00:02Z two halves\n2026-01-01T00:00:04Z prompt> ");
  EXPECT_EQ(Filter({.since = absl::FromUnixSeconds(1'767'225'604)}, kLog), "prompt> ");
  EXPECT_EQ(Filter({.stream = LogStream::kStderr}, kLog), "two halves\n");
  EXPECT_EQ(Filter({.limit_bytes = 6}, kLog), "one\ntw");
  EXPECT_EQ(Filter({.limit_bytes = 6}, kLog, 3), "one\ntw");
}

TEST(LogFilter, ALineWithoutEndIsNotHeld) {
  LogFilter filter({});
  std::string out;
  const std::string block(100'000, 'x');
  for (int i = 0; i < 100; ++i) filter.Feed(block, &out);
  filter.Feed("\n2026-01-01T00:00:01Z stdout F after\n", &out);
  EXPECT_EQ(out, "after\n");
}

}  // namespace
}  // namespace vck::guestos
