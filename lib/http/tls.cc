#include "http/tls.h"

#include <array>
#include <list>
#include <optional>

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "http/tls_internal.h"

namespace vck::http {
namespace internal {

std::string TakeOpenSslError() {
  unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "unknown TLS error";
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : absl::StrCat("TLS error ", code);
}

namespace {

// Takes `der` over.
std::string HashOf(unsigned char* der, int size) {
  if (size <= 0) return "";
  std::string hash = Sha256Hex({reinterpret_cast<const char*>(der), static_cast<size_t>(size)});
  OPENSSL_free(der);
  return hash;
}

}  // namespace

std::string KeyHash(EVP_PKEY* key) {
  if (key == nullptr) return "";
  unsigned char* der = nullptr;
  int size = i2d_PUBKEY(key, &der);
  return HashOf(der, size);
}

std::string KeyHash(X509* certificate) {
  // As it is in the certificate: encoding the decoded key again costs ten times as much.
  unsigned char* der = nullptr;
  int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  return HashOf(der, size);
}

std::string PublicKeyDer(X509* certificate) {
  unsigned char* der = nullptr;
  int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  if (size <= 0) return "";
  std::string out(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return out;
}

bool IsIpLiteral(const std::string& host) {
  in6_addr any{};
  return inet_pton(AF_INET, host.c_str(), &any) == 1 || inet_pton(AF_INET6, host.c_str(), &any) == 1;
}

StatusOr<SslPtr> NewClientSsl(const TlsContextImpl& context, const std::string& host,
                              const std::vector<std::string>& alpn) {
  SslPtr ssl(SSL_new(context.ctx.get()));
  if (ssl == nullptr) return absl::InternalError(TakeOpenSslError());
  const std::string& name = context.server_name.empty() ? host : context.server_name;
  bool ip = IsIpLiteral(name);
  // RFC 6066 §3: no IP addresses in SNI.
  if (!ip) SSL_set_tlsext_host_name(ssl.get(), name.c_str());
  if (context.verify_name) {
    X509_VERIFY_PARAM* param = SSL_get0_param(ssl.get());
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    int set = ip ? X509_VERIFY_PARAM_set1_ip_asc(param, name.c_str())
                 : X509_VERIFY_PARAM_set1_host(param, name.c_str(), name.size());
    if (set != 1)
      return absl::InvalidArgumentError(absl::StrCat("\"", name, "\" cannot be verified as a server's name"));
  }
  std::string wire;
  for (const std::string& protocol : alpn) {
    wire.push_back(static_cast<char>(protocol.size()));
    wire += protocol;
  }
  if (!wire.empty()) {
    SSL_set_alpn_protos(ssl.get(), reinterpret_cast<const unsigned char*>(wire.data()),
                        static_cast<unsigned int>(wire.size()));
  }
  return ssl;
}

}  // namespace internal

namespace {

using internal::Deleter;
using internal::KeyPtr;
using internal::TakeOpenSslError;
using internal::TlsContextImpl;
using internal::X509Ptr;
using BioPtr = std::unique_ptr<BIO, Deleter<BIO_vfree>>;
using ReqPtr = std::unique_ptr<X509_REQ, Deleter<X509_REQ_free>>;

BioPtr Reader(std::string_view text) { return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

std::string Contents(const BioPtr& bio) {
  char* data = nullptr;
  long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

// Without it OpenSSL would ask for the pass phrase of an encrypted key on the terminal.
int NoPassword(char*, int, int, void*) { return -1; }

KeyPtr Share(const KeyPtr& key) {
  EVP_PKEY_up_ref(key.get());
  return KeyPtr(key.get());
}
std::vector<X509Ptr> Share(const std::vector<X509Ptr>& certs) {
  std::vector<X509Ptr> out;
  for (const X509Ptr& cert : certs) {
    X509_up_ref(cert.get());
    out.emplace_back(cert.get());
  }
  return out;
}

// OpenSSL 3.0 looks its decoders up anew for every key, at some milliseconds each. Most texts are read several times in
// a row (a fresh key is hashed, signed with and served with; the VCH's key signs for every guest), so the last few are
// kept.
template <class T>
class Memo {
 public:
  std::optional<T> Find(std::string_view pem) {
    for (auto it = entries_.begin(); it != entries_.end(); ++it) {
      if (it->first != pem) continue;
      entries_.splice(entries_.begin(), entries_, it);
      return Share(it->second);
    }
    return std::nullopt;
  }
  void Add(std::string_view pem, const T& value) {
    entries_.emplace_front(pem, Share(value));
    if (entries_.size() > kEntries) entries_.pop_back();
  }

 private:
  static constexpr size_t kEntries = 8;
  std::list<std::pair<std::string, T>> entries_;  // the latest first
};
thread_local Memo<KeyPtr> private_keys;
thread_local Memo<KeyPtr> public_keys;
thread_local Memo<std::vector<X509Ptr>> certificates;

StatusOr<KeyPtr> ReadPrivateKey(std::string_view pem, std::string_view what) {
  if (auto known = private_keys.Find(pem)) return *std::move(known);
  ERR_clear_error();
  KeyPtr key(PEM_read_bio_PrivateKey(Reader(pem).get(), nullptr, NoPassword, nullptr));
  if (key == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " is not an unencrypted private key in PEM: ", TakeOpenSslError()));
  }
  private_keys.Add(pem, key);
  return key;
}

StatusOr<std::vector<X509Ptr>> ReadCertificates(std::string_view pem, std::string_view what) {
  if (auto known = certificates.Find(pem)) return *std::move(known);
  ERR_clear_error();
  BioPtr bio = Reader(pem);
  std::vector<X509Ptr> out;
  while (X509Ptr cert{PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr)}) out.push_back(std::move(cert));
  unsigned long last = ERR_peek_last_error();
  bool at_end = ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
  std::string reason = TakeOpenSslError();
  if (out.empty() || !at_end) {
    return absl::InvalidArgumentError(absl::StrCat(what, " is not a certificate in PEM: ", reason));
  }
  certificates.Add(pem, out);
  return out;
}

Status UseIdentity(SSL_CTX* ctx, const std::string& cert_pem, const std::string& key_pem, std::string_view whose) {
  ASSIGN_OR_RETURN(auto chain, ReadCertificates(cert_pem, absl::StrCat("the ", whose, " certificate")));
  ASSIGN_OR_RETURN(KeyPtr key, ReadPrivateKey(key_pem, absl::StrCat("the ", whose, " key")));
  if (SSL_CTX_use_certificate(ctx, chain[0].get()) != 1) {
    return absl::InvalidArgumentError(absl::StrCat("the ", whose, " certificate cannot be used: ", TakeOpenSslError()));
  }
  for (size_t i = 1; i < chain.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(ctx, chain[i].get()) != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("the chain of the ", whose, " certificate cannot be used: ", TakeOpenSslError()));
    }
  }
  if (SSL_CTX_use_PrivateKey(ctx, key.get()) != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", whose, " key does not belong to its certificate: ", TakeOpenSslError()));
  }
  return absl::OkStatus();
}

