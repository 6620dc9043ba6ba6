// The guest's network: loopback, the NIC with the pod's address, routes, host name, resolver.
#pragma once

#include <string>

#include "base/status.h"
#include "guestapi/identity.h"

namespace vck::guestos {

struct Nic {
  std::string name;  // eth0
  std::string mac;   // "00:50:56:…"
  int mtu = 0;
};

// The loopback interface, and nothing else. Early: the tether may serve on 127.0.0.1, too.
Status BringUpLoopback();
// Waits for the NIC (the first that is a device) and configures it as the kubelet says. InvalidArgument names the
// field that is unusable.
StatusOr<Nic> BringUpNetwork(const guestapi::BootConfig& config);
// /etc/resolv.conf for the tether's own lookups. Containers have files of their own. Pure.
std::string ResolvConf(const guestapi::BootConfig& config);
// /etc/hosts likewise. Pure.
std::string HostsFile(const guestapi::BootConfig& config);

}  // namespace vck::guestos
