// What a VM's VMX asks of VMware Tools (TCLO), and what it is told (RPCI): the few calls without which vCenter shows no
// address and ShutdownGuest fails. A machine without I/O; names and forms as in open-vm-tools.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "guestos/hypervisor.h"

namespace vck::guestos {

class VmwareTools {
 public:
  // What to do about a request, in this order: send the RPCI commands, then the reply; then do what the power request
  // says.
  struct Actions {
    std::vector<std::string> commands;
    std::string reply;
    enum class Power { kNone, kShutdown, kReboot } power = Power::kNone;
  };

  // The network changed, or is known now: RPCI commands that tell of it.
  std::vector<std::string> SetNet(GuestNet net);
  // One request as it came over TCLO; its reply goes back over TCLO.
  Actions OnRequest(std::string_view request);

 private:
  [[nodiscard]] std::vector<std::string> NetCommands() const;
  GuestNet net_;
};

// The RPCI command for a guestinfo value, and the one that asks for it. Keys with a blank, and values with a NUL,
// cannot be sent: "".
std::string InfoSet(std::string_view key, std::string_view value);
std::string InfoGet(std::string_view key);

// NIC addresses as the VMX takes them: GuestNicProto version 3 in XDR (lib/guestRpc/nicinfo.x). Addresses that cannot
// be read are left out.
std::string EncodeNicInfo(const GuestNet& net);

}  // namespace vck::guestos