Status TrustCa(SSL_CTX* ctx, const std::string& pem, std::string_view what) {
  ASSIGN_OR_RETURN(auto certs, ReadCertificates(pem, what));
  X509_STORE* store = SSL_CTX_get_cert_store(ctx);
  for (const X509Ptr& cert : certs) {
    if (X509_STORE_add_cert(store, cert.get()) != 1) {
      return absl::InvalidArgumentError(absl::StrCat(what, " cannot be used: ", TakeOpenSslError()));
    }
  }
  return absl::OkStatus();
}

// Compares the leaf before anything of ours, a client certificate above all, is sent.
int VerifyThumbprint(X509_STORE_CTX* store, void* arg) {
  const auto* want = static_cast<const std::string*>(arg);
  const EVP_MD* md = want->size() == 20 ? EVP_sha1() : EVP_sha256();
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  X509* leaf = X509_STORE_CTX_get0_cert(store);
  if (leaf != nullptr && X509_digest(leaf, md, digest.data(), &size) == 1 && size == want->size() &&
      CRYPTO_memcmp(digest.data(), want->data(), size) == 0) {
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
  }
  X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
  return 0;
}

StatusOr<std::string> ParseThumbprint(const std::string& text) {
  std::string hex;
  for (char c : text) {
    if (c != ':' && c != ' ') hex.push_back(c);
  }
  bool valid = hex.size() == 40 || hex.size() == 64;
  for (char c : hex) valid = valid && absl::ascii_isxdigit(static_cast<unsigned char>(c));
  if (!valid) {
    return absl::InvalidArgumentError(
        absl::StrCat("the thumbprint \"", text, "\" is not 40 (SHA-1) or 64 (SHA-256) hex digits"));
  }
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

StatusOr<std::shared_ptr<TlsContextImpl>> NewContext(bool server) {
  auto context = std::make_shared<TlsContextImpl>();
  context->server = server;
  context->ctx.reset(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()));
  SSL_CTX* ctx = context->ctx.get();
  if (ctx == nullptr) return absl::InternalError(TakeOpenSslError());
  SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
  // Idle connections keep no buffers, and there are no sessions to keep: connections here live for hours.
  // And the chain that is shown is the one that was given: else each handshake looks for a longer one.
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  // All that is there with one call to the kernel, not two for each record.
  SSL_CTX_set_read_ahead(ctx, 1);
  if (server) SSL_CTX_set_num_tickets(ctx, 0);
  return context;
}

