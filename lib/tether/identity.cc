#include "tether/identity.h"

namespace vck::tether {
namespace {

http::CertRequest PodName(const std::string& pod_uid) {
  http::CertRequest out;
  out.common_name = pod_uid;
  out.dns_names = {std::string(guestapi::kTetherDnsName)};
  out.uris = {guestapi::PodUri(pod_uid)};
  return out;
}

}  // namespace

StatusOr<Identity> Identity::Create(const guestapi::BootConfig& config, absl::Time now) {
  Identity out;
  out.pod_uid_ = config.pod_uid;
  out.kubelet_ca_ = config.kubelet_ca;
  out.kubelet_key_hash_ = config.kubelet_key_hash;
  auto ca_hash = http::PublicKeyHash(config.kubelet_ca);
  if (!ca_hash.ok()) return Annotate(ca_hash.status(), "kubeletCa");
  if (*ca_hash != config.kubelet_key_hash) {
    return absl::InvalidArgumentError("kubeletCa is not a certificate of the key that kubeletKeyHash names");
  }
  ASSIGN_OR_RETURN(out.key_pem_, http::GenerateKeyPem());
  ASSIGN_OR_RETURN(out.key_hash_, http::PublicKeyHash(out.key_pem_));
  http::CertRequest request = PodName(config.pod_uid);
  request.now = now;
  ASSIGN_OR_RETURN(out.cert_pem_, http::SignCertificate(out.key_pem_, request, "", out.key_pem_));
  return out;
}

Status Identity::Certify(const std::string& pem) {
  ASSIGN_OR_RETURN(std::string hash, http::PublicKeyHash(pem));
  if (hash != key_hash_) return absl::InvalidArgumentError("the certificate is for another key");
  cert_pem_ = pem;
  certified_ = true;
  return absl::OkStatus();
}

StatusOr<std::shared_ptr<http::TlsContext>> Identity::Tls() const {
  http::TlsServerOptions options;
  options.cert_pem = cert_pem_;
  options.key_pem = key_pem_;
  options.client_ca_pem = kubelet_ca_;
  options.require_client_cert = true;
  // A machine's clock may be years behind; the kubelet is who has the VCH's key.
  options.ignore_client_dates = true;
  return http::TlsContext::Server(std::move(options));
}

}  // namespace vck::tether
