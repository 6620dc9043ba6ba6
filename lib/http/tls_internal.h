// What tls.cc and stream.cc share about OpenSSL. Not for other layers.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "http/tls.h"

namespace vck::http::internal {

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};
using SslCtxPtr = std::unique_ptr<SSL_CTX, Deleter<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, Deleter<SSL_free>>;
using X509Ptr = std::unique_ptr<X509, Deleter<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;

struct TlsContextImpl : TlsContext {
  SslCtxPtr ctx;
  bool server = false;
  bool verify_name = false;  // false: insecure, or the thumbprint decides
  std::string server_name;   // instead of the host
  std::string thumbprint;    // raw digest bytes; empty: by CA
};

struct CertificatePoolImpl : CertificatePool {
  std::unique_ptr<X509_STORE, Deleter<X509_STORE_free>> store;
};

// Of text in PEM, shared with whoever read the same text shortly before; `what` names it in errors.
StatusOr<KeyPtr> PrivateKey(std::string_view pem, std::string_view what);
StatusOr<X509Ptr> FirstCertificate(std::string_view pem, std::string_view what);
// The oldest entry of OpenSSL's error queue in words; empties the queue.
std::string TakeOpenSslError();
// SHA-256 hex of the DER SubjectPublicKeyInfo; "" when there is none.
std::string KeyHash(EVP_PKEY* key);
std::string KeyHash(X509* certificate);
// DER SubjectPublicKeyInfo; "" when there is none.
std::string PublicKeyDer(X509* certificate);
// A new SSL for one connection to `host`: SNI, the name to verify, ALPN.
StatusOr<SslPtr> NewClientSsl(const TlsContextImpl& context, const std::string& host,
                              const std::vector<std::string>& alpn);
bool IsIpLiteral(const std::string& host);

}  // namespace vck::http::internal