int SelectHttp11(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
                 unsigned int in_size, void*) {
  static constexpr unsigned char kProtocols[] = "\x08http/1.1";
  unsigned char* chosen = nullptr;
  int result = SSL_select_next_proto(&chosen, out_size, kProtocols, sizeof(kProtocols) - 1, in, in_size);
  *out = chosen;
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

// By its label: a decoder that fails costs as much as one that does not.
KeyPtr DecodePublicKey(const std::string& pem) {
  auto labelled = [&pem](std::string_view label) { return absl::StrContains(pem, absl::StrCat("-----BEGIN ", label)); };
  if (labelled("CERTIFICATE REQUEST") || labelled("NEW CERTIFICATE REQUEST")) {
    ReqPtr request(PEM_read_bio_X509_REQ(Reader(pem).get(), nullptr, NoPassword, nullptr));
    EVP_PKEY* key = request != nullptr ? X509_REQ_get0_pubkey(request.get()) : nullptr;
    // Its signature is the proof that the requester holds the key.
    if (key == nullptr || X509_REQ_verify(request.get(), key) != 1) return nullptr;
    EVP_PKEY_up_ref(key);
    return KeyPtr(key);
  }
  if (labelled("CERTIFICATE") || labelled("TRUSTED CERTIFICATE") || labelled("X509 CERTIFICATE")) {
    auto certs = ReadCertificates(pem, "it");
    return KeyPtr(certs.ok() ? X509_get_pubkey((*certs)[0].get()) : nullptr);
  }
  if (labelled("PUBLIC KEY")) return KeyPtr(PEM_read_bio_PUBKEY(Reader(pem).get(), nullptr, NoPassword, nullptr));
  return KeyPtr(PEM_read_bio_PrivateKey(Reader(pem).get(), nullptr, NoPassword, nullptr));
}

StatusOr<KeyPtr> ReadPublicKey(const std::string& pem) {
  if (auto known = private_keys.Find(pem)) return *std::move(known);
  if (auto known = public_keys.Find(pem)) return *std::move(known);
  if (KeyPtr key = DecodePublicKey(pem)) {
    public_keys.Add(pem, key);
    return key;
  }
  ERR_clear_error();
  return absl::InvalidArgumentError("expected a key, certificate or certificate request in PEM");
}

Status FillName(X509_NAME* name, const CertRequest& request) {
  auto add = [name](const char* field, const std::string& value) {
    return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                                      static_cast<int>(value.size()), -1, 0) == 1;
  };
  for (const std::string& organization : request.organizations) {
    if (!add("O", organization)) return absl::InvalidArgumentError(absl::StrCat("organization \"", organization, "\""));
  }
  if (!request.common_name.empty() && !add("CN", request.common_name)) {
    return absl::InvalidArgumentError(absl::StrCat("common name \"", request.common_name, "\": ", TakeOpenSslError()));
  }
  return absl::OkStatus();
}

using NamesPtr = std::unique_ptr<GENERAL_NAMES, Deleter<GENERAL_NAMES_free>>;

