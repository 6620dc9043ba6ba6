#include "node/inputs.h"

#include <cstdlib>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "http/tls.h"
#include "node/host.h"
#include "node/images.h"

namespace vck::node {
namespace {

StatusOr<kube::RestConfig> LoadApiServer(const kube::KubeconfigOptions& options) {
  ASSIGN_OR_RETURN(kube::RestConfig config, kube::LoadKubeconfig(options));
  if (config.server.scheme == "https") {
    Status usable = http::TlsContext::Client(config.tls).status();
    if (!usable.ok()) return Annotate(usable, options.path.empty() ? "kubeconfig" : options.path);
  }
  return config;
}

Status CheckCertificates(const std::string& file) {
  ASSIGN_OR_RETURN(std::string pem, ReadFile(file));
  return Annotate(http::CertificatePool::Parse(pem).status(), file);
}

Status CheckServing(const KubeletApiOptions& api) {
  ASSIGN_OR_RETURN(std::string cert, ReadFile(api.cert_file));
  ASSIGN_OR_RETURN(std::string key, ReadFile(api.key_file));
  return http::TlsContext::Server({.cert_pem = std::move(cert), .key_pem = std::move(key)}).status();
}

}  // namespace

StatusOr<vsphere::Credentials> VCenterCredentials(const VCenterOptions& options) {
  if (!options.password_file.empty()) {
    ASSIGN_OR_RETURN(std::string password, ReadFile(options.password_file));
    absl::StripTrailingAsciiWhitespace(&password);
    if (password.empty()) return absl::FailedPreconditionError(absl::StrCat(options.password_file, " is empty"));
    return vsphere::Credentials{options.user, std::move(password)};
  }
  const char* password = std::getenv("VCENTER_PASSWORD");
  if (password == nullptr || *password == '\0') {
    return absl::FailedPreconditionError("no password for vCenter: give this flag, or set VCENTER_PASSWORD");
  }
  return vsphere::Credentials{options.user, password};
}

StatusOr<Inputs> ReadInputs(const Options& o) {
  Inputs inputs;
  std::vector<std::string> problems;
  auto check = [&problems](std::string_view flag, const Status& status) {
    if (!status.ok()) problems.push_back(absl::StrCat(flag, ": ", status.message()));
    return status.ok();
  };
  auto kube = LoadApiServer({.path = o.kube.kubeconfig, .context = o.kube.context});
  if (check("--kubeconfig", kube.status())) inputs.kube = *std::move(kube);
  if (o.election.enabled && !o.election.kubeconfig.empty()) {
    auto election = LoadApiServer({.path = o.election.kubeconfig, .context = "", .in_cluster = false});
    if (check("--leader-elect-kubeconfig", election.status())) inputs.election = *std::move(election);
  }
  check("--vcenter-password-file", VCenterCredentials(o.vcenter).status());
  if (!o.vcenter.ca_file.empty() && check("--vcenter-ca", CheckCertificates(o.vcenter.ca_file))) {
    inputs.vcenter_ca_pem = ReadFile(o.vcenter.ca_file).value_or("");
  }
  if (!o.api.cert_file.empty() && !o.api.key_file.empty()) {
    check("--tls-cert-file, --tls-private-key-file", CheckServing(o.api));
  }
  if (!o.api.client_ca_file.empty()) check("--client-ca-file", CheckCertificates(o.api.client_ca_file));
  auto registries = ReadRegistries(o.images.registries);
  if (check("--registries", registries.status())) inputs.registries = *std::move(registries);
  if (!problems.empty()) return absl::InvalidArgumentError(absl::StrJoin(problems, "\n"));
  return inputs;
}

}  // namespace vck::node
