// What guest and host say to each other on the virtio-serial port vch.guest.0: JSON objects, one a line. Pure.
//
//   guest to host: {"op":"set","guestinfo":{"guestinfo.vch.guest":"v1 …"}}
//   {"op":"net","ip":["10.1.2.3"],"hostname":"web-0"} host to guest: {"op":"shutdown"}   {"op":"reboot"}
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "guestos/hypervisor.h"

namespace vck::guestos {

inline constexpr std::string_view kVirtioPortName = "vch.guest.0";

// Lines, with the newline.
std::string SetLine(std::string_view key, std::string_view value);
std::string NetLine(const GuestNet& net);

// Cuts what the host sends into lines, and reads them. Lines that are unknown, broken or too long are skipped.
class PortReader {
 public:
  void Feed(std::string_view bytes, const std::function<void(PowerRequest)>& on_request);

 private:
  std::string line_;
  bool too_long_ = false;
};

}  // namespace vck::guestos
