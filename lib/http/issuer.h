// Certificates for keys whose holders have already proven that they hold them, made in a fraction of the time of
// SignCertificate(): for those who issue one for each of a thousand peers.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "http/stream.h"
#include "http/tls.h"

namespace vck::http {

class CertificateIssuer {
 public:
  // InvalidArgument when one cannot be read, or the key is not the certificate's.
  static StatusOr<std::unique_ptr<CertificateIssuer>> Create(const std::string& cert_pem, const std::string& key_pem);
  virtual ~CertificateIssuer() = default;

  // PEM of a leaf for both ends of TLS. `public_key` is a SubjectPublicKeyInfo in DER, as PeerPublicKey() gives it. Of
  // the request it takes common_name, dns_names, uris, now and lifetime; with anything else it is InvalidArgument.
  [[nodiscard]] virtual StatusOr<std::string> Issue(std::string_view public_key, const CertRequest& request) const = 0;
};

// DER SubjectPublicKeyInfo of the certificate that the peer of a Dial() or of an Exchange has shown, whose key it
// holds, as the handshake has proven; "" without one.
std::string PeerPublicKey(const Stream& stream);

}  // namespace vck::http
