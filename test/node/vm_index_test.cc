#include "node/vm_index.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vck::node {
namespace {

using ::testing::ElementsAre;
using vimtypes::VmRecord;

std::shared_ptr<const VmRecord> Vm(const std::string& moid, const std::string& uid, const std::string& vch = "v",
                                   bool incomplete = false) {
  VmRecord vm;
  vm.vm = {"VirtualMachine", moid};
  vm.name = "name-" + moid;
  if (!uid.empty())
    vm.pod_key = vch::Encode(vch::PodKey{.vch_id = vch, .pod_uid = uid, .pod_namespace = "n", .pod_name = "p"});
  vm.incomplete = incomplete;
  return std::make_shared<const VmRecord>(vm);
}

class VmIndexTest : public ::testing::Test {
 protected:
  VmIndexTest() {
    index.Subscribe([this](const std::string& uid) { told.push_back(uid); });
  }
  VmIndex::Store vms;
  VmIndex index{vms, "v"};
  std::vector<std::string> told;
};

TEST_F(VmIndexTest, FollowsVmsOfThisVchOnly) {
  vms.Put("vm-1", Vm("vm-1", "a"));
  vms.Put("vm-2", Vm("vm-2", "b", "other"));
  vms.Put("vm-3", Vm("vm-3", ""));
  EXPECT_EQ(index.Find("a").size(), 1u);
  EXPECT_EQ(index.Find("b").size(), 0u);
  EXPECT_EQ(index.KeyOf("vm-2"), nullptr);
  EXPECT_NE(index.FindByName("name-vm-2"), nullptr);
  EXPECT_THAT(told, ElementsAre("a"));
}

TEST_F(VmIndexTest, TemplateMadeFromAPodVmIsNoPod) {
  VmRecord vm = *Vm("vm-1", "a");
  vm.is_template = true;
  vms.Put("vm-1", std::make_shared<const VmRecord>(vm));
  EXPECT_EQ(index.Find("a").size(), 0u);
  EXPECT_EQ(index.FindByName("name-vm-1"), nullptr);
  vms.Put("vm-2", Vm("vm-2", "b"));
  VmRecord marked = *Vm("vm-2", "b");
  marked.is_template = true;
  vms.Put("vm-2", std::make_shared<const VmRecord>(marked));
  EXPECT_EQ(index.Find("b").size(), 0u);
}

TEST_F(VmIndexTest, TellsAboutChangesAndTheEnd) {
  vms.Put("vm-1", Vm("vm-1", "a"));
  vms.Put("vm-1", Vm("vm-1", "a"));
  vms.Erase("vm-1");
  EXPECT_THAT(told, ElementsAre("a", "a", "a"));
  EXPECT_EQ(index.Find("a").size(), 0u);
  EXPECT_EQ(index.FindByName("name-vm-1"), nullptr);
  EXPECT_TRUE(index.PodUids().empty());
}

TEST_F(VmIndexTest, KeyThatTheServerHidesForAMomentIsNotForgotten) {
  vms.Put("vm-1", Vm("vm-1", "a"));
  vms.Put("vm-1", Vm("vm-1", "", "v", true));
  EXPECT_EQ(index.Find("a").size(), 1u);
}

TEST_F(VmIndexTest, DuplicatesAreBothFound) {
  vms.Put("vm-1", Vm("vm-1", "a"));
  vms.Put("vm-2", Vm("vm-2", "a"));
  EXPECT_EQ(index.Find("a").size(), 2u);
  vms.Erase("vm-1");
  EXPECT_EQ(index.Find("a").size(), 1u);
}

TEST_F(VmIndexTest, RelistThatLostAVmTellsItsPod) {
  vms.Put("vm-1", Vm("vm-1", "a"));
  told.clear();
  vms.Replace({});
  EXPECT_THAT(told, ElementsAre("a"));
}

}  // namespace
}  // namespace vck::node
