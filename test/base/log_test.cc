#include "base/log.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/log_memory.h"
#include "base/status.h"
#include "gtest/gtest.h"

namespace vck {
namespace {

TEST(Log, KlogText) {
  EXPECT_EQ(FormatLogLine(LogFormat::kText, Severity::kWarning, "Pod \"x\"", {{"pod", "ns/a"}, {"n", 3}, {"ok", true}},
                          "file.cc", 12, 1767225601000042, 77),
            R"(W0101 00:00:01.000042      77 file.cc:12] "Pod \"x\"" pod="ns/a" n=3 ok=true)");
}

TEST(Log, JsonEscapesWhatWouldBreakALine) {
  EXPECT_EQ(FormatLogLine(LogFormat::kJson, Severity::kError, "a\nb", {{"err", absl::NotFoundError("no\tway")}}, "f.cc",
                          1, 1767225601000042, 77),
            R"({"ts":1767225601000.042,"level":"error","caller":"f.cc:1","msg":"a\nb","err":"NOT_FOUND: no\tway"})");
}

TEST(LogMemory, KeepsTheNewestLines) {
  LogMemory memory(10);
  EXPECT_EQ(memory.Text(), "");
  for (int i = 1; i <= 5; ++i) memory.Add(i, absl::StrCat("l", i, "\n"));
  EXPECT_EQ(memory.Text(), "l3\nl4\nl5\n");
  EXPECT_EQ(memory.Text({.tail = 2}), "l4\nl5\n");
  EXPECT_EQ(memory.Text({.tail = 0}), "");
  EXPECT_EQ(memory.Text({.since = 4}), "l4\nl5\n");
  EXPECT_EQ(memory.Text({.until = 4, .tail = 1}), "l4\n");
  EXPECT_EQ(memory.Text({.since = 4, .until = 3}), "");
  memory.Add(6, "longer than all of it\n");
  EXPECT_EQ(memory.Text(), "longer than all of it\n");
  memory.Add(7, "l7\n");
  EXPECT_EQ(memory.Text(), "l7\n");
}

TEST(LogMemory, IsWrittenByTheLog) {
  static LogMemory memory(1000);  // as long as the process, as it has to be
  SetLogMemory(&memory);
  Log(Severity::kInfo, "Remembered", {{"n", 1}});
  LogV(9, "Not wanted");
  SetLogMemory(nullptr);
  Log(Severity::kInfo, "Forgotten");
  EXPECT_TRUE(absl::EndsWith(memory.Text(), "\"Remembered\" n=1\n")) << memory.Text();
}

TEST(Status, AnnotateKeepsCodeAndPayload) {
  Status s = absl::NotFoundError("gone");
  s.SetPayload("t", absl::Cord("p"));
  Status a = Annotate(s, "vm-1");
  EXPECT_EQ(a.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(a.message(), "vm-1: gone");
  EXPECT_EQ(a.GetPayload("t"), absl::Cord("p"));
  EXPECT_TRUE(Annotate(absl::OkStatus(), "x").ok());
}

TEST(Digest, Sha256) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(RandomHex(8).size(), 16u);
  EXPECT_NE(RandomHex(8), RandomHex(8));
}

}  // namespace
}  // namespace vck