// Built by hand and not from configuration text, in which a comma in a URI would start another name.
StatusOr<NamesPtr> SubjectAltNames(const CertRequest& request) {
  NamesPtr names(sk_GENERAL_NAME_new_null());
  auto add = [&](int type, const std::string& text) {
    ASN1_IA5STRING* value = ASN1_IA5STRING_new();
    ASN1_STRING_set(value, text.data(), static_cast<int>(text.size()));
    GENERAL_NAME* name = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(name, type, value);
    sk_GENERAL_NAME_push(names.get(), name);
  };
  for (const std::string& dns : request.dns_names) add(GEN_DNS, dns);
  for (const std::string& ip : request.ip_addresses) {
    ASN1_OCTET_STRING* octets = a2i_IPADDRESS(ip.c_str());
    if (octets == nullptr) {
      ERR_clear_error();
      return absl::InvalidArgumentError(absl::StrCat("\"", ip, "\" is not an IP address"));
    }
    GENERAL_NAME* name = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(name, GEN_IPADD, octets);
    sk_GENERAL_NAME_push(names.get(), name);
  }
  for (const std::string& uri : request.uris) add(GEN_URI, uri);
  return names;
}

Status AddTextExtension(X509* cert, X509* issuer, int nid, const char* value) {
  X509V3_CTX v3;
  X509V3_set_ctx(&v3, issuer, cert, nullptr, nullptr, 0);
  X509V3_set_ctx_nodb(&v3);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &v3, nid, value);
  if (extension == nullptr) return absl::InternalError(TakeOpenSslError());
  X509_add_ext(cert, extension, -1);
  X509_EXTENSION_free(extension);
  return absl::OkStatus();
}

}  // namespace

namespace internal {

StatusOr<KeyPtr> PrivateKey(std::string_view pem, std::string_view what) { return ReadPrivateKey(pem, what); }

StatusOr<X509Ptr> FirstCertificate(std::string_view pem, std::string_view what) {
  ASSIGN_OR_RETURN(auto certs, ReadCertificates(pem, what));
  return std::move(certs[0]);
}

}  // namespace internal

StatusOr<std::shared_ptr<TlsContext>> TlsContext::Client(TlsOptions options) {
  ASSIGN_OR_RETURN(auto context, NewContext(false));
  SSL_CTX* ctx = context->ctx.get();
  context->server_name = options.server_name;
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, nullptr);
  if (options.insecure) {
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, nullptr);
    // Else a chain is built all the same, and what comes out of it is ignored.
    SSL_CTX_set_cert_verify_callback(ctx, [](X509_STORE_CTX*, void*) { return 1; }, nullptr);
  } else if (!options.thumbprint.empty()) {
    ASSIGN_OR_RETURN(context->thumbprint, ParseThumbprint(options.thumbprint));
    SSL_CTX_set_cert_verify_callback(ctx, VerifyThumbprint, &context->thumbprint);
  } else {
    context->verify_name = true;
    if (options.ca_pem.empty()) {
      if (SSL_CTX_set_default_verify_paths(ctx) != 1) {
        return absl::InvalidArgumentError(absl::StrCat("the system's trust store: ", TakeOpenSslError()));
      }
    } else {
      RETURN_IF_ERROR(TrustCa(ctx, options.ca_pem, "the CA"));
      // A CA given is trusted as it is, also when it is not self-signed, as in Go's clients.
      X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    }
  }
  if (!options.client_cert_pem.empty() || !options.client_key_pem.empty()) {
    RETURN_IF_ERROR(UseIdentity(ctx, options.client_cert_pem, options.client_key_pem, "client"));
  }
  ERR_clear_error();
  return context;
}

