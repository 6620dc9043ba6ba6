#include "node/inventory_path.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vck::node {
namespace {

using ::testing::HasSubstr;

const std::vector<InventoryItem> kStores = {
    {.ref = {"Datastore", "ds-1"}, .name = "fast", .path = "DC0/datastore/fast"},
    {.ref = {"Datastore", "ds-2"}, .name = "ds", .path = "DC0/datastore/a/ds"},
    {.ref = {"Datastore", "ds-3"}, .name = "ds", .path = "DC0/datastore/b/ds"},
    {.ref = {"Datastore", "ds-4"}, .name = "x/y", .path = "DC0/datastore/x%2fy"},
};

StatusOr<InventoryItem> Choose(const std::string& wanted) {
  return ChooseItem(kStores, "DC0/datastore", wanted, "--datastore", "datastore");
}

TEST(ChooseItem, ByNameAndByEveryElementOfAPath) {
  for (auto [wanted, id] : {std::pair{"fast", "ds-1"},
                            {"/DC0/datastore/fast", "ds-1"},
                            {"DC0/datastore/b/ds", "ds-3"},
                            {"a/ds", "ds-2"},
                            {"/b/ds", "ds-3"},
                            {"x/y", "ds-4"},
                            {"x%2fy", "ds-4"}}) {
    auto chosen = Choose(wanted);
    ASSERT_TRUE(chosen.ok()) << wanted << ": " << chosen.status();
    EXPECT_EQ(chosen->ref.value, id) << wanted;
  }
  for (const char* wrong : {"slow", "/DC1/datastore/fast", "c/ds", "DC0/fast", "/fast/", "/"}) {
    EXPECT_TRUE(absl::IsNotFound(Choose(wrong).status())) << wrong;
  }
}

TEST(ChooseItem, SaysWhatThereIs) {
  Status several = Choose("ds").status();
  EXPECT_TRUE(absl::IsInvalidArgument(several));
  EXPECT_THAT(several.message(), HasSubstr("a path tells which: DC0/datastore/a/ds, DC0/datastore/b/ds"));
  EXPECT_THAT(Choose("").status().message(), HasSubstr("--datastore must name the datastore; there are: DC0/datas"));
  EXPECT_THAT(Choose("none").status().message(), HasSubstr("no datastore is called \"none\"; there are: "));
  EXPECT_THAT(ChooseItem({}, "", "x", "--f", "f").status().message(), HasSubstr("there is none"));
  EXPECT_EQ(ChooseItem(std::span(kStores).first(1), "DC0/datastore", "", "--f", "f")->name, "fast");
}

TEST(DescribeMissing, NamesWhatIsMissingWhere) {
  std::vector<HeldPrivileges> held = {{.scope = vch::Scope::kPool, .object = "resource pool vch-1"},
                                      {.scope = vch::Scope::kNetwork, .object = "network pods"}};
  for (const vch::Privilege& p : vch::RequiredPrivileges()) {
    for (HeldPrivileges& on : held) on.privileges.emplace_back(p.id);
  }
  EXPECT_EQ(DescribeMissing(held), "");
  std::erase(held[0].privileges, "Resource.CreatePool");
  std::erase(held[0].privileges, "VApp.Import");
  std::erase(held[1].privileges, "VApp.Import");  // not needed there
  EXPECT_EQ(DescribeMissing(held), "Resource.CreatePool, VApp.Import on resource pool vch-1");
  held[1].privileges.clear();
  EXPECT_EQ(DescribeMissing(held),
            "Resource.CreatePool, VApp.Import on resource pool vch-1; Network.Assign on network pods");
}

}  // namespace
}  // namespace vck::node
