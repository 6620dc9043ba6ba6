#include "guestapi/identity.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "guestapi/fields.h"
#include "guestapi/spec.h"

namespace vck::guestapi {
namespace {

using internal::Fields;
using internal::Put;

bool IsKeyHash(std::string_view text) {
  if (text.size() != 64) return false;
  for (char c : text) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c)) && (c < 'a' || c > 'f')) return false;
  }
  return true;
}

bool IsBootId(std::string_view text) {
  if (text.empty() || text.size() > 64) return false;
  for (char c : text) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-') return false;
  }
  return true;
}

}  // namespace

std::string Encode(const BootConfig& config) {
  json::Object out;
  Put(&out, "version", config.version);
  Put(&out, "podUid", config.pod_uid);
  Put(&out, "hostName", config.host_name);
  Put(&out, "address", config.address);
  Put(&out, "gateway", config.gateway);
  Put(&out, "dns", config.dns);
  if (config.scratch_unit >= 0) out["scratchUnit"] = config.scratch_unit;  // 0 is one, too
  Put(&out, "port", config.port);
  Put(&out, "kubeletKeyHash", config.kubelet_key_hash);
  Put(&out, "kubeletCa", config.kubelet_ca);
  return json::Serialize(std::move(out));
}

StatusOr<BootConfig> DecodeBootConfig(std::string_view text, uint16_t default_port) {
  if (text.size() > kMaxConfigBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("it has ", text.size(), " bytes, and at most ", kMaxConfigBytes, " are allowed"));
  }
  ASSIGN_OR_RETURN(auto document, json::Document::Parse(text));
  BootConfig out;
  Fields in(document.root(), "");
  in.Read("version", &out.version, kVersion, kVersion);
  in.Read("podUid", &out.pod_uid);
  in.Require("podUid", !out.pod_uid.empty());
  in.Read("hostName", &out.host_name);
  in.Read("address", &out.address);
  in.Require("address", !out.address.empty());
  in.Read("gateway", &out.gateway);
  in.Read("dns", &out.dns);
  in.Read("scratchUnit", &out.scratch_unit, -1, 15);
  int port = default_port;
  in.Read("port", &port, 1, 65535);
  out.port = static_cast<uint16_t>(port);
  in.Read("kubeletKeyHash", &out.kubelet_key_hash);
  if (!IsKeyHash(out.kubelet_key_hash)) in.Fail("kubeletKeyHash", "is not 64 hex digits");
  in.Read("kubeletCa", &out.kubelet_ca);
  RETURN_IF_ERROR(in.status());
  return out;
}

std::string Encode(const GuestAnnouncement& announcement) {
  std::string text = absl::StrCat("v1 ", announcement.boot_id, " ", announcement.key_hash);
  if (announcement.history() != announcement.boot_id) absl::StrAppend(&text, " ", announcement.first_boot);
  return text;
}

StatusOr<GuestAnnouncement> DecodeAnnouncement(std::string_view text) {
  if (text.empty() || text == kNoGuest) return absl::NotFoundError("the guest has not announced itself");
  std::vector<std::string_view> parts = absl::StrSplit(text, ' ');
  const bool journal = parts.size() == 4 && IsBootId(parts[3]);
  if ((parts.size() != 3 && !journal) || parts[0] != "v1" || !IsBootId(parts[1]) || !IsKeyHash(parts[2])) {
    return absl::InvalidArgumentError("not of the form \"v1 <boot id> <key hash> [<first boot id>]\"");
  }
  GuestAnnouncement out{.boot_id = std::string(parts[1]), .key_hash = std::string(parts[2])};
  if (journal) out.first_boot = parts[3];
  return out;
}

std::string PodUri(std::string_view pod_uid) { return absl::StrCat("vch:pod:", pod_uid); }

bool OffersChannel(std::string_view upgrade) {
  for (std::string_view token : absl::StrSplit(upgrade, ',')) {
    if (absl::StripAsciiWhitespace(token) == kChannelProtocol) return true;
  }
  return false;
}

}  // namespace vck::guestapi
