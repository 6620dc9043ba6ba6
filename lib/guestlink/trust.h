// Whom the kubelet believes to be a pod's tether, and what it shows of itself. Not for other layers.
#pragma once

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "base/status.h"
#include "http/issuer.h"
#include "http/tls.h"

namespace vck::guestlink::internal {

class Trust {
 public:
  // `key_pem` is the VCH's key.
  static StatusOr<std::unique_ptr<Trust>> Create(std::string key_pem, absl::Time now);

  [[nodiscard]] const std::string& key_hash() const { return key_hash_; }
  [[nodiscard]] const std::string& ca_pem() const { return ca_pem_; }
  // Accepts any certificate: the caller compares the peer's key with the one it expects.
  [[nodiscard]] const std::shared_ptr<http::TlsContext>& by_key() const { return by_key_; }
  // Accepts certificates of the VCH's key only: the caller looks for the pod in its names.
  [[nodiscard]] const std::shared_ptr<http::TlsContext>& by_certificate() const { return by_certificate_; }
  // The certificate that names the pod, for the key with which the peer made its connection (DER): TLS has shown that
  // it holds the key.
  [[nodiscard]] StatusOr<std::string> Certify(const std::string& pod_uid, const std::string& public_key,
                                              absl::Time now) const;

 private:
  Trust() = default;
  std::string key_pem_;
  std::string key_hash_;
  std::string ca_pem_;
  std::unique_ptr<http::CertificateIssuer> issuer_;
  std::shared_ptr<http::TlsContext> by_key_;
  std::shared_ptr<http::TlsContext> by_certificate_;
};

}  // namespace vck::guestlink::internal
