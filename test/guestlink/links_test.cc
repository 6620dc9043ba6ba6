#include "guestlink/links.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "guestlink/net.h"

namespace vck::guestlink {
namespace {

using ::testing::HasSubstr;
using Phase = guestapi::ContainerState::Phase;

class LinksTest : public ::testing::Test {
 protected:
  bool UntilPhase(const std::string& uid, Phase phase) {
    return net_.Until([&] {
      auto state = kubelet_.State(uid);
      return state.guest.containers.size() == 1 && state.guest.containers[0].phase == phase;
    });
  }

  int puts_ = 0;
  Net net_;
  std::string key_ = NewKey();
  Kubelet kubelet_{&net_, key_};
  Guests guests_{&net_};
};

TEST_F(LinksTest, APodBecomesReadyBecauseItsGuestSaysSo) {
  Endpoint endpoint = guests_.PowerOn(1, "uid-1", *kubelet_);
  kubelet_->Push("uid-1", SpecOf("uid-1", ""));
  kubelet_->Connect("uid-1", endpoint);
  ASSERT_TRUE(UntilPhase("uid-1", Phase::kRunning));
  LinkState state = kubelet_.State("uid-1");
  EXPECT_TRUE(state.connected);
  EXPECT_TRUE(state.guest.containers[0].ready);
  EXPECT_EQ(state.guest.spec_revision, 1);
  EXPECT_EQ(state.guest.boot_id, endpoint.guest.boot_id);
  EXPECT_LT(absl::AbsDuration(state.clock_offset), absl::Seconds(5));
  EXPECT_EQ(kubelet_.Metric("vch_guest_handshakes_total{result=\"ok\"}"), "1");
  EXPECT_EQ(kubelet_.Metric("vch_guest_links{state=\"connected\"}"), "1");
  EXPECT_EQ(kubelet_.Metric("vch_guest_links{state=\"connecting\"}"), "0");
}

TEST_F(LinksTest, ANewerSpecReachesAConnectedGuest) {
  Endpoint endpoint = guests_.PowerOn(1, "uid-1", *kubelet_);
  kubelet_->Connect("uid-1", endpoint);
  ASSERT_TRUE(kubelet_.UntilConnected("uid-1"));
  kubelet_->Push("uid-1", SpecOf("uid-1", "", 3));
  ASSERT_TRUE(net_.Until([&] { return kubelet_.State("uid-1").guest.generation == 3; }));
  kubelet_->Push("uid-1", SpecOf("uid-1", "", 4));
  ASSERT_TRUE(net_.Until([&] { return kubelet_.State("uid-1").guest.generation == 4; }));
}

TEST_F(LinksTest, AStoppedGuestReportsItsEndAndPowersOff) {
  Endpoint endpoint = guests_.PowerOn(1, "uid-1", *kubelet_);
  kubelet_->Push("uid-1", SpecOf("uid-1", "sleep infinity"));
  kubelet_->Connect("uid-1", endpoint);
  ASSERT_TRUE(UntilPhase("uid-1", Phase::kRunning));
  kubelet_->Stop("uid-1", {.grace_seconds = 30});
  kubelet_->Stop("uid-1", {.grace_seconds = 60});
  Instant begin = net_.clock().Now();
  ASSERT_TRUE(net_.Until([&] { return guests_.off("vm-1"); }));
  EXPECT_LT(net_.clock().Now() - begin, absl::Seconds(4)) << "it need not wait once its last state was acknowledged";
  LinkState state = kubelet_.State("uid-1");
  EXPECT_TRUE(state.guest.finished);
  EXPECT_TRUE(state.guest.stopping);
  EXPECT_EQ(state.guest.containers[0].exit_code, 143);
}

TEST_F(LinksTest, AFinishedGuestStaysOnUntilItsKubeletIsDoneWithIt) {
  Endpoint endpoint = guests_.PowerOn(1, "uid-1", *kubelet_);
  auto spec = SpecOf("uid-1", "exit 3");
  spec->restart_policy = guestapi::RestartPolicy::kNever;
  kubelet_->Push("uid-1", spec);
  kubelet_->Connect("uid-1", endpoint);
  ASSERT_TRUE(net_.Until([&] { return kubelet_.State("uid-1").guest.finished; }));
  net_.Pass(absl::Milliseconds(100));
  EXPECT_FALSE(guests_.off("vm-1"));
  EXPECT_TRUE(kubelet_.State("uid-1").connected);
  kubelet_->PowerOff("uid-1");
  ASSERT_TRUE(net_.Until([&] { return guests_.off("vm-1"); }));
}

TEST_F(LinksTest, AnotherVchsKubeletIsRefused) {
  Endpoint endpoint = guests_.PowerOn(1, "uid-1", *kubelet_);
  Kubelet other(&net_, NewKey());
  other->Connect("uid-1", endpoint);
  EXPECT_THAT(other.UntilError("uid-1"), HasSubstr("did not accept our certificate"));
  EXPECT_FALSE(other.State("uid-1").connected);
  EXPECT_EQ(other.State("uid-1").guest.sequence, 0);
}

TEST_F(LinksTest, AGuestWithAnotherKeyIsRefused) {
  Endpoint endpoint = guests_.PowerOn(1, "uid-1", *kubelet_);
  endpoint.guest.key_hash = std::string(64, '0');
  kubelet_->Push("uid-1", SpecOf("uid-1", ""));
  kubelet_->Connect("uid-1", endpoint);
  EXPECT_THAT(kubelet_.UntilError("uid-1"), HasSubstr("the guest's key is not the announced one"));
  EXPECT_EQ(kubelet_.State("uid-1").guest.sequence, 0);
  EXPECT_NE(kubelet_.Metric("vch_guest_handshakes_total{result=\"refused\"}"), "0");
  // It becomes good as soon as guestinfo says so.
  endpoint.guest = guests_.announced("vm-1");
  kubelet_->Connect("uid-1", endpoint);
  ASSERT_TRUE(kubelet_.UntilConnected("uid-1"));
  EXPECT_EQ(kubelet_.State("uid-1").error, "");
}

TEST_F(LinksTest, ACertifiedGuestNeedsNoGuestinfoAnyMore) {
  Endpoint endpoint = guests_.PowerOn(1, "uid-1", *kubelet_);
  kubelet_->Push("uid-1", SpecOf("uid-1", ""));
  kubelet_->Connect("uid-1", endpoint);
  ASSERT_TRUE(UntilPhase("uid-1", Phase::kRunning));
  // Another run of the kubelet, and a container has written nonsense.
  Kubelet next(&net_, key_);
  endpoint.guest = {.boot_id = "x", .key_hash = std::string(64, '0')};
  next->Connect("uid-1", endpoint);
  ASSERT_TRUE(next.UntilConnected("uid-1"));
  EXPECT_EQ(next.State("uid-1").guest.containers.size(), 1);
  // The certificate is that pod's, and no other's.
  next->Connect("uid-2", endpoint);
  EXPECT_THAT(next.UntilError("uid-2"), HasSubstr("no certificate of this VCH for the pod"));
}

TEST_F(LinksTest, AKeyIsPinnedForItsBoot) {
  Endpoint endpoint = guests_.PowerOn(1, "uid-1", *kubelet_);
  kubelet_->Connect("uid-1", endpoint);
  ASSERT_TRUE(kubelet_.UntilConnected("uid-1"));
  endpoint.guest.key_hash = std::string(64, '0');
  kubelet_->Connect("uid-1", endpoint);
  EXPECT_FALSE(kubelet_.State("uid-1").connected) << "a changed endpoint reconnects";
  ASSERT_TRUE(kubelet_.UntilConnected("uid-1"));
  EXPECT_EQ(kubelet_.Metric("vch_guest_handshakes_total{result=\"refused\"}"), "0");
}

TEST_F(LinksTest, TheStateOutlivesTheGuestsRebootAndThenBeginsAnew) {
  Endpoint endpoint = guests_.PowerOn(1, "uid-1", *kubelet_);
  kubelet_->Push("uid-1", SpecOf("uid-1", ""));
  kubelet_->Connect("uid-1", endpoint);
  ASSERT_TRUE(UntilPhase("uid-1", Phase::kRunning));
  int64_t sequence = kubelet_.State("uid-1").guest.sequence;
  guests_.Send({{"op", "reset"}, {"vm", "vm-1"}});
  ASSERT_TRUE(net_.Until([&] { return !kubelet_.State("uid-1").connected; }));
  EXPECT_EQ(kubelet_.State("uid-1").guest.sequence, sequence);
  ASSERT_TRUE(net_.Until([&] { return guests_.announced("vm-1") != endpoint.guest; }));
  endpoint.guest = guests_.announced("vm-1");
  kubelet_->Connect("uid-1", endpoint);
  const auto new_boot_has = [&](int64_t revision) {
    return net_.Until([&, revision] {
      auto state = kubelet_.State("uid-1");
      return state.connected && state.guest.boot_id == endpoint.guest.boot_id && state.guest.spec_revision == revision;
    });
  };
  ASSERT_TRUE(new_boot_has(0)) << "a spec is not kept once a guest has it";
  kubelet_->Push("uid-1", SpecOf("uid-1", ""));
  ASSERT_TRUE(new_boot_has(1)) << "the same again is pushed to the new boot";
  EXPECT_EQ(kubelet_.Metric("vch_guest_reconnects_total"), "1");
}

TEST_F(LinksTest, TriesAgainUntilAGuestIsThere) {
  guestapi::GuestAnnouncement nobody{.boot_id = "b", .key_hash = std::string(64, '0')};
  kubelet_->Connect("uid-1", {.vm = "vm-1", .address = TestAddress(1), .guest = nobody});
  EXPECT_THAT(kubelet_.UntilError("uid-1"), HasSubstr("refused"));
  Endpoint endpoint = guests_.PowerOn(1, "uid-1", *kubelet_);
  kubelet_->Connect("uid-1", endpoint);
  EXPECT_TRUE(kubelet_.UntilConnected("uid-1"));
}

TEST_F(LinksTest, DisconnectKeepsTheStateAndForgetDoesNot) {
  Endpoint endpoint = guests_.PowerOn(1, "uid-1", *kubelet_);
  kubelet_->Connect("uid-1", endpoint);
  ASSERT_TRUE(kubelet_.UntilConnected("uid-1"));
  kubelet_->states().Subscribe([&](const std::string&) { ++puts_; });
  kubelet_->Connect("uid-1", endpoint);
  EXPECT_EQ(puts_, 0) << "the same endpoint again changes nothing";
  kubelet_->Disconnect("uid-1");
  EXPECT_FALSE(kubelet_.State("uid-1").connected);
  EXPECT_GT(kubelet_.State("uid-1").guest.sequence, 0);
  EXPECT_EQ(kubelet_.Metric("vch_guest_links{state=\"connected\"}"), "0");
  net_.Pass(absl::Milliseconds(300));
  EXPECT_FALSE(kubelet_.State("uid-1").connected);
  kubelet_->Forget("uid-1");
  EXPECT_FALSE(kubelet_->states().Contains("uid-1"));
  EXPECT_EQ(puts_, 2);
}

TEST_F(LinksTest, TwoKubeletsOfOneVchSeeTheSameGuest) {
  Endpoint endpoint = guests_.PowerOn(1, "uid-1", *kubelet_);
  Kubelet standby(&net_, key_);
  kubelet_->Connect("uid-1", endpoint);
  standby->Connect("uid-1", endpoint);
  ASSERT_TRUE(kubelet_.UntilConnected("uid-1"));
  ASSERT_TRUE(standby.UntilConnected("uid-1"));
  kubelet_->Push("uid-1", SpecOf("uid-1", ""));
  EXPECT_TRUE(net_.Until([&] { return standby.State("uid-1").guest.spec_revision == 1; }));
}

TEST_F(LinksTest, ManyGuestsAtOnce) {
  constexpr int kMany = 25;
  for (int i = 1; i <= kMany; ++i) {
    std::string uid = absl::StrCat("uid-", i);
    kubelet_->Push(uid, SpecOf(uid, ""));
    kubelet_->Connect(uid, guests_.PowerOn(i, uid, *kubelet_));
  }
  for (int i = 1; i <= kMany; ++i) EXPECT_TRUE(UntilPhase(absl::StrCat("uid-", i), Phase::kRunning)) << i;
  EXPECT_EQ(kubelet_.Metric("vch_guest_links{state=\"connected\"}"), "25");
}

TEST(Links, TheKeyMustBeOne) {
  Net net;
  metrics::Registry registry;
  auto links = Links::Create(net.executor(), net.clock(), registry, {.key_pem = "nonsense"});
  EXPECT_TRUE(absl::IsInvalidArgument(links.status())) << links.status();
}

}  // namespace
}  // namespace vck::guestlink
