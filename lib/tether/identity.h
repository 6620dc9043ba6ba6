// The tether's key, what it serves TLS with, and whom it believes.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "guestapi/identity.h"
#include "http/tls.h"

namespace vck::tether {

class Identity {
 public:
  // A new key with a self-signed certificate. InvalidArgument when kubelet_ca is not of the key that kubelet_key_hash
  // names.
  static StatusOr<Identity> Create(const guestapi::BootConfig& config, absl::Time now);

  [[nodiscard]] const std::string& key_hash() const { return key_hash_; }
  [[nodiscard]] bool certified() const { return certified_; }
  // Takes a certificate of the VCH's key; InvalidArgument when it is not for this key.
  Status Certify(const std::string& pem);
  // What to serve with: clients must have a certificate of the VCH's key (which pods have, too: see IsKubelet).
  [[nodiscard]] StatusOr<std::shared_ptr<http::TlsContext>> Tls() const;
  [[nodiscard]] bool IsKubelet(const std::string& peer_key_hash) const { return peer_key_hash == kubelet_key_hash_; }

 private:
  Identity() = default;
  std::string pod_uid_;
  std::string key_pem_;
  std::string key_hash_;
  std::string cert_pem_;
  std::string kubelet_ca_;
  std::string kubelet_key_hash_;
  bool certified_ = false;
};

}  // namespace vck::tether
