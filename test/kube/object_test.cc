#include "kube/object.h"

#include "gmock/gmock.h"
#include "json/json.h"
#include "kube/scan.h"

namespace vck::kube {
namespace {

using ::testing::HasSubstr;

std::string Compact(std::string_view json) { return json::Serialize(*json::Parse(json)); }

TEST(Object, IndexesMetadata) {
  auto object = Object::Parse(
      R"({"kind":"Pod","metadata":{"name":"web-0","namespace":"shop","uid":"0b7e","resourceVersion":"812","generation":3,)"
      R"("deletionTimestamp":"2026-01-02T03:04:05Z","deletionGracePeriodSeconds":30},"spec":{"metadata":{"name":"no"}}})");
  ASSERT_TRUE(object.ok()) << object.status();
  const Object& o = **object;
  EXPECT_EQ(o.name(), "web-0");
  EXPECT_EQ(o.ns(), "shop");
  EXPECT_EQ(o.uid(), "0b7e");
  EXPECT_EQ(o.resource_version(), "812");
  EXPECT_EQ(o.generation(), 3);
  EXPECT_EQ(o.Key(), "shop/web-0");
  EXPECT_TRUE(o.deleting());
  EXPECT_EQ(o.deletion_timestamp(), absl::FromCivil(absl::CivilSecond(2026, 1, 2, 3, 4, 5), absl::UTCTimeZone()));
  EXPECT_FALSE(o.immutable());
}

TEST(Object, WithoutNamespaceTheKeyIsTheName) {
  auto object = Object::Parse(R"({"metadata":{"name":"n1","deletionTimestamp":null},"immutable":true})");
  ASSERT_TRUE(object.ok()) << object.status();
  EXPECT_EQ((*object)->Key(), "n1");
  EXPECT_FALSE((*object)->deleting());
  EXPECT_EQ((*object)->deletion_timestamp(), std::nullopt);
  EXPECT_TRUE((*object)->immutable());
}

TEST(Object, LeavesManagedFieldsOutWhereverTheyAre) {
  const std::string managed = R"("managedFields":[{"manager":"k","fieldsV1":{"f:a":{"]}":"\"}"}}}])";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"metadata":{)" + managed + R"(},"a":1})", R"({"metadata":{},"a":1})"},
      {R"({"metadata":{)" + managed + R"(,"name":"x","uid":"u"},"a":1})",
       R"({"metadata":{"name":"x","uid":"u"},"a":1})"},
      {R"({"metadata":{"uid":"u",)" + managed + R"(,"name":"x"},"a":1})",
       R"({"metadata":{"uid":"u","name":"x"},"a":1})"},
      {R"({"metadata":{"uid":"u","name":"x",)" + managed + R"(},"a":1})",
       R"({"metadata":{"uid":"u","name":"x"},"a":1})"},
      {R"({"a":1,"metadata": { "uid" : "u" , )" + managed + R"( , "name" : "x" } })",
       R"({"a":1,"metadata":{"uid":"u","name":"x"}})"},
      {R"({"metadata":{"uid":"u" , )" + managed + R"( } })", R"({"metadata":{"uid":"u"}})"},
      {R"({"metadata":{"managedFields":null,"name":"x"}})", R"({"metadata":{"name":"x"}})"},
  };
  for (const auto& [in, out] : cases) {
    auto object = Object::Parse(in);
    ASSERT_TRUE(object.ok()) << in << object.status();
    EXPECT_EQ(Compact((*object)->json()), out) << in;
    auto expected = json::Parse(out);
    const json::Value* metadata = json::Get(*expected, "metadata");
    EXPECT_EQ((*object)->name(), json::String(metadata, "name")) << in;
    EXPECT_EQ((*object)->uid(), json::String(metadata, "uid")) << in;
  }
}

TEST(Object, ManagedFieldsElsewhereStay) {
  auto object = Object::Parse(R"({"metadata":{"name":"x"},"spec":{"managedFields":[1]}})");
  EXPECT_THAT((*object)->json(), HasSubstr("managedFields"));
}

TEST(Object, RefusesWhatIsNoObject) {
  for (const char* text : {"", " ", "null", "[]", "{", "{}", R"({"metadata":{"name":"x"})",
                           R"({"metadata":{"name":"x"}}})", R"({"metadata":)", R"({"metadata":{"name":"a\u0062"}})",
                           R"({"metadata":{"name":{}}})", R"({"metadata":{"deletionTimestamp":"soon"}})",
                           R"({"metadata" {}})", R"({"metadata":{},})", R"({"a":"\","metadata":{}})"}) {
    EXPECT_FALSE(Object::Parse(text).ok()) << text;
  }
}

TEST(Object, StringsMayHoldAnything) {
  auto object = Object::Parse(R"({"a":"}]\\\"{[","b":["\\"],"metadata":{"labels":{"x":"\\\\"},"name":"n"}})");
  ASSERT_TRUE(object.ok()) << object.status();
  EXPECT_EQ((*object)->name(), "n");
}

TEST(ObjectList, SplitsItems) {
  auto list = ParseList(
      R"({"kind":"PodList","metadata":{"resourceVersion":"77","continue":"abc","remainingItemCount":5},"items":[)"
      R"({"metadata":{"name":"a","managedFields":[{}]}}, {"metadata":{"name":"b"}}]})"
      "\n");
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_EQ(list->resource_version, "77");
  EXPECT_EQ(list->continue_token, "abc");
  EXPECT_EQ(list->remaining, 5);
  ASSERT_EQ(list->items.size(), 2u);
  EXPECT_EQ(list->items[0]->json(), R"({"metadata":{"name":"a"}})");
  EXPECT_EQ(list->items[1]->name(), "b");
}

TEST(ObjectList, EmptyAndNull) {
  EXPECT_TRUE(ParseList(R"({"metadata":{"resourceVersion":"1"},"items":[]})")->items.empty());
  EXPECT_TRUE(ParseList(R"({"items":null,"metadata":{"resourceVersion":"1"}})")->items.empty());
}

TEST(ObjectList, SaysWhatIsWrong) {
  EXPECT_THAT(ParseList(R"({"metadata":{}})").status().message(), HasSubstr("`items`"));
  EXPECT_THAT(ParseList(R"({"items":[{"metadata":{}},{}]})").status().message(), HasSubstr("items[1]"));
  EXPECT_FALSE(ParseList(R"({"items":[)").ok());
}

TEST(ResourceVersions, CompareAsNumbers) {
  EXPECT_EQ(CompareResourceVersions("9", "10"), -1);
  EXPECT_EQ(CompareResourceVersions("10", "10"), 0);
  EXPECT_EQ(CompareResourceVersions("010", "10"), 0);
  EXPECT_EQ(CompareResourceVersions("0", "00"), 0);
  EXPECT_EQ(CompareResourceVersions("184467440737095516160", "18446744073709551616"), 1);
  EXPECT_EQ(CompareResourceVersions("a", "1"), std::nullopt);
  EXPECT_EQ(CompareResourceVersions("", "1"), std::nullopt);
}

}  // namespace
}  // namespace vck::kube