StatusOr<std::shared_ptr<TlsContext>> TlsContext::Server(TlsServerOptions options) {
  ASSIGN_OR_RETURN(auto context, NewContext(true));
  SSL_CTX* ctx = context->ctx.get();
  RETURN_IF_ERROR(UseIdentity(ctx, options.cert_pem, options.key_pem, "server"));
  SSL_CTX_set_alpn_select_cb(ctx, SelectHttp11, nullptr);
  if (!options.client_ca_pem.empty()) {
    RETURN_IF_ERROR(TrustCa(ctx, options.client_ca_pem, "the client CA"));
    const unsigned long dates = options.ignore_client_dates ? X509_V_FLAG_NO_CHECK_TIME : 0;
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN | dates);
    ASSIGN_OR_RETURN(auto cas, ReadCertificates(options.client_ca_pem, "the client CA"));
    for (const X509Ptr& ca : cas) SSL_CTX_add_client_CA(ctx, ca.get());
  }
  if (options.defer_client_verification) {
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
  } else if (!options.client_ca_pem.empty()) {
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (options.require_client_cert ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       nullptr);
  } else if (options.require_client_cert) {
    return absl::InvalidArgumentError("a client certificate is required, but no client CA is given");
  }
  ERR_clear_error();
  return context;
}

StatusOr<std::shared_ptr<const CertificatePool>> CertificatePool::Parse(const std::string& pem) {
  ASSIGN_OR_RETURN(auto certs, ReadCertificates(pem, "the CA"));
  auto pool = std::make_shared<internal::CertificatePoolImpl>();
  pool->store.reset(X509_STORE_new());
  for (const X509Ptr& cert : certs) {
    if (X509_STORE_add_cert(pool->store.get(), cert.get()) != 1) {
      return absl::InvalidArgumentError(absl::StrCat("the CA cannot be used: ", TakeOpenSslError()));
    }
  }
  return pool;
}

StatusOr<CertificateInfo> ReadCertificate(const std::string& pem) {
  ASSIGN_OR_RETURN(auto certs, ReadCertificates(pem, "the certificate"));
  auto time = [](const ASN1_TIME* text) -> StatusOr<absl::Time> {
    std::tm fields{};
    if (ASN1_TIME_to_tm(text, &fields) != 1) return absl::InvalidArgumentError("the certificate has no valid dates");
    return absl::FromTM(fields, absl::UTCTimeZone());
  };
  CertificateInfo out;
  ASSIGN_OR_RETURN(out.not_before, time(X509_get0_notBefore(certs[0].get())));
  ASSIGN_OR_RETURN(out.not_after, time(X509_get0_notAfter(certs[0].get())));
  const X509_NAME* subject = X509_get_subject_name(certs[0].get());
  for (int i = 0; i < X509_NAME_entry_count(subject); ++i) {
    const X509_NAME_ENTRY* entry = X509_NAME_get_entry(subject, i);
    const int kind = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry));
    if (kind != NID_commonName && kind != NID_organizationName) continue;
    unsigned char* text = nullptr;
    const int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(entry));
    if (size < 0) return absl::InvalidArgumentError("the certificate's subject has characters that cannot be read");
    std::string value(reinterpret_cast<const char*>(text), size);
    OPENSSL_free(text);
    if (kind == NID_commonName) {
      out.common_name = std::move(value);
    } else {
      out.organizations.push_back(std::move(value));
    }
  }
  return out;
}

