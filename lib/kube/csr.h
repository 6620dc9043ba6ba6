// Certificates by CertificateSigningRequest (certificates.k8s.io/v1).
#pragma once

#include <string>
#include <vector>

#include "async/clock.h"
#include "async/task.h"
#include "kube/client.h"

namespace vck::kube {

struct CertificateRequest {
  std::string csr_pem;               // PKCS#10 (http::CreateCsr)
  std::string signer_name;           // kubernetes.io/kubelet-serving, kubernetes.io/kube-apiserver-client-kubelet
  std::vector<std::string> usages;   // "digital signature", "server auth" ...
  std::string name_prefix = "csr-";  // generateName
  absl::Duration poll = absl::Milliseconds(250);  // grows to a minute while nobody approves
  absl::Duration timeout = absl::Minutes(15);
};

// Creates the request, waits until it is approved and signed, and returns the certificate chain in PEM.
// PermissionDenied when it was denied, FailedPrecondition when the signer failed, DeadlineExceeded when nobody decided.
Task<StatusOr<std::string>> RequestCertificate(Client& client, CertificateRequest request);

}  // namespace vck::kube
