// VMware's side of the guest, against a host of our own.
#include <cstring>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "async/timeout.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "guestos/hypervisor_vmware.h"
#include "guestos/vmware_rpc.h"
#include "guestos/vmware_tools.h"
#include "support/loop.h"

namespace vck::guestos {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// The VMX's end of the backdoor, as open-vm-tools' lib/message expects it.
class FakeHost : public Backdoor {
 public:
  bool high_bandwidth = false, cookies = true;
  int refuse_open = 0;  // so many more opens fail
  int checkpoints = 0;  // so many transfers are cut by a move of the VM
  std::map<std::string, std::string> guestinfo;
  std::vector<std::string> commands;          // what came over RPCI
  std::vector<std::string> replies;           // what came over TCLO
  std::deque<std::string> requests;           // to be asked over TCLO
  std::map<std::string, std::string> refuse;  // RPCI command: reply

  void Call(BackdoorRegisters* r) override {
    EXPECT_EQ(r->ax, 0x564D5868u);
    EXPECT_EQ(r->dx & 0xFFFF, 0x5658u);
    EXPECT_EQ(r->cx & 0xFFFF, 30u);
    switch (r->cx >> 16) {
      case 0:
        return Open(r);
      case 6:
        return Close(r);
      default:
        break;
    }
    Channel* channel = Find(r->dx >> 16, r->si, r->di);
    if (channel == nullptr) return Status(r, 0);
    switch (r->cx >> 16) {
      case 1:
        channel->size = static_cast<uint32_t>(r->bx);
        channel->in.clear();
        if (channel->size == 0) Got(channel);
        return Status(r, high_bandwidth ? 0x81 : 0x01);
      case 2: {
        if (TakeOne(&checkpoints)) return Status(r, 0x10);
        const auto piece = static_cast<uint32_t>(r->bx);
        char bytes[4];
        std::memcpy(bytes, &piece, 4);
        channel->in.append(bytes, std::min<size_t>(4, channel->size - channel->in.size()));
        if (channel->in.size() == channel->size) Got(channel);
        return Status(r, 0x01);
      }
      case 3:
        if (channel->out.empty() && channel->protocol == 0x4F4C4354 && !requests.empty()) {
          channel->out.push_back(requests.front());
          requests.pop_front();
        }
        if (channel->out.empty()) return Status(r, 0x01);
        channel->sent = 0;
        r->bx = channel->out.front().size();
        r->dx = (r->dx & 0xFFFF) | 1u << 16;
        return Status(r, high_bandwidth ? 0x83 : 0x03);
      case 4: {
        if (r->bx != 1) {  // the guest does not want it
          channel->out.pop_front();
          return Status(r, 0x01);
        }
        if (TakeOne(&checkpoints)) return Status(r, 0x10);
        uint32_t piece = 0;
        const std::string& out = channel->out.front();
        const size_t n = std::min(sizeof piece, out.size() - channel->sent);
        std::memcpy(&piece, out.data() + channel->sent, n);
        channel->sent += n;
        r->bx = piece;
        r->dx = (r->dx & 0xFFFF) | 2u << 16;
        return Status(r, 0x01);
      }
      case 5:
        channel->out.pop_front();
        return Status(r, 0x01);
      default:
        ADD_FAILURE() << "message type " << (r->cx >> 16);
        return Status(r, 0);
    }
  }
  void SendBytes(BackdoorRegisters* r) override {
    EXPECT_EQ(r->dx & 0xFFFF, 0x5659u);
    Channel* channel = Find(r->dx >> 16, r->bp, r->di);
    ASSERT_NE(channel, nullptr);
    if (TakeOne(&checkpoints)) {
      r->bx = 0x10u << 16;
      return;
    }
    // The registers hold addresses.
    channel->in.assign(reinterpret_cast<const char*>(r->si), r->cx);  // NOLINT(performance-no-int-to-ptr)
    Got(channel);
    r->bx = 1u << 16;
  }
  void ReceiveBytes(BackdoorRegisters* r) override {
    EXPECT_EQ(r->dx & 0xFFFF, 0x5659u);
    Channel* channel = Find(r->dx >> 16, r->si, r->bp);
    ASSERT_NE(channel, nullptr);
    EXPECT_EQ(r->cx, channel->out.front().size());
    void* to = reinterpret_cast<void*>(r->di);  // NOLINT(performance-no-int-to-ptr)
    std::memcpy(to, channel->out.front().data(), r->cx);
    r->bx = 1u << 16;
  }
  [[nodiscard]] size_t open_channels() const { return channels_.size(); }

