// A certificate and its key: kept in a file over restarts, and asked of the cluster's signers.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "async/clock.h"
#include "async/task.h"
#include "base/status.h"
#include "http/tls.h"
#include "kube/client.h"

namespace vck::kube {

struct KeyPair {
  std::string cert_pem, key_pem;
};

// The pair as it is stored: PEM, after a line that tells whom it is for.
std::string KeyPairText(const std::string& whom, const KeyPair& pair);
// What `path` holds, if it was stored for `whom`, fits together and is valid at `now`.
std::optional<KeyPair> LoadKeyPair(const std::string& path, const std::string& whom, absl::Time now);
// Mode 0600, and never half of it. Blocks. Unavailable when it cannot be written.
Status StoreKeyPair(const std::string& path, const std::string& whom, const KeyPair& pair);

// Between 70 and 90 percent of the certificate's life, as the kubelet's (client-go's certificate manager).
absl::Time RenewalTime(const http::CertificateInfo& certificate);

// The names of a node's certificates: CN system:node:<name>, O system:nodes.
http::CertRequest NodeNames(const std::string& node_name);

// A new key, and the certificate that the signer gives it, as RequestCertificate().
enum class Signer { kKubeletServing, kNodeClient };
Task<StatusOr<KeyPair>> RequestKeyPair(Client& client, Signer signer, http::CertRequest names);

// Calls `renew` when the time is come, which it sets anew; after a failure it complains, and calls again: after `retry`
// at first, at last every five minutes. Until cancelled; all references outlive it.
Task<> RenewForEver(Clock& clock, absl::Duration retry, const absl::Time& renew_at, std::function<Task<Status>()> renew,
                    std::string complaint);

}  // namespace vck::kube
