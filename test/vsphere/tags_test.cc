#include "vsphere/tags.h"

#include "async/task_group.h"
#include "fake_vapi.h"
#include "fake_vcenter.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/loop.h"

namespace vck::vsphere {
namespace {

MoRef Vm(const std::string& id) { return {.type = "VirtualMachine", .value = id}; }

// Over /api and over /rest.
class TagsTest : public ::testing::TestWithParam<bool> {
 protected:
  TagsTest() {
    vapi_.api = GetParam();
    SessionOptions options;
    options.credentials = [this]() -> StatusOr<Credentials> { return Credentials{"u", password_}; };
    session_ = std::make_unique<Session>(loop_.clock(), std::make_shared<FakeVcenter>(loop_.clock()), options);
    rest_ = std::make_unique<RestSession>(vapi_.http, *session_);
    tags_ = std::make_unique<TagService>(*rest_);
    tagger_ = std::make_unique<Tagger>(loop_.clock(), *tags_);
    group_.Spawn("tagger", tagger_->Run());
  }
  ~TagsTest() override {
    group_.Cancel();
    (void)loop_.Run(group_.Join());
  }
  // The names of the object's tags, as "category/name".
  std::set<std::string> TagsOf(const std::string& object) {
    std::set<std::string> out;
    for (const auto& [tag, id] : vapi_.attached) {
      if (id == object) out.insert(absl::StrCat(vapi_.categories[vapi_.tags[tag].first], "/", vapi_.tags[tag].second));
    }
    return out;
  }

  vck::testing::Loop loop_;
  FakeVapi vapi_{loop_.clock()};
  std::string password_ = "secret";
  std::unique_ptr<Session> session_;
  std::unique_ptr<RestSession> rest_;
  std::unique_ptr<TagService> tags_;
  std::unique_ptr<Tagger> tagger_;
  TaskGroup group_{loop_.executor()};
};

INSTANTIATE_TEST_SUITE_P(Both, TagsTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Api" : "Rest"; });

const TagName kCluster{.category = "kubernetes-cluster", .name = "c"};
const TagName kDefault{.category = "kubernetes-namespace", .name = "default"};
const TagName kOther{.category = "kubernetes-namespace", .name = "other"};

TEST_P(TagsTest, VmsAreTaggedInBatches) {
  for (int i = 0; i < 20; ++i) tagger_->Want(Vm(absl::StrCat("vm-", i)), {kCluster, i % 2 == 0 ? kDefault : kOther});
  loop_.Advance(absl::Seconds(10));
  EXPECT_EQ(tagger_->pending(), 0U);
  EXPECT_EQ(TagsOf("vm-0"), (std::set<std::string>{"kubernetes-cluster/c", "kubernetes-namespace/default"}));
  EXPECT_EQ(TagsOf("vm-1"), (std::set<std::string>{"kubernetes-cluster/c", "kubernetes-namespace/other"}));
  EXPECT_EQ(vapi_.attempts, 3);
}

TEST_P(TagsTest, AVmIsTaggedOnceInItsLife) {
  tagger_->Want(Vm("vm-1"), {kCluster});
  loop_.Advance(absl::Seconds(10));
  EXPECT_TRUE(tagger_->Knows(Vm("vm-1")));
  size_t calls = vapi_.calls.size();
  for (int i = 0; i < 10; ++i) {  // it changes
    tagger_->Want(Vm("vm-1"), {kCluster});
    loop_.Advance(absl::Seconds(10));
  }
  EXPECT_EQ(vapi_.calls.size(), calls);
  tagger_->Drop(Vm("vm-1"));
  EXPECT_FALSE(tagger_->Knows(Vm("vm-1")));
  tagger_->Want(Vm("vm-1"), {kCluster});  // an id of another life
  loop_.Advance(absl::Seconds(10));
  EXPECT_EQ(vapi_.attempts, 2);
}

TEST_P(TagsTest, WhatIsRefusedForSomeIsTriedAgainForThem) {
  vapi_.refused = {"vm-2", "vm-3"};
  for (const char* id : {"vm-1", "vm-2", "vm-3"}) tagger_->Want(Vm(id), {kDefault});
  loop_.Advance(absl::Seconds(3));
  EXPECT_EQ(TagsOf("vm-1").size(), 1U);
  EXPECT_EQ(tagger_->pending(), 2U);
  // Others do not wait for them.
  tagger_->Want(Vm("vm-4"), {kDefault, kCluster});
  loop_.Advance(absl::Seconds(5));
  EXPECT_EQ(TagsOf("vm-4").size(), 2U);
  vapi_.refused = {"vm-3"};
  loop_.Advance(absl::Seconds(30));
  EXPECT_EQ(TagsOf("vm-2").size(), 1U);
  EXPECT_EQ(tagger_->pending(), 1U);
  int before = vapi_.attempts;
  loop_.Advance(absl::Hours(1));
  EXPECT_GT(vapi_.attempts, before);
  EXPECT_LE(vapi_.attempts, before + 15) << "ever more slowly";
  tagger_->Drop(Vm("vm-3"));
  before = vapi_.attempts;
  loop_.Advance(absl::Hours(1));
  EXPECT_EQ(vapi_.attempts, before);
  EXPECT_EQ(tagger_->pending(), 0U);
}

TEST_P(TagsTest, ATagThatSomebodyDeletesIsMadeAnew) {
  tagger_->Want(Vm("vm-1"), {kDefault});
  loop_.Advance(absl::Seconds(5));
  vapi_.tags.clear();
  vapi_.attached.clear();
  tagger_->Want(Vm("vm-2"), {kDefault});
  loop_.Advance(absl::Minutes(1));
  EXPECT_EQ(TagsOf("vm-2").size(), 1U);
}

TEST_P(TagsTest, RefusedLoginsAreFewHoweverLongItTries) {
  password_ = "rotated";
  tagger_->Want(Vm("vm-1"), {kDefault});
  loop_.Advance(absl::Minutes(5));
  EXPECT_LE(vapi_.Count(GetParam() ? "POST /api/session" : "POST /rest/com/vmware/cis/session"), 3);
  EXPECT_EQ(tagger_->pending(), 1U);
  vapi_.password = "rotated";
  loop_.Advance(absl::Hours(1));
  EXPECT_EQ(TagsOf("vm-1").size(), 1U);
}

}  // namespace
}  // namespace vck::vsphere
