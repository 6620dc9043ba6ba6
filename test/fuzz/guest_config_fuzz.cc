#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "guestapi/identity.h"
#include "guestos/netlink.h"
#include "guestos/network.h"

// What any process of the VM could have written to guestinfo: a configuration that is accepted survives a round trip.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  (void)vck::guestapi::DecodeAnnouncement(text);
  auto address = vck::guestos::ParsePrefix(text);
  if (address.ok()) {
    auto again =
        vck::guestos::ParsePrefix(absl::StrCat(vck::guestos::AddressText(address->bytes), "/", address->length));
    if (!again.ok() || again->bytes != address->bytes || again->length != address->length) std::abort();
    if (!address->Contains(address->bytes)) std::abort();
    vck::guestos::netlink::AddAddress(1, *address, 1);
  }
  auto config = vck::guestapi::DecodeBootConfig(text);
  if (!config.ok()) return 0;
  (void)vck::guestos::ResolvConf(*config);
  (void)vck::guestos::HostsFile(*config);
  const std::string encoded = vck::guestapi::Encode(*config);
  auto second = vck::guestapi::DecodeBootConfig(encoded);
  // An encoding may be longer than what it came from (escapes), and then too long.
  if (encoded.size() > vck::guestapi::kMaxConfigBytes) return 0;
  if (!second.ok() || vck::guestapi::Encode(*second) != encoded) std::abort();
  return 0;
}