 private:
  struct Channel {
    uint32_t protocol = 0;
    uint64_t cookie_high = 0, cookie_low = 0;
    uint32_t size = 0;
    std::string in;
    std::deque<std::string> out;
    size_t sent = 0;
  };
  static void Status(BackdoorRegisters* r, uint64_t status) { r->cx = status << 16; }
  static bool TakeOne(int* left) {
    if (*left == 0) return false;
    --*left;
    return true;
  }
  Channel* Find(uint64_t id, uint64_t high, uint64_t low) {
    auto it = channels_.find(id);
    if (it == channels_.end() || it->second.cookie_high != high || it->second.cookie_low != low) return nullptr;
    return &it->second;
  }
  void Open(BackdoorRegisters* r) {
    const bool with_cookie = (r->bx & 0x80000000) != 0;
    if (TakeOne(&refuse_open)) return Status(r, 0);
    if (with_cookie && !cookies) return Status(r, 0);
    const uint64_t id = ++last_;
    Channel& channel = channels_[id];
    channel.protocol = static_cast<uint32_t>(r->bx & 0x7FFFFFFF);
    if (with_cookie) channel.cookie_high = r->si = 0xAAAA0000 + id, channel.cookie_low = r->di = 0xBBBB0000 + id;
    r->dx = (r->dx & 0xFFFF) | id << 16;
    Status(r, 1);
  }
  void Close(BackdoorRegisters* r) {
    EXPECT_NE(Find(r->dx >> 16, r->si, r->di), nullptr);
    channels_.erase(r->dx >> 16);
    Status(r, 1);
  }
  void Got(Channel* channel) {
    if (channel->protocol == 0x4F4C4354) {
      if (!channel->in.empty()) replies.push_back(channel->in);
      return;
    }
    commands.push_back(channel->in);
    channel->out.push_back(Answer(channel->in));
  }
  std::string Answer(const std::string& command) {
    for (const auto& [prefix, reply] : refuse) {
      if (absl::StartsWith(command, prefix)) return reply;
    }
    std::vector<std::string> words = absl::StrSplit(command, absl::MaxSplits(' ', 2));
    if (words[0] == "info-get") {
      return guestinfo.contains(words[1]) ? "1 " + guestinfo[words[1]] : "0 No value found";
    }
    if (words[0] == "info-set") guestinfo[words[1]] = words[2];
    return "1 ";
  }
  std::map<uint64_t, Channel> channels_;
  uint64_t last_ = 0;
};

class ChannelTest : public ::testing::TestWithParam<bool> {};

TEST_P(ChannelTest, AsksAndGetsAnswers) {
  FakeHost host;
  host.high_bandwidth = GetParam();
  MessageChannel channel(&host, MessageChannel::kRpci);
  for (size_t size : {0, 1, 2, 3, 4, 5, 4095}) {
    const std::string value(size, 'x');
    host.guestinfo["guestinfo.k"] = value;
    ASSERT_TRUE(channel.Open().ok());
    ASSERT_TRUE(channel.Send("info-get guestinfo.k").ok());
    auto reply = channel.Receive();
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_EQ(*reply, "1 " + value);
    EXPECT_EQ(host.commands.back(), "info-get guestinfo.k");
    // Nothing more is there.
    reply = channel.Receive();
    ASSERT_TRUE(reply.ok());
    EXPECT_FALSE(reply->has_value());
  }
  channel.Close();
  EXPECT_EQ(host.open_channels(), 0u);
}

TEST_P(ChannelTest, AMoveOfTheVmIsTriedAgain) {
  FakeHost host;
  host.high_bandwidth = GetParam();
  MessageChannel channel(&host, MessageChannel::kRpci);
  ASSERT_TRUE(channel.Open().ok());
  host.checkpoints = 2;
  EXPECT_TRUE(channel.Send("info-get guestinfo.k").ok());
  EXPECT_THAT(host.commands, ElementsAre("info-get guestinfo.k"));
  host.checkpoints = 1;
  EXPECT_EQ(channel.Receive().value_or(std::nullopt), "0 No value found");
  host.checkpoints = 1000;
  EXPECT_EQ(channel.Send("x").code(), absl::StatusCode::kUnavailable);
}
INSTANTIATE_TEST_SUITE_P(Bandwidth, ChannelTest, ::testing::Bool());

TEST(Channel, OldHostsWithoutCookies) {
  FakeHost host;
  host.cookies = false;
  MessageChannel channel(&host, MessageChannel::kRpci);
  ASSERT_TRUE(channel.Open().ok());
  EXPECT_TRUE(channel.Send("info-get guestinfo.k").ok());
}

TEST(Channel, NoChannel) {
  FakeHost host;
  host.refuse_open = 2;
  MessageChannel channel(&host, MessageChannel::kRpci);
  EXPECT_EQ(channel.Open().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(channel.Send("x").code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(channel.Receive().status().code(), absl::StatusCode::kUnavailable);
}

TEST(Channel, TooLargeIsNotTaken) {
  FakeHost host;
  host.guestinfo["guestinfo.k"] = std::string(100000, 'x');
  MessageChannel channel(&host, MessageChannel::kRpci);
  ASSERT_TRUE(channel.Open().ok());
  ASSERT_TRUE(channel.Send("info-get guestinfo.k").ok());
  EXPECT_EQ(channel.Receive().status().code(), absl::StatusCode::kInvalidArgument);
  // The channel is still good.
  ASSERT_TRUE(channel.Send("info-get guestinfo.other").ok());
  EXPECT_EQ(channel.Receive().value_or(std::nullopt), "0 No value found");
}

TEST(Packet, RoundTrip) {
  const std::string packet = EncodePacket("info-get guestinfo.k", true);
  // Length; int64 type=1: 1; string payload; int64 fast close: 1.
  EXPECT_EQ(absl::BytesToHexString(packet.substr(0, 32)),
            "00000040"
            "00000001"
            "00000001"
            "00000001"
            "00000000"
            "00000002"
            "00000002"
            "00000014");
  EXPECT_EQ(PacketSize(packet).value_or(0), packet.size());
  EXPECT_EQ(DecodePacket(packet).value_or(""), "info-get guestinfo.k");
  EXPECT_EQ(DecodePacket(EncodePacket("", false)).value_or("?"), "");
  EXPECT_EQ(PacketSize("\0\0").value_or(1), 0u);
  EXPECT_FALSE(PacketSize("\xFF\xFF\xFF\xFF").ok());
  for (size_t cut = 0; cut < packet.size(); ++cut) EXPECT_FALSE(DecodePacket(packet.substr(0, cut)).ok());
}

TEST(Rpci, Replies) {
  EXPECT_EQ(ParseRpciReply("1 value").value_or("?"), "value");
  EXPECT_EQ(ParseRpciReply(std::string("1 value\0", 8)).value_or("?"), "value");
  EXPECT_EQ(ParseRpciReply("1 ").value_or("?"), "");
  EXPECT_EQ(ParseRpciReply("0 No value found").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ParseRpciReply("0 Permission denied").status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(ParseRpciReply("0 Unknown command").status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(ParseRpciReply("").status().code(), absl::StatusCode::kInternal);
}

const GuestNet kNet{.host_name = "web-0", .mac = "00:50:56:00:00:01", .addresses = {"10.1.2.3/20", "fd00::2/64"}};

TEST(Tools, NicInfo) {
  EXPECT_EQ(absl::BytesToHexString(EncodeNicInfo({.mac = "00:50:56:00:00:01", .addresses = {"10.1.2.3/20", "bad"}})),
            "00000003"
            "00000001"
            "00000001"
            "00000011"
            "30303a35303a35363a30303a30303a3031000000"
            "00000001"
            "00000001"
            "00000004"
            "0a010203"
            "00000014"
            "00000000"
            "00000001"
            "00000001"
            "00000000000000000000000000000000"
            "00000000"
            "00000000000000000000000000000000");
}

TEST(Tools, Requests) {
  VmwareTools tools;
  EXPECT_EQ(tools.OnRequest("reset").reply, "OK ATR toolbox");
  EXPECT_THAT(tools.OnRequest("reset").commands, IsEmpty());  // nothing is known yet
  EXPECT_THAT(tools.SetNet(kNet), ElementsAre("SetGuestInfo  9 " + EncodeNicInfo(kNet), "SetGuestInfo  1 web-0"));
  EXPECT_EQ(tools.OnRequest(std::string("reset\0", 6)).commands.size(), 2u);
  EXPECT_EQ(tools.OnRequest("ping").reply, "OK ");
  EXPECT_THAT(tools.OnRequest("Capabilities_Register").commands,
              ElementsAre("tools.set.version 2147483647", "tools.capability.statechange",
                          "tools.capability.softpowerop_retry"));
  EXPECT_THAT(
      tools.OnRequest("Set_Option broadcastIP 1").commands,
      ElementsAre("info-set guestinfo.ip 10.1.2.3", "SetGuestInfo  9 " + EncodeNicInfo(kNet), "SetGuestInfo  1 web-0"));
  EXPECT_THAT(tools.OnRequest("Set_Option broadcastIP 0").commands, IsEmpty());
  EXPECT_THAT(tools.OnRequest("Set_Option synctime 1").commands, IsEmpty());
  EXPECT_EQ(tools.OnRequest("Set_Option").reply, "OK ");
  EXPECT_EQ(tools.OnRequest("vmbackup.start").reply, "ERROR Unknown Command");
  EXPECT_EQ(tools.OnRequest("").reply, "ERROR Unknown Command");
}

TEST(Tools, Power) {
  VmwareTools tools;
  VmwareTools::Actions halt = tools.OnRequest("OS_Halt");
  EXPECT_THAT(halt.commands, ElementsAre("tools.os.statechange.status 1 1"));
  EXPECT_EQ(halt.reply, "OK ");
  EXPECT_EQ(halt.power, VmwareTools::Actions::Power::kShutdown);
  EXPECT_EQ(tools.OnRequest("OS_Reboot").power, VmwareTools::Actions::Power::kReboot);
  for (const char* name : {"OS_PowerOn", "OS_Resume", "OS_Suspend"}) {
    EXPECT_EQ(tools.OnRequest(name).power, VmwareTools::Actions::Power::kNone);
    EXPECT_EQ(tools.OnRequest(name).commands.size(), 1u);
  }
}

TEST(Tools, WhatCannotBeSent) {
  EXPECT_EQ(InfoSet("guestinfo.k", "a b"), "info-set guestinfo.k a b");
  EXPECT_EQ(InfoSet("guestinfo k", "a"), "");
  EXPECT_EQ(InfoSet("guestinfo.k", std::string("a\0b", 3)), "");
  EXPECT_EQ(InfoGet("guestinfo.k x"), "");
}

class VmwareTest : public ::testing::Test {
 protected:
  VmwareTest() {
    auto host = std::make_unique<FakeHost>();
    host_ = host.get();
    hypervisor_ = MakeVmwareHypervisor(loop_.executor(), loop_.clock(), std::move(host), {.vsock = false});
  }
  // Runs it for a while, and notes what it asks for.
  void RunFor(absl::Duration limit) {
    auto task = WithTimeout(loop_.clock(), limit, "test",
                            hypervisor_->Run([this](PowerRequest request) { asked_.push_back(request); }));
    EXPECT_EQ(loop_.Run(std::move(task)).code(), absl::StatusCode::kDeadlineExceeded);
  }

  testing::Loop loop_;
  FakeHost* host_ = nullptr;
  std::unique_ptr<Hypervisor> hypervisor_;
  std::vector<PowerRequest> asked_;
};

TEST_F(VmwareTest, Guestinfo) {
  host_->guestinfo["guestinfo.vch.config"] = "{\"a\": 1}";
  EXPECT_EQ(hypervisor_->Get("guestinfo.vch.config").value_or("?"), "{\"a\": 1}");
  EXPECT_EQ(hypervisor_->Get("guestinfo.other").status().code(), absl::StatusCode::kNotFound);
  hypervisor_->Set("guestinfo.vch.guest", "v1 a b");
  EXPECT_EQ(host_->guestinfo["guestinfo.vch.guest"], "v1 a b");
}

TEST_F(VmwareTest, WhatCouldNotBeDeliveredIsTriedAgain) {
  host_->refuse_open = 2;  // with and without a cookie
  hypervisor_->Set("guestinfo.vch.guest", "v1 a b");
  EXPECT_FALSE(host_->guestinfo.contains("guestinfo.vch.guest"));
  RunFor(absl::Seconds(10));
  EXPECT_EQ(host_->guestinfo["guestinfo.vch.guest"], "v1 a b");
}

TEST_F(VmwareTest, ARefusedValueIsNotSentForEver) {
  host_->refuse["info-set"] = "0 Permission denied";
  hypervisor_->Set("guestinfo.vch.guest", "v1 a b");
  RunFor(absl::Seconds(10));
  EXPECT_EQ(host_->commands.size(), 1u);
}

TEST_F(VmwareTest, TheHostsCalls) {
  hypervisor_->ReportNet(kNet);
  host_->commands.clear();
  host_->requests = {"reset", "Capabilities_Register", "ping", "OS_Halt"};
  RunFor(absl::Seconds(10));
  EXPECT_THAT(host_->replies, ElementsAre("OK ATR toolbox", "OK ", "OK ", "OK "));
  EXPECT_EQ(host_->commands.front(), "SetGuestInfo  9 " + EncodeNicInfo(kNet));
  EXPECT_EQ(host_->commands.back(), "tools.os.statechange.status 1 1");
  EXPECT_THAT(asked_, ElementsAre(PowerRequest::kShutdown));
}

TEST_F(VmwareTest, AHostThatGivesNoChannelIsAskedAgain) {
  host_->refuse_open = 4;
  host_->requests = {"ping"};
  RunFor(absl::Seconds(60));
  EXPECT_THAT(host_->replies, ElementsAre("OK "));
}

}  // namespace
}  // namespace vck::guestos
