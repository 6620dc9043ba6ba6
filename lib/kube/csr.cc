#include "kube/csr.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "json/json.h"

namespace vck::kube {
namespace {

// The certificate, "" while it is not there yet, or why there will be none.
StatusOr<std::string> Outcome(std::string_view text) {
  ASSIGN_OR_RETURN(json::Value csr, json::Parse(text));
  const json::Value* status = json::Get(csr, "status");
  for (const json::Value& condition : json::Items(status, "conditions")) {
    std::string_view type = json::String(condition, "type");
    if (json::String(condition, "status") == "False") continue;
    std::string why = absl::StrCat("certificate request ", json::String(json::Get(csr, "metadata"), "name"), ": ", type,
                                   ": ", json::String(condition, "reason"), ": ", json::String(condition, "message"));
    if (type == "Denied") return absl::PermissionDeniedError(why);
    if (type == "Failed") return absl::FailedPreconditionError(why);
  }
  std::string pem;
  std::string_view encoded = json::String(status, "certificate");
  if (!absl::Base64Unescape(encoded, &pem)) return absl::InternalError("status.certificate: expected base64");
  return pem;
}

}  // namespace

Task<StatusOr<std::string>> RequestCertificate(Client& client, CertificateRequest request) {
  Clock& clock = client.clock();
  Instant deadline = clock.Now() + request.timeout;
  json::Array usages;
  for (const std::string& usage : request.usages) usages.emplace_back(usage);
  json::Object body{{"apiVersion", "certificates.k8s.io/v1"},
                    {"kind", "CertificateSigningRequest"},
                    {"metadata", json::Object{{"generateName", request.name_prefix}}},
                    {"spec", json::Object{{"request", absl::Base64Escape(request.csr_pem)},
                                          {"signerName", request.signer_name},
                                          {"usages", std::move(usages)}}}};
  CO_ASSIGN_OR_RETURN(std::string created, co_await client.Create({kCertificateSigningRequests, "", ""},
                                                                  json::Serialize(json::Value(std::move(body)))));
  CO_ASSIGN_OR_RETURN(ObjectPtr object, Object::Parse(created));
  ObjectRef ref{kCertificateSigningRequests, "", std::string(object->name())};
  absl::Duration wait = request.poll;
  while (true) {
    if (clock.Now() + wait >= deadline) {
      co_return absl::DeadlineExceededError(absl::StrCat("certificate request ", ref.name,
                                                         ": not approved and signed within ",
                                                         absl::FormatDuration(request.timeout)));
    }
    co_await clock.Sleep(wait);
    wait = std::min(wait * 1.5, absl::Duration(absl::Minutes(1)));
    auto current = co_await client.Get(ref);
    if (!current.ok()) {
      if (IsRetriable(current.status())) continue;
      co_return current.status();
    }
    CO_ASSIGN_OR_RETURN(std::string pem, Outcome(*current));
    if (!pem.empty()) co_return pem;
  }
}

}  // namespace vck::kube
