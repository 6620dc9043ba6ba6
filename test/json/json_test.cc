#include "json/json.h"

#include "gtest/gtest.h"

namespace vck::json {
namespace {

TEST(Json, ReadsTypedAndFallsBack) {
  auto doc = Document::Parse(R"({"a":{"b":"x","n":7,"f":2.0,"t":true,"l":[1,2],"z":null}})");
  ASSERT_TRUE(doc.ok()) << doc.status();
  const Value* a = Get(doc->root(), "a");
  EXPECT_EQ(String(a, "b"), "x");
  EXPECT_EQ(String(a, "n", "no string"), "no string");
  EXPECT_EQ(Int(a, "n"), 7);
  EXPECT_EQ(Int(a, "f"), 2);
  EXPECT_EQ(Int(a, "b", -1), -1);
  EXPECT_TRUE(Bool(a, "t"));
  EXPECT_EQ(Items(a, "l").size(), 2u);
  EXPECT_EQ(Items(a, "b").size(), 0u);
  EXPECT_EQ(Get(a, "z"), nullptr);
  EXPECT_EQ(Path(doc->root(), {"a", "missing", "b"}), nullptr);
  EXPECT_EQ(Members(doc->root(), "a").size(), 6u);
}

TEST(Json, SaysWhereItBroke) {
  EXPECT_EQ(Parse("{\"a\":}").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Parse("{} x").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Parse("").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Parse(std::string(200, '[')).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace vck::json
