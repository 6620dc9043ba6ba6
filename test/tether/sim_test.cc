// Guests and their tethers over the control protocol; real sockets, fake time.
#include "tether/sim.h"

#include <algorithm>
#include <deque>

#include <boost/asio/co_spawn.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/loop.h"
#include "tether/client.h"
#include "tether/pod.h"

namespace vck::tether {
namespace {

using guestapi::Frame;
using guestapi::GuestState;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using vck::testing::Loop;

class SimTest : public ::testing::Test {
 protected:
  ~SimTest() override { Close(); }

  void Close() {
    bool done = false;
    asio::co_spawn(loop_.context(), sim_.Close(), [&](std::exception_ptr) { done = true; });
    EXPECT_TRUE(Until([&] { return done; }));
  }
  void Connect() {
    sim_.Connected([this](std::string line) { lines_.push_back(std::move(line)); });
  }
  Status Handle(json::Object line) { return sim_.Handle(json::Serialize(std::move(line))); }
  // A line without a guest's configuration.
  Status Op(std::string op, int n) { return Handle({{"op", op}, {"vm", absl::StrCat("vm-", n)}}); }
  void PowerOn(int n) { PowerOn(n, vch_.Config(n)); }
  void PowerOn(int n, const guestapi::BootConfig& config) {
    json::Object guestinfo;
    guestinfo[guestapi::kConfigKey] = guestapi::Encode(config);
    EXPECT_TRUE(
        Handle({{"op", "power_on"}, {"vm", absl::StrCat("vm-", n)}, {"name", "x"}, {"guestinfo", std::move(guestinfo)}})
            .ok());
    loop_.RunReady();
  }
  // The kernel takes its time for what goes through sockets, and fake time stands still meanwhile.
  bool Until(const std::function<bool()>& done) {
    for (int i = 0; i < 2000 && !done(); ++i) {
      loop_.context().restart();
      loop_.context().run_one_for(std::chrono::milliseconds(5));
    }
    return done();
  }
  template <class T>
  T Run(Task<T> task) {
    std::optional<T> out;
    asio::co_spawn(loop_.context(), std::move(task),
                   [&](std::exception_ptr, T value) { out.emplace(std::move(value)); });
    EXPECT_TRUE(Until([&] { return out.has_value(); }));
    return std::move(*out);
  }
  // "op vm" of the lines to vCenter since the last call.
  std::vector<std::string> TakeOps() {
    std::vector<std::string> out;
    for (const std::string& line : lines_) {
      auto message = *json::Parse(line);
      out.push_back(absl::StrCat(json::String(message, "op"), " ", json::String(message, "vm")));
    }
    lines_.clear();
    return out;
  }
  std::unique_ptr<TestChannel> Open(int n) {
    auto channel = Run(TestChannel::Open(&loop_.clock(), vch_.Client(vch_.key), n));
    EXPECT_TRUE(channel.ok()) << channel.status();
    return channel.ok() ? *std::move(channel) : nullptr;
  }
  template <class T>
  T Next(TestChannel* channel) {
    auto frame = Run(channel->Next());
    EXPECT_TRUE(frame.ok()) << frame.status();
    if (!frame.ok() || !std::holds_alternative<T>(*frame)) {
      ADD_FAILURE() << "another frame";
      return {};
    }
    return std::get<T>(*std::move(frame));
  }
  void Send(TestChannel* channel, const Frame& frame) {
    EXPECT_TRUE(Run(channel->Send(guestapi::EncodeFrame(frame))).ok());
  }
  // Snapshots are held together for a moment of the clock.
  GuestState NextState(TestChannel* channel) {
    std::optional<StatusOr<Frame>> out;
    asio::co_spawn(loop_.context(), channel->Next(),
                   [&](std::exception_ptr, StatusOr<Frame> f) { out.emplace(std::move(f)); });
    EXPECT_TRUE(Until([&] {
      loop_.clock().Advance(absl::Milliseconds(1));
      return out.has_value();
    }));
    if (!out || !out->ok() || !std::holds_alternative<GuestState>(**out)) {
      ADD_FAILURE() << "no snapshot";
      return {};
    }
    return std::get<GuestState>(**out);
  }

