// The certificate that a node shows to the API server, renewed in time by CertificateSigningRequest (signer
// kubernetes.io/kube-apiserver-client-kubelet) and kept in a file, as the kubelet's kubelet-client-current.pem.
#pragma once

#include <memory>
#include <string>

#include <boost/asio/thread_pool.hpp>

#include "async/clock.h"
#include "async/task.h"
#include "base/status.h"
#include "kube/client.h"
#include "kube/kubeconfig.h"

namespace vck::kube {

class ClientCertificate {
 public:
  struct Options {
    std::string node_name;
    std::string store_file;                    // mode 0600
    absl::Duration retry = absl::Seconds(10);  // after a request that failed; grows to five minutes
  };
  // Writes what is newer of the file and `config`'s certificate to the file, and points `config` at it: clients made of
  // it look there again and again. Null, and `config` as it was, when its user is not known by a certificate of this
  // node: tokens, plugins and others' certificates are renewed elsewhere. Blocks; clock and pool outlive what is
  // returned.
  static StatusOr<std::unique_ptr<ClientCertificate>> Adopt(Clock& clock, asio::thread_pool& pool, Options options,
                                                            RestConfig* config);
  // Renews until cancelled. The client must be of the configuration that was adopted.
  Task<> Run(Client& client);
  [[nodiscard]] absl::Time expires() const { return expires_; }

 private:
  ClientCertificate(Clock& clock, asio::thread_pool& pool, Options options)
      : clock_(clock), pool_(pool), options_(std::move(options)) {}
  Task<Status> Renew(Client& client);

  Clock& clock_;
  asio::thread_pool& pool_;
  Options options_;
  absl::Time renew_at_, expires_;
};

}  // namespace vck::kube
