#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vch/names.h"
#include "vch/pod_key.h"

namespace vck::vch {
namespace {

using ::testing::MatchesRegex;
using ::testing::Not;

TEST(PodVmName, IsDeterministicAndFits) {
  std::string name = PodVmName("vch-1", "uid-1", "default", "web-0");
  EXPECT_THAT(name, MatchesRegex("default-web-0-[0-9a-f]{12}"));
  EXPECT_EQ(name, PodVmName("vch-1", "uid-1", "default", "web-0"));
  EXPECT_NE(name, PodVmName("vch-2", "uid-1", "default", "web-0"));
  EXPECT_NE(name, PodVmName("vch-1", "uid-2", "default", "web-0"));
}

TEST(PodVmName, CutsLongNames) {
  std::string space(63, 'n');
  std::string pod(253, 'p');
  std::string name = PodVmName("v", "u", space, pod);
  EXPECT_EQ(name.size(), kMaxName);
  EXPECT_THAT(name, MatchesRegex("n+-p+-[0-9a-f]{12}"));
  // A long namespace gives way to the pod's name, a short name leaves it room.
  EXPECT_THAT(PodVmName("v", "u", space, "web"), MatchesRegex("n{63}-web-[0-9a-f]{12}"));
  // No dash or dot is left where it was cut.
  EXPECT_THAT(PodVmName("v", "u", "a-", "b." + std::string(70, 'c')), Not(MatchesRegex(".*(--|\\.-).*")));
}

TEST(PodVmName, HoldsNothingThatVcenterEscapes) {
  EXPECT_THAT(PodVmName("v", "u", "a/b", "c%d\\e"), MatchesRegex("a-b-c-d-e-[0-9a-f]{12}"));
}

TEST(Names, Escapes) {
  EXPECT_EQ(EscapeName("a/b%c\\d"), "a%2fb%25c%5cd");
  EXPECT_EQ(UnescapeName("a%2Fb%25c%5cd%zz%"), "a/b%c\\d%zz%");
}

TEST(Names, VchNames) {
  EXPECT_TRUE(CheckVchName("vch-1.a_b").ok());
  for (const char* bad : {"", "-a", ".a", "a b", "a/b", "12345678901234567890123456789012"}) {
    EXPECT_FALSE(CheckVchName(bad).ok()) << bad;
  }
}

TEST(Names, DatastorePaths) {
  auto path = ParseDatastorePath("[ds 1] dir/a b.vmdk");
  ASSERT_TRUE(path.ok());
  EXPECT_EQ(path->datastore, "ds 1");
  EXPECT_EQ(path->path, "dir/a b.vmdk");
  EXPECT_EQ(path->ToString(), "[ds 1] dir/a b.vmdk");
  EXPECT_EQ(ParseDatastorePath("[ds]")->ToString(), "[ds]");
  for (const char* bad : {"", "ds/a", "[] a", "[ds a"}) EXPECT_FALSE(ParseDatastorePath(bad).ok()) << bad;
}

TEST(PodKey, RoundTrip) {
  PodKey key{.vch_id = "vch 1",
             .pod_uid = "6f3c",
             .pod_namespace = "default",
             .pod_name = "a=b%c\xC3\xA9",
             .pod_ip = "10.1.2.3",
             .node = "n",
             .spec_hash = "h"};
  std::string text = Encode(key);
  EXPECT_EQ(text, "v1 vch=vch%201 uid=6f3c ns=default name=a%3Db%25c%C3%A9 ip=10.1.2.3 node=n spec=h");
  auto parsed = ParsePodKey(text);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*parsed, key);
}

TEST(PodKey, SkipsWhatIsNewAndRefusesWhatIsWrong) {
  EXPECT_TRUE(ParsePodKey("v1 vch=a uid=b ns=c name=d later=x").ok());
  EXPECT_TRUE(absl::IsNotFound(ParsePodKey("").status()));
  for (const char* bad : {"v2 vch=a uid=b ns=c name=d", "v1", "v1 vch=a uid=b ns=c", "v1 vch=a uid=b ns=c name=",
                          "v1 vch=a vch=b uid=b ns=c name=d", "v1 vch=%4 uid=b ns=c name=d",
                          "v1  vch=a uid=b ns=c name=d", "v1 vch=a uid=b ns=c name=%zz", "garbage"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParsePodKey(bad).status())) << bad;
  }
}

TEST(PodKeyImages, KeepOrderAndRefuseNonsense) {
  const std::vector<PodImage> images = {{"busybox", "docker.io/library/busybox@sha256:ab"},
                                        {"a/b:1", "r/a/b@sha256:cd"}};
  PodKey key{.vch_id = "v", .pod_uid = "u", .pod_namespace = "n", .pod_name = "p", .images = EncodeImages(images)};
  auto back = ParsePodKey(Encode(key));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(*ParseImages(back->images), images);
  EXPECT_TRUE(ParseImages("")->empty());
  const std::vector<PodImage> with_gap = {{"a", "x"}, {}, {"b", "y"}};
  EXPECT_EQ(*ParseImages(EncodeImages(with_gap)), with_gap);
  for (const char* bad : {",", "a", "a|", "|b", "a|b,", "a|b|c"}) EXPECT_FALSE(ParseImages(bad).ok()) << bad;
}

}  // namespace
}  // namespace vck::vch