  Vch vch_;
  Loop loop_;
  std::vector<std::string> lines_;
  Sim sim_{loop_.executor(), loop_.clock(), {}};
};

TEST_F(SimTest, AGuestAnnouncesItsKeyAndAddressBeforeAnythingElse) {
  Connect();
  PowerOn(1);
  ASSERT_EQ(lines_.size(), 2);
  auto set = *json::Parse(lines_[0]);
  auto announced = guestapi::DecodeAnnouncement(json::String(json::Get(set, "guestinfo"), guestapi::kGuestKey));
  ASSERT_TRUE(announced.ok());
  EXPECT_EQ(Open(1)->key_hash(), announced->key_hash);
  auto net = *json::Parse(lines_[1]);
  EXPECT_EQ(json::AsString(json::Items(net, "ip")[0]), TestAddress(1));
  EXPECT_EQ(json::String(net, "hostname"), "host-1");
  EXPECT_EQ(lines_[1].back(), '\n');
}

TEST_F(SimTest, HelloAndSnapshotComeAtOnceAndChangesFollow) {
  PowerOn(1);
  auto channel = Open(1);
  auto hello = Next<guestapi::Hello>(channel.get());
  EXPECT_EQ(hello.pod_uid, "uid-1");
  EXPECT_TRUE(hello.certify);
  auto state = Next<GuestState>(channel.get());
  EXPECT_EQ(state.boot_id, hello.boot_id);
  EXPECT_EQ(state.sequence, 1);
  EXPECT_EQ(state.spec_revision, 0);
  auto spec = PodSpec(guestapi::RestartPolicy::kNever, {Container("c", "sleep 60; exit 3")});
  spec.pod_uid = "uid-1";
  Send(channel.get(), spec);
  state = NextState(channel.get());
  EXPECT_EQ(state.spec_revision, 1);
  EXPECT_EQ(state.containers[0].phase, guestapi::ContainerState::Phase::kRunning)
      << "changes within 10 ms are one snapshot";
  loop_.Advance(absl::Seconds(60));
  state = NextState(channel.get());
  EXPECT_EQ(state.containers[0].exit_code, 3);
  EXPECT_TRUE(state.finished);
}

TEST_F(SimTest, ASpecOfAnotherPodIsNotRun) {
  PowerOn(1);
  auto channel = Open(1);
  Next<guestapi::Hello>(channel.get());
  Next<GuestState>(channel.get());
  Send(channel.get(), PodSpec(guestapi::RestartPolicy::kNever, {Container("c", "")}));
  Send(channel.get(), guestapi::StopRequest{.grace_seconds = 0});
  auto state = NextState(channel.get());
  EXPECT_TRUE(state.stopping);
  EXPECT_EQ(state.pod_uid, "");
}

TEST_F(SimTest, FromItsCertificateOnTheTetherServesWithIt) {
  PowerOn(1);
  auto first = Open(1);
  EXPECT_TRUE(Next<guestapi::Hello>(first.get()).certify);
  // One for another key is not taken.
  Send(first.get(), guestapi::Certificate{vch_.Sign(vch_.key, "uid-1")});
  Send(first.get(), guestapi::Certificate{"nonsense"});
  Send(first.get(), guestapi::Certificate{vch_.Certify(first->public_key(), "uid-1")});
  Send(first.get(), guestapi::StopRequest{.grace_seconds = 0});
  Next<GuestState>(first.get());
  NextState(first.get());
  http::TlsOptions options{.ca_pem = vch_.ca, .server_name = std::string(guestapi::kTetherDnsName)};
  options.client_key_pem = vch_.key;
  options.client_cert_pem = vch_.Sign(vch_.key, "client");
  auto second = Run(TestChannel::Open(&loop_.clock(), *http::TlsContext::Client(options), 1));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_THAT((*second)->peer().uris, ElementsAre("vch:pod:uid-1"));
  EXPECT_EQ((*second)->key_hash(), first->key_hash()) << "the key stays";
  EXPECT_FALSE(Next<guestapi::Hello>(second->get()).certify);
}

TEST_F(SimTest, OnlyTheKubeletIsLetIn) {
  PowerOn(1);
  auto ask = [&](const std::string& key) {
    return Run(Ask(&loop_.clock(), vch_.Client(key), 1, "/v1/channel", "vch-channel/1"));
  };
  EXPECT_EQ(ask(vch_.key)->status, 101);
  EXPECT_FALSE(ask("").ok()) << "no certificate";
  // The VCH signs the certificates of pods, too: their keys are not the kubelet's.
  auto pod = ask(*http::GenerateKeyPem());
  ASSERT_TRUE(pod.ok()) << pod.status();
  EXPECT_EQ(pod->status, 403);
  EXPECT_THAT(pod->body, HasSubstr("NotTheKubelet"));
  // Its own clock may be years behind.
  auto later = Run(Ask(&loop_.clock(), vch_.Client(vch_.key, absl::Now() + absl::Hours(24 * 365)), 1, "/v1/channel",
                       "vch-channel/1"));
  EXPECT_EQ(later->status, 101);
  Vch other;
  auto stranger = Run(Ask(&loop_.clock(), other.Client(other.key), 1, "/v1/channel", "vch-channel/1"));
  EXPECT_TRUE(absl::IsFailedPrecondition(stranger.status())) << stranger.status();
}

TEST_F(SimTest, OtherEndpointsAndVersionsAreRefusedWithAReason) {
  PowerOn(1);
  auto ask = [&](std::string target, std::string upgrade) {
    return *Run(Ask(&loop_.clock(), vch_.Client(vch_.key), 1, std::move(target), std::move(upgrade)));
  };
  auto later = ask("/v1/channel", "vch-channel/2");
  EXPECT_EQ(later.status, 426);
  EXPECT_EQ(later.headers.Get("Upgrade"), "vch-channel/1");
  EXPECT_THAT(later.body, HasSubstr("this tether speaks vch-channel/1"));
  EXPECT_EQ(ask("/v1/channel", "").status, 426);
  auto missing = ask("/v1/exec", "");
  EXPECT_EQ(missing.status, 404);
  EXPECT_THAT(missing.body, HasSubstr("\"code\":\"NotFound\""));
}

TEST_F(SimTest, AStoppedGuestPowersOffWhenItsEndIsKnownOrAfterAWhile) {
  Connect();
  PowerOn(1);
  PowerOn(2);
  auto channel = Open(1);
  Next<guestapi::Hello>(channel.get());
  auto state = Next<GuestState>(channel.get());
  TakeOps();
  Send(channel.get(), guestapi::StopRequest{.grace_seconds = 30});
  state = NextState(channel.get());
  EXPECT_TRUE(state.finished);
  EXPECT_THAT(TakeOps(), ElementsAre());
  Send(channel.get(), guestapi::Ack{state.sequence - 1});
  Send(channel.get(), guestapi::Ack{state.sequence});
  ASSERT_TRUE(Until([&] { return !lines_.empty(); }));
  EXPECT_THAT(TakeOps(), ElementsAre("powered_off vm-1"));
  // Nobody listens to this one.
  EXPECT_TRUE(Op("shutdown", 2).ok());
  loop_.Advance(absl::Seconds(4));
  EXPECT_THAT(TakeOps(), ElementsAre());
  loop_.Advance(absl::Seconds(2));
  ASSERT_TRUE(Until([&] { return !lines_.empty(); }));
  EXPECT_THAT(TakeOps(), ElementsAre("powered_off vm-2"));
  EXPECT_EQ(sim_.guests(), 0);
}

TEST_F(SimTest, AStoppedGuestThatIsToStayOnWaitsForItsKubelet) {
  Connect();
  PowerOn(1);
  auto channel = Open(1);
  Next<guestapi::Hello>(channel.get());
  auto state = Next<GuestState>(channel.get());
  TakeOps();
  Send(channel.get(), guestapi::StopRequest{.grace_seconds = 30, .stay_on = true});
  state = NextState(channel.get());
  EXPECT_TRUE(state.finished);
  Send(channel.get(), guestapi::Ack{state.sequence});
  loop_.Advance(absl::Minutes(1));
  EXPECT_THAT(TakeOps(), ElementsAre());
  Send(channel.get(), guestapi::PowerOff{});
  ASSERT_TRUE(Until([&] { return !lines_.empty(); }));
  EXPECT_THAT(TakeOps(), ElementsAre("powered_off vm-1"));
}

TEST_F(SimTest, PowerOffIsHardAndResetBootsAnew) {
  Connect();
  PowerOn(1);
  std::string before = lines_[0];
  PowerOn(1);
  EXPECT_THAT(TakeOps(), ElementsAre("set vm-1", "net vm-1")) << "one that runs is left alone";
  auto channel = Open(1);
  EXPECT_TRUE(Op("reset", 1).ok());
  ASSERT_TRUE(Until([&] {
    loop_.clock().Advance(absl::Milliseconds(5));
    return lines_.size() == 2;
  }));
  EXPECT_NE(lines_[0], before);
  while (Run(channel->Next()).ok()) {
  }
  EXPECT_TRUE(Op("power_off", 1).ok());
  EXPECT_EQ(sim_.guests(), 0);
  loop_.RunReady();
  EXPECT_THAT(TakeOps(), ElementsAre("set vm-1", "net vm-1")) << "vCenter knows what it did itself";
  auto refused = Run(TestChannel::Open(&loop_.clock(), vch_.Client(vch_.key), 1));
  EXPECT_TRUE(absl::IsUnavailable(refused.status())) << refused.status();
}

TEST_F(SimTest, ProbesAndHooksAreRun) {
  PowerOn(1);
  auto channel = Open(1);
  Next<guestapi::Hello>(channel.get());
  Next<GuestState>(channel.get());
  using Kind = guestapi::Handler::Kind;
  auto spec = PodSpec(guestapi::RestartPolicy::kAlways, {Container("a", ""), Container("b", ""), Container("c", "")});
  spec.pod_uid = "uid-1";
  spec.containers[0].readiness = {.handler = {.kind = Kind::kExec, .command = {"false"}}, .failure_threshold = 1};
  spec.containers[1].readiness = {.handler = {.kind = Kind::kHttp, .port = 80}};
  spec.containers[2].post_start = guestapi::Handler{.kind = Kind::kSleep, .seconds = 3};
  spec.containers[2].liveness = {.handler = {.kind = Kind::kExec, .command = {"sleep", "100"}}, .timeout = 2};
  Send(channel.get(), spec);
  GuestState state = NextState(channel.get());
  while (!state.containers[1].ready) state = NextState(channel.get());
  EXPECT_FALSE(state.containers[0].ready) << "nothing listens in a simulated pod, but scripts are run";
  EXPECT_EQ(state.containers[2].phase, guestapi::ContainerState::Phase::kWaiting);
  for (int i = 0; i < 3; ++i) loop_.Advance(absl::Seconds(1));
  while (state.containers[2].phase != guestapi::ContainerState::Phase::kRunning) state = NextState(channel.get());
  auto told = [&](std::string_view message) {
    return std::any_of(state.events.begin(), state.events.end(), [&](const auto& e) { return e.message == message; });
  };
  EXPECT_TRUE(told("Readiness probe failed: "));
  loop_.Advance(absl::Seconds(3));
  while (!told("Liveness probe failed: command timed out: timeout 2s exceeded")) state = NextState(channel.get());
}

TEST_F(SimTest, AResetGoesOnFromTheJournal) {
  Connect();
  PowerOn(1);
  auto channel = Open(1);
  auto spec = PodSpec(guestapi::RestartPolicy::kAlways, {Container("c", ""), Container("secret", "")});
  spec.pod_uid = "uid-1";
  spec.revision = 5;
  spec.containers[0].liveness.emplace();
  spec.containers[1].confidential = true;
  Next<guestapi::Hello>(channel.get());
  GuestState before = Next<GuestState>(channel.get());
  Send(channel.get(), spec);
  while (before.containers.size() < 2 || before.containers[1].id.empty()) before = NextState(channel.get());
  loop_.RunReady();
  TakeOps();
  EXPECT_TRUE(Op("reset", 1).ok());
  ASSERT_TRUE(Until([&] {
    loop_.clock().Advance(absl::Milliseconds(5));
    return lines_.size() == 2;
  }));
  auto set = *json::Parse(lines_[0]);
  auto announced = guestapi::DecodeAnnouncement(json::String(json::Get(set, "guestinfo"), guestapi::kGuestKey));
  ASSERT_TRUE(announced.ok());
  EXPECT_EQ(announced->history(), before.boot_id);
  EXPECT_NE(announced->boot_id, before.boot_id);
  channel = Open(1);
  Next<guestapi::Hello>(channel.get());
  GuestState state = Next<GuestState>(channel.get());
  while (state.containers[0].phase != guestapi::ContainerState::Phase::kRunning) state = NextState(channel.get());
  EXPECT_EQ(state.boot_id, announced->boot_id);
  EXPECT_EQ(state.history(), before.boot_id);
  EXPECT_EQ(state.spec_revision, 0);
  EXPECT_EQ(state.containers[0].restart_count, 1);
  EXPECT_EQ(state.containers[0].last->id, before.containers[0].id);
  EXPECT_EQ(state.containers[0].last->exit_code, 137);
  EXPECT_THAT(state.containers[1].message, HasSubstr("waiting for the kubelet"));
  spec.revision = 1;
  Send(channel.get(), spec);
  while (state.containers[1].phase != guestapi::ContainerState::Phase::kRunning) state = NextState(channel.get());
  EXPECT_EQ(state.spec_revision, 1);
  EXPECT_EQ(state.containers[1].restart_count, 1);
}

TEST_F(SimTest, SurvivesALostConnectionToVcenter) {
  Connect();
  PowerOn(1);
  PowerOn(2);
  PowerOn(3);
  TakeOps();
  sim_.Disconnected();
  EXPECT_TRUE(Op("shutdown", 2).ok());
  loop_.Advance(absl::Seconds(6));
  ASSERT_TRUE(Until([&] { return sim_.guests() == 2; }));
  // vCenter comes back: it believes that 2 is on, and has destroyed 3.
  Connect();
  EXPECT_TRUE(Handle({{"op", "sync"}}).ok());
  PowerOn(1);
  PowerOn(2);
  EXPECT_THAT(TakeOps(), ElementsAre("set vm-1", "net vm-1", "set vm-3", "net vm-3", "powered_off vm-2"));
  EXPECT_EQ(sim_.guests(), 2);
  loop_.Advance(absl::Seconds(20));
  EXPECT_EQ(sim_.guests(), 1) << "what vCenter does not mention is gone";
  EXPECT_TRUE(Op("power_off", 2).ok());
  PowerOn(2);
  EXPECT_EQ(sim_.guests(), 2) << "once both agree that it is off, it can be switched on again";
}

TEST_F(SimTest, AGuestWithoutAUsableConfigurationServesNothing) {
  Connect();
  EXPECT_TRUE(Op("power_on", 1).ok());
  auto config = vch_.Config(2);
  config.kubelet_ca = "";
  PowerOn(2, config);
  config = vch_.Config(3);
  config.kubelet_ca = Vch().ca;
  PowerOn(3, config);
  EXPECT_EQ(sim_.guests(), 3);
  EXPECT_THAT(TakeOps(), ElementsAre());
  EXPECT_TRUE(Op("shutdown", 1).ok());
  EXPECT_THAT(TakeOps(), ElementsAre("powered_off vm-1"));
}

TEST_F(SimTest, WaitsForAnAddressThatIsTaken) {
  Connect();
  PowerOn(1);
  auto config = vch_.Config(2);
  config.address = TestAddress(1);
  PowerOn(2, config);
  EXPECT_THAT(TakeOps(), ElementsAre("set vm-1", "net vm-1"));
  EXPECT_TRUE(Op("power_off", 1).ok());
  ASSERT_TRUE(Until([&] {
    loop_.clock().Advance(absl::Milliseconds(10));
    return lines_.size() == 2;
  }));
  EXPECT_THAT(TakeOps(), ElementsAre("set vm-2", "net vm-2"));
}

TEST_F(SimTest, LinesThatAreNoneAreErrors) {
  EXPECT_FALSE(sim_.Handle("{").ok());
  EXPECT_FALSE(sim_.Handle("{}").ok());
  EXPECT_FALSE(sim_.Handle(R"({"op":"power_on"})").ok());
  EXPECT_FALSE(sim_.Handle(R"({"op":"dance","vm":"vm-1"})").ok());
  EXPECT_TRUE(Op("power_off", 77).ok()) << "of a guest that is not there";
  EXPECT_TRUE(Op("reset", 77).ok());
  EXPECT_TRUE(Op("shutdown", 77).ok());
}

TEST(Sim, BootTakesItsTime) {
  Loop loop;
  Vch vch;
  Sim sim(loop.executor(), loop.clock(), {.boot_delay = absl::Seconds(3)});
  int lines = 0;
  sim.Connected([&](const std::string&) { ++lines; });
  json::Object guestinfo;
  guestinfo[guestapi::kConfigKey] = guestapi::Encode(vch.Config(1));
  ASSERT_TRUE(sim.Handle(json::Serialize({{"op", "power_on"}, {"vm", "vm-1"}, {"guestinfo", guestinfo}})).ok());
  loop.Advance(absl::Milliseconds(2900));
  EXPECT_EQ(lines, 0);
  loop.Advance(absl::Milliseconds(200));
  EXPECT_EQ(lines, 2);
  loop.Run(sim.Close());
}

}  // namespace
}  // namespace vck::tether
