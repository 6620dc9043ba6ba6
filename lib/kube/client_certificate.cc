#include "kube/client_certificate.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "async/offload.h"
#include "base/log.h"
#include "kube/key_pair.h"

namespace vck::kube {
namespace {

std::string Date(absl::Time time) { return absl::FormatTime(absl::RFC3339_sec, time, absl::UTCTimeZone()); }

}  // namespace

StatusOr<std::unique_ptr<ClientCertificate>> ClientCertificate::Adopt(Clock& clock, asio::thread_pool& pool,
                                                                      Options options, RestConfig* config) {
  const Identity& identity = config->identity;
  if (config->tls.client_cert_pem.empty() || identity.exec || !identity.token.empty() || !identity.token_file.empty()) {
    return nullptr;
  }
  ASSIGN_OR_RETURN(auto given, http::ReadCertificate(config->tls.client_cert_pem));
  const std::string whom = NodeNames(options.node_name).common_name;
  if (given.common_name != whom || !absl::c_linear_search(given.organizations, "system:nodes")) return nullptr;

  bool keep = true;
  KeyPair pair{.cert_pem = config->tls.client_cert_pem, .key_pem = config->tls.client_key_pem};
  auto stored = LoadKeyPair(options.store_file, whom, clock.WallNow());
  if (stored) {
    ASSIGN_OR_RETURN(auto kept, http::ReadCertificate(stored->cert_pem));
    if (kept.not_before >= given.not_before) {
      pair = *std::move(stored);
      given = kept;
      keep = false;
    }
  }
  if (clock.WallNow() >= given.not_after) {
    Log(Severity::kError, "The node's client certificate has expired: give a kubeconfig with a new one",
        {{"expired", Date(given.not_after)}});
  }
  if (keep) RETURN_IF_ERROR(StoreKeyPair(options.store_file, whom, pair));
  std::unique_ptr<ClientCertificate> out(new ClientCertificate(clock, pool, std::move(options)));
  out->renew_at_ = RenewalTime(given);
  out->expires_ = given.not_after;
  // As the file has it: another look at that finds nothing new.
  config->tls.client_cert_pem = config->tls.client_key_pem = KeyPairText(whom, pair);
  config->identity.client_cert_file = config->identity.client_key_file = out->options_.store_file;
  return out;
}

Task<> ClientCertificate::Run(Client& client) {
  return RenewForEver(
      clock_, options_.retry, renew_at_, [this, &client] { return Renew(client); },
      "The node's client certificate is not renewed yet, will ask again");
}

Task<Status> ClientCertificate::Renew(Client& client) {
  http::CertRequest names = NodeNames(options_.node_name);
  std::string whom = names.common_name;
  CO_ASSIGN_OR_RETURN(KeyPair pair, co_await RequestKeyPair(client, Signer::kNodeClient, std::move(names)));
  CO_ASSIGN_OR_RETURN(auto info, http::ReadCertificate(pair.cert_pem));
  CO_RETURN_IF_ERROR(co_await Offload(pool_, [path = options_.store_file, whom = std::move(whom),
                                              pair = std::move(pair)] { return StoreKeyPair(path, whom, pair); }));
  renew_at_ = RenewalTime(info);
  expires_ = info.not_after;
  client.RefreshCredentials();
  Log(Severity::kInfo, "The node's client certificate was renewed", {{"expires", Date(info.not_after)}});
  co_return absl::OkStatus();
}

}  // namespace vck::kube
