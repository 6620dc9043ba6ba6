#include "guestos/vmware_tools.h"

#include <cstdint>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "guestos/netlink.h"

namespace vck::guestos {
namespace {

// GuestInfoType of guestInfo.h.
constexpr int kDnsName = 1;
constexpr int kAddresses = 9;  // INFO_IPADDRESS_V2: older hosts know it, too
constexpr size_t kMaxAddresses = 64;

// Tools that are not of the host's making: vCenter calls them running and "guest managed".
constexpr std::string_view kVersion = "tools.set.version 2147483647";

// powerops.h
constexpr int kStateHalt = 1;
constexpr int kStateReboot = 2;
constexpr int kStatePowerOn = 3;
constexpr int kStateResume = 4;
constexpr int kStateSuspend = 5;

std::string StateChanged(int state) { return absl::StrCat("tools.os.statechange.status 1 ", state); }

// XDR (RFC 4506).
void PutInt(std::string* out, uint32_t value) {
  for (int shift : {24, 16, 8, 0}) out->push_back(static_cast<char>(value >> shift & 0xFF));
}
void PutBytes(std::string* out, std::string_view bytes) {
  PutInt(out, static_cast<uint32_t>(bytes.size()));
  *out += bytes;
  out->resize((out->size() + 3) / 4 * 4);
}
constexpr uint32_t kAbsent = 0, kPresent = 1;

}  // namespace

std::string InfoSet(std::string_view key, std::string_view value) {
  if (absl::StrContains(key, ' ') || absl::StrContains(key, '\0') || absl::StrContains(value, '\0')) return "";
  return absl::StrCat("info-set ", key, " ", value);
}

std::string InfoGet(std::string_view key) {
  return absl::StrContains(key, ' ') || absl::StrContains(key, '\0') ? "" : absl::StrCat("info-get ", key);
}

std::string EncodeNicInfo(const GuestNet& net) {
  std::vector<Prefix> addresses;
  for (const std::string& text : net.addresses) {
    auto address = ParsePrefix(text);
    if (address.ok() && addresses.size() < kMaxAddresses) addresses.push_back(*std::move(address));
  }
  constexpr uint32_t kVersion3 = 3, kIpv4 = 1, kIpv6 = 2, kPreferred = 1;
  std::string out;
  PutInt(&out, kVersion3);
  PutInt(&out, kPresent);
  PutInt(&out, 1);  // one NIC
  PutBytes(&out, net.mac);
  PutInt(&out, static_cast<uint32_t>(addresses.size()));
  for (const Prefix& address : addresses) {
    PutInt(&out, address.v6() ? kIpv6 : kIpv4);
    PutBytes(&out, address.bytes);
    PutInt(&out, static_cast<uint32_t>(address.length));
    PutInt(&out, kAbsent);  // origin
    PutInt(&out, kPresent);
    PutInt(&out, kPreferred);
  }
  for (int i = 0; i < 4; ++i) PutInt(&out, kAbsent);  // the NIC's DNS, WINS, DHCP for both families
  PutInt(&out, 0);                                    // no routes
  for (int i = 0; i < 4; ++i) PutInt(&out, kAbsent);  // the same for the whole guest
  return out;
}

std::vector<std::string> VmwareTools::NetCommands() const {
  if (net_.addresses.empty()) return {};
  std::vector<std::string> out{absl::StrCat("SetGuestInfo  ", kAddresses, " ", EncodeNicInfo(net_))};
  if (!net_.host_name.empty()) out.push_back(absl::StrCat("SetGuestInfo  ", kDnsName, " ", net_.host_name));
  return out;
}

std::vector<std::string> VmwareTools::SetNet(GuestNet net) {
  net_ = std::move(net);
  return NetCommands();
}

VmwareTools::Actions VmwareTools::OnRequest(std::string_view request) {
  while (absl::ConsumeSuffix(&request, std::string_view("\0", 1))) {
  }
  const std::string_view name = request.substr(0, request.find(' '));
  const std::string_view arguments = name.size() < request.size() ? request.substr(name.size() + 1) : "";
  const auto state = [](int value, Actions::Power power) {
    return Actions{.commands = {StateChanged(value)}, .reply = "OK ", .power = power};
  };
  if (name == "reset") return {.commands = NetCommands(), .reply = "OK ATR toolbox"};
  if (name == "ping") return {.reply = "OK "};
  if (name == "Capabilities_Register") {
    return {.commands = {std::string(kVersion), "tools.capability.statechange", "tools.capability.softpowerop_retry"},
            .reply = "OK "};
  }
  if (name == "Set_Option") {
    Actions actions{.reply = "OK "};
    const std::pair<std::string_view, std::string_view> option = absl::StrSplit(arguments, absl::MaxSplits(' ', 1));
    if (option.first == "broadcastIP" && option.second == "1" && !net_.addresses.empty()) {
      const std::string& address = net_.addresses.front();
      actions.commands = {InfoSet("guestinfo.ip", address.substr(0, address.find('/')))};
      for (std::string& command : NetCommands()) actions.commands.push_back(std::move(command));
    }
    return actions;
  }
  if (name == "OS_Halt") return state(kStateHalt, Actions::Power::kShutdown);
  if (name == "OS_Reboot") return state(kStateReboot, Actions::Power::kReboot);
  // No scripts run then, which is soon done.
  if (name == "OS_PowerOn") return state(kStatePowerOn, Actions::Power::kNone);
  if (name == "OS_Resume") return state(kStateResume, Actions::Power::kNone);
  if (name == "OS_Suspend") return state(kStateSuspend, Actions::Power::kNone);
  return {.reply = "ERROR Unknown Command"};
}

}  // namespace vck::guestos
