#include "guestos/netlink.h"

#include <cstring>
#include <string>

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"
#include "guestos/network.h"

namespace vck::guestos {
namespace {

Prefix Parsed(const char* text) {
  auto out = ParsePrefix(text);
  EXPECT_TRUE(out.ok()) << out.status();
  return out.value_or(Prefix{});
}

TEST(Prefix, Parses) {
  EXPECT_EQ(Parsed("10.1.2.3/20").bytes, std::string("\x0A\x01\x02\x03", 4));
  EXPECT_EQ(Parsed("10.1.2.3/20").length, 20);
  EXPECT_EQ(Parsed("10.1.2.3").length, 32);
  EXPECT_EQ(Parsed("fd00::2/64").length, 64);
  EXPECT_TRUE(Parsed("fd00::2/64").v6());
  EXPECT_EQ(AddressText(Parsed("fd00::2").bytes), "fd00::2");
  for (const char* bad : {"", "x", "10.1.2", "10.1.2.3/", "10.1.2.3/33", "10.1.2.3/-1", "10.1.2.3/2x", "fd00::2/129"}) {
    EXPECT_EQ(ParsePrefix(bad).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

TEST(Prefix, Contains) {
  EXPECT_TRUE(Parsed("10.1.2.3/20").Contains(Parsed("10.1.15.1").bytes));
  EXPECT_FALSE(Parsed("10.1.2.3/20").Contains(Parsed("10.1.16.1").bytes));
  EXPECT_FALSE(Parsed("10.1.2.3/20").Contains(Parsed("fd00::1").bytes));
  EXPECT_FALSE(Parsed("10.1.2.3/32").Contains(Parsed("10.1.2.1").bytes));
  EXPECT_TRUE(Parsed("10.1.2.3/0").Contains(Parsed("192.168.1.1").bytes));
}

TEST(Netlink, AddressMessage) {
  std::string message = netlink::AddAddress(2, Parsed("10.1.2.3/20"), 7);
  nlmsghdr header;
  std::memcpy(&header, message.data(), sizeof header);
  EXPECT_EQ(header.nlmsg_len, message.size());
  EXPECT_EQ(header.nlmsg_type, RTM_NEWADDR);
  EXPECT_EQ(header.nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
  EXPECT_EQ(header.nlmsg_seq, 7u);
  // ifaddrmsg, then IFA_LOCAL, IFA_ADDRESS and IFA_BROADCAST.
  EXPECT_EQ(absl::BytesToHexString(message.substr(sizeof header)),
            "02140200"
            "02000000"
            "08000200"
            "0a010203"
            "08000100"
            "0a010203"
            "08000400"
            "0a010fff");
}

TEST(Netlink, RouteMessage) {
  std::string message = netlink::AddDefaultRoute(2, Parsed("10.1.0.1").bytes, true, 8);
  EXPECT_EQ(absl::BytesToHexString(message.substr(sizeof(nlmsghdr))),
            "02000000fe040001"
            "04000000"
            "08000500"
            "0a010001"
            "08000400"
            "02000000");
}

std::string Ack(uint32_t sequence, int error) {
  nlmsghdr header{.nlmsg_len = 0, .nlmsg_type = NLMSG_ERROR, .nlmsg_flags = 0, .nlmsg_seq = sequence, .nlmsg_pid = 0};
  std::string body(reinterpret_cast<const char*>(&error), sizeof error);
  body += std::string(sizeof(nlmsghdr), '\0');
  header.nlmsg_len = static_cast<uint32_t>(sizeof header + body.size());
  return std::string(reinterpret_cast<const char*>(&header), sizeof header) + body;
}

TEST(Netlink, Acknowledgements) {
  EXPECT_TRUE(netlink::ParseAck(Ack(3, 0), 3).ok());
  EXPECT_EQ(netlink::ParseAck(Ack(3, -EPERM), 3).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(netlink::ParseAck(Ack(2, 0), 3).code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(netlink::ParseAck(Ack(2, -EPERM) + Ack(3, 0), 3).ok());
  EXPECT_EQ(netlink::ParseAck(Ack(3, 0).substr(0, 18), 3).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(netlink::ParseAck("abc", 3).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(netlink::ParseAck("", 3).code(), absl::StatusCode::kNotFound);
  std::string endless = Ack(3, 0);
  std::memset(endless.data(), 0, 4);  // a length of 0 would go on for ever
  EXPECT_EQ(netlink::ParseAck(endless, 3).code(), absl::StatusCode::kInvalidArgument);
}

TEST(Network, Files) {
  guestapi::BootConfig config{.host_name = "web-0", .address = "10.1.2.3/20", .dns = {"10.96.0.10", "1.1.1.1"}};
  EXPECT_EQ(ResolvConf(config), "nameserver 10.96.0.10\nnameserver 1.1.1.1\n");
  EXPECT_EQ(HostsFile(config), "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.1.2.3\tweb-0\n");
}

TEST(Network, UnusableFieldsAreNamed) {
  guestapi::BootConfig config{.address = "10.1.2"};
  EXPECT_EQ(BringUpNetwork(config).status(), absl::InvalidArgumentError("address: \"10.1.2\" is no IP address"));
  config = {.address = "10.1.2.3/20", .gateway = "fd00::1"};
  EXPECT_EQ(BringUpNetwork(config).status(),
            absl::InvalidArgumentError("gateway: is of another address family than the address"));
}

}  // namespace
}  // namespace vck::guestos
