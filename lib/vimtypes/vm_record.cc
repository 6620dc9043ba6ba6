#include "vimtypes/vm_record.h"

namespace vck::vimtypes {

PowerState ParsePowerState(std::string_view text) {
  if (text == "poweredOn") return PowerState::kOn;
  if (text == "poweredOff") return PowerState::kOff;
  if (text == "suspended") return PowerState::kSuspended;
  return PowerState::kUnknown;
}

ConnectionState ParseConnectionState(std::string_view text) {
  if (text == "connected") return ConnectionState::kConnected;
  if (text == "disconnected") return ConnectionState::kDisconnected;
  if (text == "inaccessible") return ConnectionState::kInaccessible;
  if (text == "orphaned") return ConnectionState::kOrphaned;
  if (text == "invalid") return ConnectionState::kInvalid;
  return ConnectionState::kUnknown;
}

std::string_view PowerStateName(PowerState state) {
  switch (state) {
    case PowerState::kOn:
      return "poweredOn";
    case PowerState::kOff:
      return "poweredOff";
    case PowerState::kSuspended:
      return "suspended";
    case PowerState::kUnknown:
      break;
  }
  return "unknown";
}

std::string_view ConnectionStateName(ConnectionState state) {
  switch (state) {
    case ConnectionState::kConnected:
      return "connected";
    case ConnectionState::kDisconnected:
      return "disconnected";
    case ConnectionState::kInaccessible:
      return "inaccessible";
    case ConnectionState::kOrphaned:
      return "orphaned";
    case ConnectionState::kInvalid:
      return "invalid";
    case ConnectionState::kUnknown:
      break;
  }
  return "unknown";
}

}  // namespace vck::vimtypes
