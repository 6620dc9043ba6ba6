// TLS settings as values. Certificates and keys are PEM text, not file names: their owners read (and re-read) files.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"

namespace vck::http {

struct TlsOptions {
  // Trust, checked in this order: insecure, thumbprint, ca_pem, the system's store.
  bool insecure = false;        // accept any certificate
  std::string thumbprint;       // SHA-256 or SHA-1 of the leaf's DER, hex, colons allowed, any case
  std::string ca_pem;           // one or more certificates; empty: the system's trust store
  std::string server_name;      // SNI and verified name instead of the host; DNS name or IP address
  std::string client_cert_pem;  // chain; empty: no client certificate
  std::string client_key_pem;
};

struct TlsServerOptions {
  std::string cert_pem;  // chain
  std::string key_pem;
  std::string client_ca_pem;  // non-empty: a client certificate is asked for and verified against this
  bool require_client_cert = false;
  // Dates of client certificates mean nothing: for a server whose own clock may be wrong, and that knows its clients by
  // their keys.
  bool ignore_client_dates = false;
  // A client certificate is asked for and any one is accepted in the handshake: Stream::VerifyClient() tells what it is
  // worth. client_ca_pem then only tells clients which one to show.
  bool defer_client_verification = false;
};

// A parsed, shareable set of options (an SSL_CTX); cheap to copy.
class TlsContext {
 public:
  // InvalidArgument with the reason OpenSSL gives, naming what was wrong (CA, certificate, key, thumbprint).
  static StatusOr<std::shared_ptr<TlsContext>> Client(TlsOptions options);
  static StatusOr<std::shared_ptr<TlsContext>> Server(TlsServerOptions options);
  virtual ~TlsContext() = default;

 protected:
  TlsContext() = default;
};

// CAs to verify certificates with outside of a handshake; cheap to share.
class CertificatePool {
 public:
  // InvalidArgument when it is not one or more certificates in PEM.
  static StatusOr<std::shared_ptr<const CertificatePool>> Parse(const std::string& pem);
  virtual ~CertificatePool() = default;

 protected:
  CertificatePool() = default;
};

// ---- keys and certificates (P-256, X.509 v3) ----
StatusOr<std::string> GenerateKeyPem();
// Lower-case hex of SHA-256 over the DER SubjectPublicKeyInfo of a private key or certificate in PEM.
StatusOr<std::string> PublicKeyHash(const std::string& pem);
// Of the first certificate in `pem`.
struct CertificateInfo {
  std::string common_name;                 // of the subject; "": none
  std::vector<std::string> organizations;  // likewise
  absl::Time not_before, not_after;
};
StatusOr<CertificateInfo> ReadCertificate(const std::string& pem);
struct CertRequest {
  std::string common_name;
  std::vector<std::string> organizations;
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;
  std::vector<std::string> uris;
  bool is_ca = false;
  absl::Duration lifetime = absl::Hours(24 * 365);
  absl::Time now;  // not_before is an hour earlier, for guests whose clock lags
};
// PEM PKCS#10 request.
StatusOr<std::string> CreateCsr(const std::string& key_pem, const CertRequest& request);
// A certificate for `subject_public` (a key or CSR in PEM), signed by issuer; issuer_cert_pem empty: self-signed.
StatusOr<std::string> SignCertificate(const std::string& subject_public_pem, const CertRequest& request,
                                      const std::string& issuer_cert_pem, const std::string& issuer_key_pem);

}  // namespace vck::http
