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
  LogLines lines(guestapi::LogStream::kStdout);
  EXPECT_EQ(Feed(&lines, "one\ntwo\n\nthr"), Line("stdout F one") + Line("stdout F two") + Line("stdout F "));
  EXPECT_EQ(Feed(&lines, "ee"), "");
  EXPECT_EQ(Feed(&lines, "\n"), Line("stdout F three"));
}

TEST(LogLines, TheEndWithoutANewlineIsPartial) {
  LogLines lines(guestapi::LogStream::kStderr);
  EXPECT_EQ(Feed(&lines, "abc"), "");
  std::string out;
  lines.Finish(kNow, &out);
  EXPECT_EQ(out, Line("stderr P abc"));
  lines.Finish(kNow, &out);
  EXPECT_EQ(out, Line("stderr P abc"));
}

TEST(LogLines, LongLinesAreCut) {
  LogLines lines(guestapi::LogStream::kStdout);
  const std::string block(kMaxLogContent, 'x');
  EXPECT_EQ(Feed(&lines, block + block + "y\n"),
            Line("stdout P " + block) + Line("stdout P " + block) + Line("stdout F y"));
  // Byte by byte it is the same.
  LogLines slow(guestapi::LogStream::kStdout);
  std::string out;
  for (char c : block + block + "y\n") out += Feed(&slow, std::string_view(&c, 1));
  EXPECT_EQ(out, Line("stdout P " + block) + Line("stdout P " + block) + Line("stdout F y"));
}

}  // namespace
}  // namespace vck::guestos
