// The bootstrap data that pass through guestinfo: at most 4 KiB, no secrets (any process of the VM can read and write
// it).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace vck::guestapi {

// Keys of the VM's extraConfig.
inline constexpr std::string_view kConfigKey = "guestinfo.vch.config";  // kubelet -> guest, in the create spec
inline constexpr std::string_view kGuestKey =
    "guestinfo.vch.guest";                         // guest -> kubelet; exists in the create spec as kNoGuest
inline constexpr std::string_view kNoGuest = "-";  // never empty: see the guest key's comment in DESIGN

inline constexpr size_t kMaxConfigBytes = 4096;

// What a guest is told at boot (JSON).
struct BootConfig {
  int version = 1;
  std::string pod_uid;
  std::string host_name;
  std::string address;  // IP of the pod; with prefix length: "10.1.2.3/20"
  std::string gateway;
  std::vector<std::string> dns;
  int scratch_unit = -1;         // SCSI unit of the scratch disk; -1: there is none
  uint16_t port = 10350;         // the tether's, on `address`
  std::string kubelet_key_hash;  // SHA-256 hex of the VCH key's SubjectPublicKeyInfo: whom the tether trusts
  std::string
      kubelet_ca;  // PEM of a certificate of that key (Links::ca_pem): lets TLS ask for the kubelet's certificate
};
std::string Encode(const BootConfig& config);
// InvalidArgument names the field; more than kMaxConfigBytes, another version and a missing port or key are refused.
StatusOr<BootConfig> DecodeBootConfig(std::string_view text, uint16_t default_port = 10350);

// What a guest publishes once it is up, before any container runs: "v1 <boot id> <key hash>", and then
// " <first boot id>" if that is another one (GuestState.first_boot).
struct GuestAnnouncement {
  std::string boot_id;
  std::string key_hash;    // SHA-256 hex of the tether key's SubjectPublicKeyInfo
  std::string first_boot;  // "": boot_id
  [[nodiscard]] const std::string& history() const { return first_boot.empty() ? boot_id : first_boot; }
  friend bool operator==(const GuestAnnouncement&, const GuestAnnouncement&) = default;
};
std::string Encode(const GuestAnnouncement& announcement);
// NotFound for kNoGuest or "" (not up yet), InvalidArgument for anything else that is not of the form.
StatusOr<GuestAnnouncement> DecodeAnnouncement(std::string_view text);

// Names in the certificates that the VCH's key signs. Those of pods carry the common DNS name, so that one TLS context
// of the kubelet serves all of them, and the pod's UID as a URI.
inline constexpr std::string_view kCaName = "VCH";
inline constexpr std::string_view kKubeletName = "vch-kubelet";
inline constexpr std::string_view kTetherDnsName = "tether.vch";
std::string PodUri(std::string_view pod_uid);  // "vch:pod:<uid>"

// The channel: GET kChannelPath with "Upgrade: vch-channel/1".
inline constexpr std::string_view kChannelPath = "/v1/channel";
inline constexpr std::string_view kChannelProtocol = "vch-channel/1";
// True if an Upgrade field's value (a list) offers kChannelProtocol.
bool OffersChannel(std::string_view upgrade);

// SCSI unit of a VM's i-th disk: 7 is the controller's own.
constexpr int UnitOfDisk(int i) { return i < 7 ? i : i + 1; }

}  // namespace vck::guestapi
