#include "guestlink/trust.h"

#include <utility>

#include "guestapi/identity.h"

namespace vck::guestlink::internal {
namespace {

// A guest's clock may be far off, and nothing hangs on these dates: a key is trusted while its VM exists.
constexpr absl::Duration kBefore = absl::Hours(24 * 365);
constexpr absl::Duration kLifetime = absl::Hours(24 * 365 * 20);

http::CertRequest Request(std::string_view name, absl::Time now) {
  http::CertRequest out;
  out.common_name = std::string(name);
  out.now = now - kBefore;
  out.lifetime = kLifetime;
  return out;
}

}  // namespace

StatusOr<std::unique_ptr<Trust>> Trust::Create(std::string key_pem, absl::Time now) {
  auto out = std::unique_ptr<Trust>(new Trust);
  out->key_pem_ = std::move(key_pem);
  auto hash = http::PublicKeyHash(out->key_pem_);
  if (!hash.ok()) return Annotate(hash.status(), "the VCH's key");
  out->key_hash_ = *hash;
  http::CertRequest ca = Request(guestapi::kCaName, now);
  ca.is_ca = true;
  ASSIGN_OR_RETURN(out->ca_pem_, http::SignCertificate(out->key_pem_, ca, "", out->key_pem_));
  ASSIGN_OR_RETURN(out->issuer_, http::CertificateIssuer::Create(out->ca_pem_, out->key_pem_));
  http::TlsOptions options;
  ASSIGN_OR_RETURN(options.client_cert_pem, http::SignCertificate(out->key_pem_, Request(guestapi::kKubeletName, now),
                                                                  out->ca_pem_, out->key_pem_));
  options.client_key_pem = out->key_pem_;
  options.insecure = true;
  ASSIGN_OR_RETURN(out->by_key_, http::TlsContext::Client(options));
  options.insecure = false;
  options.ca_pem = out->ca_pem_;
  options.server_name = std::string(guestapi::kTetherDnsName);
  ASSIGN_OR_RETURN(out->by_certificate_, http::TlsContext::Client(std::move(options)));
  return out;
}

StatusOr<std::string> Trust::Certify(const std::string& pod_uid, const std::string& public_key, absl::Time now) const {
  http::CertRequest request = Request(pod_uid, now);
  request.dns_names = {std::string(guestapi::kTetherDnsName)};
  request.uris = {guestapi::PodUri(pod_uid)};
  return issuer_->Issue(public_key, request);
}

}  // namespace vck::guestlink::internal
