#include "http/issuer.h"

#include <array>
#include <cstdint>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "http/tls_internal.h"

namespace vck::http {
namespace {

using internal::Deleter;
using internal::TakeOpenSslError;
using MdPtr = std::unique_ptr<EVP_MD, Deleter<EVP_MD_free>>;
using MdCtxPtr = std::unique_ptr<EVP_MD_CTX, Deleter<EVP_MD_CTX_free>>;

// X.690, tags of the universal class and those of GeneralName (RFC 5280 §4.2.1.6).
enum Tag : uint8_t {
  kInteger = 0x02,
  kBitString = 0x03,
  kOctetString = 0x04,
  kUtf8String = 0x0c,
  kUtcTime = 0x17,
  kGeneralizedTime = 0x18,
  kSequence = 0x30,
  kSet = 0x31,
  kVersion = 0xa0,     // [0] EXPLICIT of TBSCertificate
  kExtensions = 0xa3,  // [3] EXPLICIT of TBSCertificate
  kKeyIdentifier = 0x80,
  kDnsName = 0x82,
  kUri = 0x86,
};

template <class... Parts>
std::string Der(Tag tag, const Parts&... parts) {
  size_t size = (std::string_view(parts).size() + ... + 0);
  std::string out;
  out.reserve(size + 6);
  out.push_back(static_cast<char>(tag));
  if (size < 0x80) {
    out.push_back(static_cast<char>(size));
  } else {
    int octets = size < 0x100 ? 1 : size < 0x10000 ? 2 : 3;
    out.push_back(static_cast<char>(0x80 + octets));
    for (int i = octets - 1; i >= 0; --i) out.push_back(static_cast<char>(size >> (8 * i)));
  }
  (out.append(parts), ...);
  return out;
}

template <size_t N>
constexpr std::string_view Bytes(const char (&text)[N]) {
  return {text, N - 1};
}

// Object identifiers with tag and length, and extensions that are always the same.
constexpr std::string_view kCommonName = Bytes("\x06\x03\x55\x04\x03");
constexpr std::string_view kSubjectKeyIdentifier = Bytes("\x06\x03\x55\x1d\x0e");
constexpr std::string_view kSubjectAltName = Bytes("\x06\x03\x55\x1d\x11");
constexpr std::string_view kAuthorityKeyIdentifier = Bytes("\x06\x03\x55\x1d\x23");
// Basic constraints, critical: no CA.
constexpr std::string_view kNoCa = Bytes("\x30\x0c\x06\x03\x55\x1d\x13\x01\x01\xff\x04\x02\x30\x00");
// Key usage, critical: digital signatures.
constexpr std::string_view kSigns = Bytes("\x30\x0e\x06\x03\x55\x1d\x0f\x01\x01\xff\x04\x04\x03\x02\x07\x80");
// Extended key usage: server and client.
constexpr std::string_view kBothEnds = Bytes(
    "\x30\x1d\x06\x03\x55\x1d\x25\x04\x16\x30\x14\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01"
    "\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02");

constexpr size_t kMaxCommonName = 64;  // RFC 5280 appendix A.1, ub-common-name
constexpr size_t kMaxNames = 4096;     // far above any real request
constexpr size_t kKeyIdentifierSize = 20;
constexpr size_t kPemLine = 64;

// RFC 5280 §4.1.2.5: two digits of a year until 2049.
std::string Time(absl::Time time) {
  bool utc = absl::ToCivilYear(time, absl::UTCTimeZone()).year() < 2050;
  return Der(utc ? kUtcTime : kGeneralizedTime,
             absl::FormatTime(utc ? "%y%m%d%H%M%SZ" : "%Y%m%d%H%M%SZ", time, absl::UTCTimeZone()));
}

std::string Extension(std::string_view id, const std::string& value) {
  return Der(kSequence, id, Der(kOctetString, value));
}

std::string Pem(const std::string& der) {
  std::string base64 = absl::Base64Escape(der);
  std::string out = "-----BEGIN CERTIFICATE-----\n";
  for (size_t i = 0; i < base64.size(); i += kPemLine) {
    out.append(base64, i, kPemLine);
    out.push_back('\n');
  }
  out += "-----END CERTIFICATE-----\n";
  return out;
}

class Issuer : public CertificateIssuer {
 public:
  Status Init(const std::string& cert_pem, const std::string& key_pem) {
    ASSIGN_OR_RETURN(auto cert, internal::FirstCertificate(cert_pem, "the issuer's certificate"));
    ASSIGN_OR_RETURN(auto key, internal::PrivateKey(key_pem, "the issuer's key"));
    if (X509_check_private_key(cert.get(), key.get()) != 1) {
      ERR_clear_error();
      return absl::InvalidArgumentError("the issuer's key does not belong to its certificate");
    }
    unsigned char* der = nullptr;
    int size = i2d_X509_NAME(X509_get_subject_name(cert.get()), &der);
    if (size <= 0) return absl::InternalError(TakeOpenSslError());
    issuer_.assign(reinterpret_cast<char*>(der), static_cast<size_t>(size));
    OPENSSL_free(der);
    if (const ASN1_OCTET_STRING* id = X509_get0_subject_key_id(cert.get())) {
      std::string_view octets(reinterpret_cast<const char*>(ASN1_STRING_get0_data(id)),
                              static_cast<size_t>(ASN1_STRING_length(id)));
      authority_ = Extension(kAuthorityKeyIdentifier, Der(kSequence, Der(kKeyIdentifier, octets)));
    }
    // Fetched once: OpenSSL 3.0 looks an algorithm up at every use else.
    sha256_.reset(EVP_MD_fetch(nullptr, "SHA256", nullptr));
    signing_.reset(EVP_MD_CTX_new());
    EVP_PKEY_CTX* context = nullptr;
    std::array<char, 256> algorithm{};
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, algorithm.data(), algorithm.size()),
        OSSL_PARAM_construct_end()};
    if (sha256_ == nullptr || signing_ == nullptr ||
        EVP_DigestSignInit(signing_.get(), &context, sha256_.get(), nullptr, key.get()) != 1 ||
        EVP_PKEY_CTX_get_params(context, params) != 1 || OSSL_PARAM_modified(params) != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("the issuer's key cannot sign with SHA-256: ", TakeOpenSslError()));
    }
    algorithm_.assign(algorithm.data(), params[0].return_size);
    signature_size_ = static_cast<size_t>(EVP_PKEY_get_size(key.get()));
    return absl::OkStatus();
  }

  [[nodiscard]] StatusOr<std::string> Issue(std::string_view public_key, const CertRequest& request) const override {
    if (request.is_ca || !request.ip_addresses.empty() || !request.organizations.empty()) {
      return absl::InvalidArgumentError("only plain leaves are issued here");
    }
    if (public_key.empty()) return absl::InvalidArgumentError("there is no key to be certified");
    if (request.common_name.empty() || request.common_name.size() > kMaxCommonName) {
      return absl::InvalidArgumentError(absl::StrCat("common name \"", request.common_name, "\""));
    }
    std::string names;
    for (const std::string& dns : request.dns_names) names += Der(kDnsName, dns);
    for (const std::string& uri : request.uris) names += Der(kUri, uri);
    if (names.size() > kMaxNames) return absl::InvalidArgumentError("the names are too long");
    std::string alternatives;
    if (!names.empty()) alternatives = Extension(kSubjectAltName, Der(kSequence, names));
    ASSIGN_OR_RETURN(std::string identifier, KeyIdentifier(public_key));
    ASSIGN_OR_RETURN(std::string serial, SerialNumber());
    std::string body =
        Der(kSequence, Der(kVersion, Der(kInteger, Bytes("\x02"))), Der(kInteger, serial), algorithm_, issuer_,
            Der(kSequence, Time(request.now - absl::Hours(1)), Time(request.now + request.lifetime)),
            Der(kSequence, Der(kSet, Der(kSequence, kCommonName, Der(kUtf8String, request.common_name)))), public_key,
            Der(kExtensions,
                Der(kSequence, kNoCa, kSigns, kBothEnds,
                    Extension(kSubjectKeyIdentifier, Der(kOctetString, identifier)), authority_, alternatives)));
    ASSIGN_OR_RETURN(std::string signature, Sign(body));
    return Pem(Der(kSequence, body, algorithm_, Der(kBitString, Bytes("\0"), signature)));
  }

 private:
  // RFC 7093 §2, method 4, cut to the usual length.
  [[nodiscard]] StatusOr<std::string> KeyIdentifier(std::string_view public_key) const {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    if (EVP_Digest(public_key.data(), public_key.size(), digest.data(), &size, sha256_.get(), nullptr) != 1) {
      return absl::InternalError(TakeOpenSslError());
    }
    return std::string(reinterpret_cast<char*>(digest.data()), kKeyIdentifierSize);
  }

  // RFC 5280 §4.1.2.2: positive, at most 20 octets; 126 random bits.
  static StatusOr<std::string> SerialNumber() {
    std::array<unsigned char, 16> number{};
    if (RAND_bytes(number.data(), number.size()) != 1) return absl::InternalError(TakeOpenSslError());
    number[0] = (number[0] & 0x7f) | 0x40;
    return std::string(reinterpret_cast<char*>(number.data()), number.size());
  }

  [[nodiscard]] StatusOr<std::string> Sign(const std::string& body) const {
    MdCtxPtr context(EVP_MD_CTX_new());
    std::string out(signature_size_, '\0');
    size_t size = out.size();
    if (context == nullptr || EVP_MD_CTX_copy_ex(context.get(), signing_.get()) != 1 ||
        EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size,
                       reinterpret_cast<const unsigned char*>(body.data()), body.size()) != 1) {
      return absl::InternalError(absl::StrCat("the certificate cannot be signed: ", TakeOpenSslError()));
    }
    out.resize(size);
    return out;
  }

  std::string issuer_;     // its name
  std::string authority_;  // the extension that names its key; "": it has no identifier
  std::string algorithm_;  // of signatures
  size_t signature_size_ = 0;
  MdPtr sha256_;
  MdCtxPtr signing_;  // ready to sign: each signature takes a copy
};

}  // namespace

StatusOr<std::unique_ptr<CertificateIssuer>> CertificateIssuer::Create(const std::string& cert_pem,
                                                                       const std::string& key_pem) {
  auto out = std::make_unique<Issuer>();
  RETURN_IF_ERROR(out->Init(cert_pem, key_pem));
  return out;
}

}  // namespace vck::http
