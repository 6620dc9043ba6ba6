// Links against a tether that says what a test wants it to say.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "guestapi/frame.h"
#include "guestlink/net.h"
#include "guestlink/scripted_tether.h"

namespace vck::guestlink {
namespace {

using guestapi::GuestState;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ScriptedTest : public ::testing::Test {
 protected:
  void Connect() { kubelet_->Connect("uid-1", tether_.endpoint()); }
  bool UntilSequence(int64_t sequence) {
    return net_.Until([&] { return kubelet_.State("uid-1").guest.sequence == sequence; });
  }

  std::vector<int64_t> seen_;
  Net net_;
  Kubelet kubelet_{&net_, NewKey()};
  ScriptedTether tether_{&net_};
};

TEST_F(ScriptedTest, WithinABootOnlyNewerSnapshotsCount) {
  kubelet_->states().Subscribe([this](const std::string& uid) { seen_.push_back(kubelet_.State(uid).guest.sequence); });
  tether_.Say(HelloOf("b1"));
  for (int sequence : {3, 2, 3, 5, 4}) tether_.Say(StateOf("b1", sequence));
  tether_.Say(StateOf("b2", 1));
  Connect();
  ASSERT_TRUE(UntilSequence(1));
  EXPECT_THAT(seen_, ElementsAre(3, 5, 1)) << "another boot begins anew";
  EXPECT_NEAR(absl::ToDoubleSeconds(kubelet_.State("uid-1").clock_offset), 3600, 60);
}

TEST_F(ScriptedTest, ALostChannelKeepsTheStateAndIsMadeAgain) {
  tether_.Say(HelloOf("b1"));
  tether_.Say(StateOf("b1", 7));
  Connect();
  ASSERT_TRUE(UntilSequence(7));
  tether_.Drop();
  ASSERT_TRUE(net_.Until([&] { return !kubelet_.State("uid-1").connected; }));
  EXPECT_EQ(kubelet_.State("uid-1").guest.sequence, 7);
  EXPECT_THAT(kubelet_.State("uid-1").error, HasSubstr("closed the channel"));
  ASSERT_TRUE(kubelet_.UntilConnected("uid-1")) << "the same snapshot is enough";
  EXPECT_EQ(kubelet_.State("uid-1").error, "");
  EXPECT_EQ(tether_.channels(), 2);
  EXPECT_EQ(kubelet_.Metric("vch_guest_reconnects_total"), "1");
}

TEST_F(ScriptedTest, WishesAreRepeatedUntilTheGuestKnowsThem) {
  tether_.Say(HelloOf("b1"));
  tether_.Say(StateOf("b1", 1, 4));
  kubelet_->Push("uid-1", SpecOf("uid-1", "", 5));
  kubelet_->Stop("uid-1", {.grace_seconds = 9});
  Connect();
  ASSERT_TRUE(net_.Until([&] { return tether_.frames().size() == 2; }));
  EXPECT_EQ(std::get<guestapi::GuestSpec>(tether_.frames()[0]).revision, 5);
  EXPECT_EQ(std::get<guestapi::StopRequest>(tether_.frames()[1]).grace_seconds, 9);
  // It never reported them, so the next connection gets them again.
  tether_.frames().clear();
  tether_.Drop();
  ASSERT_TRUE(net_.Until([&] { return tether_.frames().size() == 2; }));
  // And not what it knows.
  tether_.frames().clear();
  tether_.SayNow(StateOf("b1", 2, 5));
  ASSERT_TRUE(UntilSequence(2));
  kubelet_->Stop("uid-1", {.grace_seconds = 20});
  kubelet_->Stop("uid-1", {.grace_seconds = 1});
  ASSERT_TRUE(net_.Until([&] { return !tether_.frames().empty(); }));
  EXPECT_EQ(std::get<guestapi::StopRequest>(tether_.frames()[0]).grace_seconds, 1) << "only a shorter grace";
  EXPECT_EQ(tether_.frames().size(), 1);
  tether_.frames().clear();
  kubelet_->Stop("uid-1", {.grace_seconds = 1, .stay_on = true});
  ASSERT_TRUE(net_.Until([&] { return !tether_.frames().empty(); }));
  EXPECT_TRUE(std::get<guestapi::StopRequest>(tether_.frames()[0]).stay_on);
}

TEST_F(ScriptedTest, AGuestIsToldTimesByItsOwnClock) {
  tether_.Say(HelloOf("b1"));
  tether_.Say(StateOf("b1", 1, 4));  // an hour behind
  auto spec = SpecOf("uid-1", "", 5);
  spec->start_time = absl::Now();
  kubelet_->Push("uid-1", spec);
  Connect();
  ASSERT_TRUE(net_.Until([&] { return tether_.frames().size() == 1; }));
  const absl::Time told = std::get<guestapi::GuestSpec>(tether_.frames()[0]).start_time;
  EXPECT_NEAR(absl::ToDoubleSeconds(spec->start_time - told), 3600, 60);
}

TEST_F(ScriptedTest, TheEndIsAcknowledged) {
  tether_.Say(HelloOf("b1"));
  GuestState state = StateOf("b1", 6);
  state.finished = true;
  tether_.Say(state);
  Connect();
  ASSERT_TRUE(net_.Until([&] { return !tether_.frames().empty(); }));
  EXPECT_EQ(std::get<guestapi::Ack>(tether_.frames()[0]).sequence, 6);
}

TEST_F(ScriptedTest, WhatIsNotOfTheProtocolEndsTheChannel) {
  struct Case {
    std::string text, error;
  } cases[] = {
      {R"({"hello":{"version":2,"bootId":"b1","podUid":"uid-1"}})", "the guest speaks version 2, and this kubelet 1"},
      {R"({"hello":{"bootId":"b1","podUid":"uid-9"}})", "the guest says that it is of pod uid-9"},
      {R"({"state":{"bootId":"b1","sequence":1,"guestNow":1,"podUid":"uid-9"}})", "the guest runs pod uid-9"},
      {R"({"state":{"bootId":"b1"}})", "state: sequence is missing"},
      {"garbage", "not JSON"},
      {R"({"hello":{"bootId":"b1","podUid":"uid-1","certify":"please"}})", "certify"},
  };
  for (const Case& c : cases) {
    Net net;
    Kubelet kubelet(&net, NewKey());
    ScriptedTether tether(&net);
    tether.SayText(c.text + "\n");
    kubelet->Connect("uid-1", tether.endpoint());
    EXPECT_THAT(kubelet.UntilError("uid-1"), HasSubstr(c.error));
    EXPECT_FALSE(kubelet.State("uid-1").connected);
  }
}

TEST_F(ScriptedTest, TheCertificateIsForTheKeyOfTheConnectionAndOnlyForWhoAsks) {
  auto hello = HelloOf("b1");
  hello.certify = true;
  tether_.Say(hello);
  Connect();
  ASSERT_TRUE(net_.Until([&] { return !tether_.frames().empty(); }));
  std::string pem = std::get<guestapi::Certificate>(tether_.frames()[0]).pem;
  EXPECT_EQ(*http::PublicKeyHash(pem), tether_.endpoint().guest.key_hash);
  tether_.frames().clear();
  tether_.SayNow(StateOf("b1", 6));
  auto end = StateOf("b1", 7);
  end.finished = true;
  tether_.SayNow(end);
  ASSERT_TRUE(net_.Until([&] { return !tether_.frames().empty(); }));
  EXPECT_TRUE(std::holds_alternative<guestapi::Ack>(tether_.frames()[0])) << "one certificate";
}

TEST_F(ScriptedTest, ARefusedUpgradeSaysWhy) {
  tether_.SetStatus(426);
  Connect();
  EXPECT_THAT(kubelet_.UntilError("uid-1"), HasSubstr("the guest answered 426: too old"));
}

}  // namespace
}  // namespace vck::guestlink
