#include "base/log.h"

#include "base/digest.h"
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