StatusOr<std::string> GenerateKeyPem() {
  KeyPtr key(EVP_EC_gen("P-256"));
  BioPtr out(BIO_new(BIO_s_mem()));
  if (key == nullptr ||
      PEM_write_bio_PKCS8PrivateKey(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return absl::InternalError(TakeOpenSslError());
  }
  std::string pem = Contents(out);
  private_keys.Add(pem, key);
  return pem;
}

StatusOr<std::string> PublicKeyHash(const std::string& pem) {
  ASSIGN_OR_RETURN(KeyPtr key, ReadPublicKey(pem));
  return internal::KeyHash(key.get());
}

StatusOr<std::string> CreateCsr(const std::string& key_pem, const CertRequest& request) {
  ASSIGN_OR_RETURN(KeyPtr key, ReadPrivateKey(key_pem, "the key"));
  ReqPtr csr(X509_REQ_new());
  X509_REQ_set_version(csr.get(), 0);
  RETURN_IF_ERROR(FillName(X509_REQ_get_subject_name(csr.get()), request));
  ASSIGN_OR_RETURN(NamesPtr names, SubjectAltNames(request));
  if (sk_GENERAL_NAME_num(names.get()) > 0) {
    X509_EXTENSION* san = X509V3_EXT_i2d(NID_subject_alt_name, 0, names.get());
    STACK_OF(X509_EXTENSION)* extensions = sk_X509_EXTENSION_new_null();
    sk_X509_EXTENSION_push(extensions, san);
    X509_REQ_add_extensions(csr.get(), extensions);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  }
  X509_REQ_set_pubkey(csr.get(), key.get());
  BioPtr out(BIO_new(BIO_s_mem()));
  if (X509_REQ_sign(csr.get(), key.get(), EVP_sha256()) <= 0 || PEM_write_bio_X509_REQ(out.get(), csr.get()) != 1) {
    return absl::InternalError(TakeOpenSslError());
  }
  return Contents(out);
}

StatusOr<std::string> SignCertificate(const std::string& subject_public_pem, const CertRequest& request,
                                      const std::string& issuer_cert_pem, const std::string& issuer_key_pem) {
  ASSIGN_OR_RETURN(KeyPtr subject, ReadPublicKey(subject_public_pem));
  ASSIGN_OR_RETURN(KeyPtr issuer_key, ReadPrivateKey(issuer_key_pem, "the issuer's key"));
  X509Ptr cert(X509_new());
  X509_set_version(cert.get(), 2);
  BIGNUM* number = BN_new();
  // RFC 5280 §4.1.2.2: positive, at most 20 octets; 127 random bits.
  BN_rand(number, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY);
  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert.get()));
  BN_free(number);
  absl::Time start = request.now - absl::Hours(1);
  absl::Time end = request.now + request.lifetime;
  ASN1_TIME_adj(X509_getm_notBefore(cert.get()), absl::ToTimeT(start), 0, 0);
  ASN1_TIME_adj(X509_getm_notAfter(cert.get()), absl::ToTimeT(end), 0, 0);
  X509_set_pubkey(cert.get(), subject.get());
  RETURN_IF_ERROR(FillName(X509_get_subject_name(cert.get()), request));
  X509Ptr issuer;
  X509* issuer_cert = cert.get();
  if (!issuer_cert_pem.empty()) {
    ASSIGN_OR_RETURN(auto chain, ReadCertificates(issuer_cert_pem, "the issuer's certificate"));
    issuer = std::move(chain[0]);
    issuer_cert = issuer.get();
    if (X509_check_private_key(issuer_cert, issuer_key.get()) != 1) {
      ERR_clear_error();
      return absl::InvalidArgumentError("the issuer's key does not belong to its certificate");
    }
  }
  X509_set_issuer_name(cert.get(), X509_get_subject_name(issuer_cert));
  RETURN_IF_ERROR(AddTextExtension(cert.get(), issuer_cert, NID_basic_constraints,
                                   request.is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE"));
  RETURN_IF_ERROR(
      AddTextExtension(cert.get(), issuer_cert, NID_key_usage,
                       request.is_ca ? "critical,digitalSignature,keyCertSign,cRLSign" : "critical,digitalSignature"));
  if (!request.is_ca) {
    RETURN_IF_ERROR(AddTextExtension(cert.get(), issuer_cert, NID_ext_key_usage, "serverAuth,clientAuth"));
  }
  RETURN_IF_ERROR(AddTextExtension(cert.get(), issuer_cert, NID_subject_key_identifier, "hash"));
  RETURN_IF_ERROR(AddTextExtension(cert.get(), issuer_cert, NID_authority_key_identifier, "keyid"));
  ASSIGN_OR_RETURN(NamesPtr names, SubjectAltNames(request));
  if (sk_GENERAL_NAME_num(names.get()) > 0) {
    X509_add1_ext_i2d(cert.get(), NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT);
  }
  BioPtr out(BIO_new(BIO_s_mem()));
  if (X509_sign(cert.get(), issuer_key.get(), EVP_sha256()) <= 0 || PEM_write_bio_X509(out.get(), cert.get()) != 1) {
    return absl::InvalidArgumentError(absl::StrCat("the certificate cannot be signed: ", TakeOpenSslError()));
  }
  std::string pem = Contents(out);
  std::vector<X509Ptr> made;
  made.push_back(std::move(cert));
  certificates.Add(pem, made);
  return pem;
}

}  // namespace vck::http
