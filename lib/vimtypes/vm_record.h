// What the inventory knows about a VM.
#pragma once

#include <string>
#include <string_view>

#include "vimtypes/wire.h"

namespace vck::vimtypes {

enum class PowerState { kUnknown, kOff, kOn, kSuspended };
// VirtualMachineConnectionState. All but kConnected mean that vCenter can't tell how the VM is now: never "off", never
// gone.
enum class ConnectionState { kUnknown, kConnected, kDisconnected, kInaccessible, kOrphaned, kInvalid };

// The values on the wire; anything else is kUnknown.
PowerState ParsePowerState(std::string_view text);
ConnectionState ParseConnectionState(std::string_view text);
std::string_view PowerStateName(PowerState state);
std::string_view ConnectionStateName(ConnectionState state);

struct VmRecord {
  MoRef vm;
  std::string name;  // as vCenter writes it: %2f, %5c, %25 where somebody used / \ %
  PowerState power = PowerState::kUnknown;
  ConnectionState connection = ConnectionState::kUnknown;
  bool is_template = false;  // an image's anchor, say
  MoRef host;                // where it runs or is registered; empty if unknown
  // A question that blocks the VM until somebody answers (AnswerVM); empty id: none.
  std::string question_id;
  std::string question_text;
  std::string path;  // of its configuration: "[datastore] folder/name.vmx"
  // Values of two keys of config.extraConfig; empty if absent.
  std::string pod_key;  // "vch.pod": written by the kubelet (vch/pod_key.h), invisible to the guest
  std::string
      guest_key;  // "guestinfo.vch.guest": written by the guest, so not to be trusted for more than it is meant for
  // Only with InventoryOptions::guest_info: what VMware Tools reports.
  bool tools_running = false;
  std::string guest_ip;
  // The server refused to show some property (no permission, or the VM is being created): what is absent is unknown.
  bool incomplete = false;

  [[nodiscard]] bool reachable() const { return connection == ConnectionState::kConnected; }
  friend bool operator==(const VmRecord&, const VmRecord&) = default;
};

}  // namespace vck::vimtypes
