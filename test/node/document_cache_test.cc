#include "node/document_cache.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace vck::node {
namespace {

kube::ObjectPtr Object(int i) {
  return *kube::Object::Parse(absl::StrCat(R"({"metadata":{"name":"n)", i, R"("},"i":)", i, "}"));
}

TEST(DocumentCache, AnObjectIsParsedOnceInAWhile) {
  DocumentCache cache;
  const kube::ObjectPtr first = Object(0);
  const auto document = *cache.Get(first);
  EXPECT_EQ(json::Int(document->root(), "i"), 0);
  EXPECT_EQ(*cache.Get(first), document);
  EXPECT_NE(*cache.Get(Object(0)), document) << "another version of it";
}

TEST(DocumentCache, RemembersOnlySoMuch) {
  DocumentCache cache;
  const kube::ObjectPtr first = Object(0);
  std::weak_ptr<const json::Document> document = *cache.Get(first);
  for (int i = 1; i < 100; ++i) EXPECT_EQ(json::Int((*cache.Get(Object(i)))->root(), "i"), i);
  EXPECT_TRUE(document.expired());
  EXPECT_EQ(first.use_count(), 1);
}

}  // namespace
}  // namespace vck::node
