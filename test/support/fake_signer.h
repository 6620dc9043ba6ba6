// An API server's certificate signing requests, on fake time: it signs what it is asked for, and answers once approved.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "http/tls.h"
#include "json/json.h"
#include "support/fake_http.h"

namespace vck::testing {

class FakeSigner {
 public:
  // `signer` and `usages` (JSON) are what every request has to name; `names` go into the certificate, which lives 100
  // hours from when it is asked for.
  struct Expected {
    std::string signer, usages;
    http::CertRequest names;
  };
  FakeSigner(const Clock& clock, std::string ca, std::string ca_key, Expected expected)
      : clock_(clock), ca_(std::move(ca)), ca_key_(std::move(ca_key)), expected_(std::move(expected)) {}

  // For FakeHttp. *this outlives the client.
  FakeReply operator()(const http::Request& request) {
    if (request.method == "POST") return Signed(request.body);
    const std::string certificate =
        approve ? absl::StrCat(R"("certificate":")", absl::Base64Escape(signed_cert), "\"") : "";
    return {.body = absl::StrCat(R"({"metadata":{"name":"csr-1"},"status":{)", certificate, "}}")};
  }

  bool approve = false;
  int asked = 0;            // requests so far
  std::string signed_cert;  // PEM, the last one

 private:
  FakeReply Signed(const std::string& body) {
    ++asked;
    auto request = json::Parse(body);
    const json::Value* spec = json::Get(*request, "spec");
    EXPECT_EQ(json::String(spec, "signerName"), expected_.signer);
    EXPECT_EQ(json::Serialize(*json::Get(spec, "usages")), expected_.usages);
    std::string csr;
    EXPECT_TRUE(absl::Base64Unescape(json::String(spec, "request"), &csr));
    http::CertRequest names = expected_.names;
    names.lifetime = absl::Hours(100);
    names.now = clock_.WallNow();
    signed_cert = *http::SignCertificate(csr, names, ca_, ca_key_);
    return {.status = 201, .body = R"({"metadata":{"name":"csr-1"}})"};
  }

  const Clock& clock_;
  const std::string ca_, ca_key_;
  const Expected expected_;
};

}  // namespace vck::testing
