#include "guestapi/cri_log.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace vck::guestapi {
namespace {

constexpr std::string_view kLog =
    "2026-10-06T00:17:09.669794201Z stdout F one\n"
    "2026-10-06T00:17:10.5Z stderr P two, \n"
    "2026-10-06T00:17:10.669794203Z stderr F its end\n"
    "garbage\n"
    "2026-10-06T00:17:11Z stdout F:x \n"
    "2026-10-06T02:17:12.000000001+02:00 stdout F last\n";

std::string Show(CriLogOptions options, std::string_view raw = kLog) {
  std::string all;
  for (size_t piece : {raw.size(), size_t{1}, size_t{7}}) {
    CriLogFilter filter(options);
    std::string out;
    for (size_t at = 0; at < raw.size(); at += piece) filter.Feed(raw.substr(at, piece), &out);
    if (piece == raw.size()) {
      all = out;
    } else {
      EXPECT_EQ(out, all) << "in pieces of " << piece;
    }
  }
  return all;
}

absl::Time At(std::string_view text) { return *ParseLogTime(text); }

TEST(CriLog, AllOfIt) {
  EXPECT_EQ(Show({}), "one\ntwo, its end\n\nlast\n");
  EXPECT_EQ(Show({.timestamps = true}),
            "2026-10-06T00:17:09.669794201Z one\n"
            "2026-10-06T00:17:10.500000000Z two, its end\n"
            "2026-10-06T00:17:11.000000000Z \n"
            "2026-10-06T00:17:12.000000001Z last\n");
}

TEST(CriLog, WhatIsAskedFor) {
  EXPECT_EQ(Show({.stream = LogStream::kStdout}), "one\n\nlast\n");
  EXPECT_EQ(Show({.stream = LogStream::kStderr}), "two, its end\n");
  EXPECT_EQ(Show({.since = At("2026-10-06T00:17:11Z")}), "\nlast\n");
  EXPECT_EQ(Show({.since = At("2026-10-06T00:17:10.6Z")}), "its end\n\nlast\n");
  EXPECT_EQ(Show({.skip_lines = 2}), "its end\n\nlast\n");
  EXPECT_EQ(Show({.skip_lines = 4, .max_lines = 1}), "\n");
  EXPECT_EQ(Show({.max_lines = 0}), "");
  EXPECT_EQ(Show({.skip_lines = 100}), "");
}

TEST(CriLog, LimitedBytes) {
  for (int64_t limit : {0, 1, 3, 4, 5, 16, 22}) {
    EXPECT_EQ(Show({.limit_bytes = limit}), std::string("one\ntwo, its end\n\nlast\n").substr(0, limit)) << limit;
  }
  EXPECT_EQ(Show({.timestamps = true, .limit_bytes = 6}), "2026-1");
  EXPECT_EQ(Show({.limit_bytes = 5, .stream = LogStream::kStderr}), "two, ") << "only what is shown counts";
  CriLogFilter filter({.limit_bytes = 5});
  std::string out;
  filter.Feed(kLog, &out);
  EXPECT_TRUE(filter.done());
}

TEST(CriLog, TheEndMayBeMissing) {
  EXPECT_EQ(Show({}, "2026-10-06T00:17:09Z stdout F abc"), "abc");
  EXPECT_EQ(Show({}, "2026-10-06T00:17:09Z stdout F abc\n2026-10-06T00:17:0"), "abc\n");
}

TEST(CriLog, WhatIsNotOfTheFormatIsSkipped) {
  const std::string good = "2026-10-06T00:17:09Z stdout F good\n";
  for (std::string_view bad :
       {"\n", "   \n", "2026-10-06T00:17:09Z stdout F\n", "2026-10-06T00:17:09Z stdin F x\n", "yesterday stdout F x\n",
        "2026-02-31T00:17:09Z stdout F x\n", "2026-10-06T24:17:09Z stdout F x\n", "2026-10-06T00:17:09 stdout F x\n",
        "2026-10-06T00:17:09.Z stdout F x\n", "2026-10-06T00:17:09.1234567890Z stdout F x\n",
        "2026-10-06T00:17:09+1:00 stdout F x\n", "2026-10-06T00:17:09+25:00 stdout F x\n"}) {
    EXPECT_EQ(Show({}, absl::StrCat(bad, good)), "good\n") << bad;
  }
  EXPECT_EQ(Show({}, absl::StrCat(std::string(100'000, 'x'), "\n", good)), "good\n");
}

TEST(CriLog, LongLinesAreNotHeld) {
  const std::string line = absl::StrCat("2026-10-06T00:17:09Z stdout F ", std::string(1'000'000, 'x'));
  CriLogFilter filter({});
  std::string out;
  size_t shown = 0;
  for (size_t at = 0; at < line.size(); at += 1000) {
    out.clear();
    filter.Feed(std::string_view(line).substr(at, 1000), &out);
    shown += out.size();
  }
  EXPECT_EQ(shown, 1'000'000u);
}

TEST(CriLog, Times) {
  EXPECT_EQ(FormatLogTime(At("2026-10-06T00:17:09.1Z")), "2026-10-06T00:17:09.100000000Z");
  EXPECT_EQ(FormatLogTime(At("1969-12-31T23:59:59.999999999Z")), "1969-12-31T23:59:59.999999999Z");
  EXPECT_EQ(FormatLogTime(At("2026-10-06T00:17:09-00:30")), "2026-10-06T00:47:09.000000000Z");
}

}  // namespace
}  // namespace vck::guestapi
