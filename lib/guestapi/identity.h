// The bootstrap data that pass through guestinfo: at most 4 KiB, no secrets (any process of the VM can read and write it).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace vck::guestapi {

// Keys of the VM's extraConfig.
inline constexpr std::string_view kConfigKey = "guestinfo.vch.config";  // kubelet -> guest, in the create spec
inline constexpr std::string_view kGuestKey = "guestinfo.vch.guest";    // guest -> kubelet; exists in the create spec as kNoGuest
inline constexpr std::string_view kNoGuest = "-";                        // never empty: see the guest key's comment in DESIGN

// What a guest is told at boot (JSON).
struct BootConfig {
  int version = 1;
  std::string pod_uid;
  std::string host_name;
  std::string address;          // IP of the pod; with prefix length: "10.1.2.3/20"
  std::string gateway;
  std::vector<std::string> dns;
  uint16_t port = 10350;        // the tether's, on `address`
  std::string kubelet_key_hash; // SHA-256 hex of the VCH key's SubjectPublicKeyInfo: whom the tether trusts
};
std::string Encode(const BootConfig& config);
StatusOr<BootConfig> DecodeBootConfig(std::string_view text);

// What a guest publishes once it is up, before any container runs: "v1 <boot id> <key hash>".
struct GuestAnnouncement {
  std::string boot_id;
  std::string key_hash;  // SHA-256 hex of the tether key's SubjectPublicKeyInfo
};
std::string Encode(const GuestAnnouncement& announcement);
// NotFound for kNoGuest or "" (not up yet), InvalidArgument for anything else that is not of the form.
StatusOr<GuestAnnouncement> DecodeAnnouncement(std::string_view text);

}  // namespace vck::guestapi
