// Route netlink messages (rtnetlink(7)), as bytes. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace vck::guestos {

// An address with its prefix length: "10.1.2.3/20", "fd00::2/64".
struct Prefix {
  std::string bytes;  // 4 or 16, network order
  int length = 0;
  [[nodiscard]] bool v6() const { return bytes.size() == 16; }
  // True if `address` (bytes) is in the same network.
  [[nodiscard]] bool Contains(std::string_view address) const;
};
// InvalidArgument says what is wrong. Without "/" the prefix is the whole address.
StatusOr<Prefix> ParsePrefix(std::string_view text);
// The text of an address's bytes.
std::string AddressText(std::string_view bytes);

namespace netlink {

// Requests; each is to be acknowledged under its sequence number.
std::string LinkUp(int link, uint32_t sequence);
std::string AddAddress(int link, const Prefix& address, uint32_t sequence);
// The default route. `on_link`: the gateway is reached directly although it is in no network of ours.
std::string AddDefaultRoute(int link, std::string_view gateway, bool on_link, uint32_t sequence);

// What an answer says of the request: OK, or the kernel's errno as a Status. NotFound when it says nothing of it,
// InvalidArgument when it is no netlink.
Status ParseAck(std::string_view answer, uint32_t sequence);

}  // namespace netlink
}  // namespace vck::guestos
