#include "guestos/netlink.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>

#include "absl/strings/numbers.h"

namespace vck::guestos {
namespace {

constexpr int kByteBits = 8;

template <class T>
std::string_view Bytes(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

void Pad(std::string* out) { out->resize(NLMSG_ALIGN(out->size())); }

// A message with its header and fixed part; the length is set by Finish.
template <class Body>
std::string Start(uint16_t type, uint16_t flags, uint32_t sequence, const Body& body) {
  nlmsghdr header{.nlmsg_len = 0,
                  .nlmsg_type = type,
                  .nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags),
                  .nlmsg_seq = sequence,
                  .nlmsg_pid = 0};
  std::string out(Bytes(header));
  out += Bytes(body);
  Pad(&out);
  return out;
}

void Attribute(std::string* out, uint16_t type, std::string_view value) {
  rtattr attribute{.rta_len = static_cast<uint16_t>(RTA_LENGTH(value.size())), .rta_type = type};
  *out += Bytes(attribute);
  *out += value;
  Pad(out);
}

std::string Finish(std::string message) {
  const auto length = static_cast<uint32_t>(message.size());
  std::memcpy(message.data() + offsetof(nlmsghdr, nlmsg_len), &length, sizeof length);
  return message;
}

unsigned char Family(std::string_view address) { return address.size() == sizeof(in6_addr) ? AF_INET6 : AF_INET; }

}  // namespace

bool Prefix::Contains(std::string_view address) const {
  if (address.size() != bytes.size()) return false;
  for (int bit = 0; bit < length; ++bit) {
    const auto mask = static_cast<unsigned char>(0x80 >> (bit % kByteBits));
    const auto i = static_cast<size_t>(bit / kByteBits);
    if (((static_cast<unsigned char>(address[i]) ^ static_cast<unsigned char>(bytes[i])) & mask) != 0) return false;
  }
  return true;
}

StatusOr<Prefix> ParsePrefix(std::string_view text) {
  const size_t slash = text.find('/');
  const std::string address(text.substr(0, slash));
  std::array<char, sizeof(in6_addr)> buffer{};
  Prefix out;
  if (::inet_pton(AF_INET, address.c_str(), buffer.data()) == 1) {
    out.bytes.assign(buffer.data(), sizeof(in_addr));
  } else if (::inet_pton(AF_INET6, address.c_str(), buffer.data()) == 1) {
    out.bytes.assign(buffer.data(), sizeof(in6_addr));
  } else {
    return absl::InvalidArgumentError(absl::StrCat("\"", address, "\" is no IP address"));
  }
  const int whole = static_cast<int>(out.bytes.size()) * kByteBits;
  out.length = whole;
  if (slash != std::string_view::npos &&
      (!absl::SimpleAtoi(text.substr(slash + 1), &out.length) || out.length < 0 || out.length > whole)) {
    return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" has no valid prefix length"));
  }
  return out;
}

std::string AddressText(std::string_view bytes) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  return ::inet_ntop(Family(bytes), bytes.data(), text.data(), text.size()) != nullptr ? text.data() : "";
}

namespace netlink {

std::string LinkUp(int link, uint32_t sequence) {
  return Finish(
      Start(RTM_NEWLINK, 0, sequence,
            ifinfomsg{.ifi_family = AF_UNSPEC, .ifi_index = link, .ifi_flags = IFF_UP, .ifi_change = IFF_UP}));
}

std::string AddAddress(int link, const Prefix& address, uint32_t sequence) {
  std::string out = Start(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, sequence,
                          ifaddrmsg{.ifa_family = Family(address.bytes),
                                    .ifa_prefixlen = static_cast<unsigned char>(address.length),
                                    .ifa_flags = IFA_F_NODAD,
                                    .ifa_scope = RT_SCOPE_UNIVERSE,
                                    .ifa_index = static_cast<unsigned>(link)});
  Attribute(&out, IFA_LOCAL, address.bytes);
  Attribute(&out, IFA_ADDRESS, address.bytes);
  if (!address.v6() && address.length < 31) {
    std::string broadcast = address.bytes;
    for (int bit = address.length; bit < 32; ++bit) {
      char& byte = broadcast[static_cast<size_t>(bit / kByteBits)];
      byte = static_cast<char>(static_cast<unsigned char>(byte) | (0x80 >> (bit % kByteBits)));
    }
    Attribute(&out, IFA_BROADCAST, broadcast);
  }
  return Finish(std::move(out));
}

std::string AddDefaultRoute(int link, std::string_view gateway, bool on_link, uint32_t sequence) {
  std::string out = Start(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, sequence,
                          rtmsg{.rtm_family = Family(gateway),
                                .rtm_dst_len = 0,
                                .rtm_table = RT_TABLE_MAIN,
                                .rtm_protocol = RTPROT_STATIC,
                                .rtm_scope = RT_SCOPE_UNIVERSE,
                                .rtm_type = RTN_UNICAST,
                                .rtm_flags = on_link ? RTNH_F_ONLINK : 0U});
  Attribute(&out, RTA_GATEWAY, gateway);
  Attribute(&out, RTA_OIF, Bytes(link));
  return Finish(std::move(out));
}

Status ParseAck(std::string_view answer, uint32_t sequence) {
  while (!answer.empty()) {
    nlmsghdr header;
    if (answer.size() < sizeof header) return absl::InvalidArgumentError("netlink: cut short");
    std::memcpy(&header, answer.data(), sizeof header);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > answer.size()) {
      return absl::InvalidArgumentError("netlink: wrong length");
    }
    if (header.nlmsg_type == NLMSG_ERROR && header.nlmsg_seq == sequence) {
      int error = 0;
      if (header.nlmsg_len < sizeof header + sizeof error) return absl::InvalidArgumentError("netlink: cut short");
      std::memcpy(&error, answer.data() + sizeof header, sizeof error);
      return error == 0 ? absl::OkStatus() : absl::ErrnoToStatus(-error, "netlink");
    }
    answer.remove_prefix(std::min<size_t>(NLMSG_ALIGN(header.nlmsg_len), answer.size()));
  }
  return absl::NotFoundError("netlink: no answer to this request");
}

}  // namespace netlink
}  // namespace vck::guestos
