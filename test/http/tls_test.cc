#include "http/tls.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "gtest/gtest.h"
#include "http/net.h"

namespace vck::http {
namespace {

using testing::Net;
using testing::Pki;

std::string Thumbprint(const std::string& pem, const EVP_MD* md) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509* cert = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  X509_digest(cert, md, digest, &size);
  X509_free(cert);
  BIO_free(bio);
  return absl::BytesToHexString(std::string_view(reinterpret_cast<char*>(digest), size));
}

std::string WithColons(const std::string& hex) {
  std::string out;
  for (size_t i = 0; i < hex.size(); i += 2) out += (i > 0 ? ":" : "") + hex.substr(i, 2);
  return absl::AsciiStrToUpper(out);
}

Task<Status> Echo(Exchange& exchange) {
  auto peer = exchange.stream().Peer();
  Headers headers{{"X-Key", exchange.stream().PeerKeyHash()}, {"X-Name", peer.common_name}};
  for (const auto& o : peer.organizations) headers.Add("X-Org", o);
  for (const auto& u : peer.uris) headers.Add("X-Uri", u);
  co_return co_await exchange.Respond({200, headers, exchange.request().body});
}

class TlsTest : public ::testing::Test {
 protected:
  void Serve(bool require_client = false) { server_ = &net_.Serve({.tls = pki_.Server(require_client)}, Echo); }
  StatusOr<Response> Get(std::shared_ptr<TlsContext> tls, std::string host = "127.0.0.1") {
    auto client = net_.NewClient({.origin = {.scheme = "https", .host = host, .port = server_->port()}, .tls = tls});
    return net_.Run(client->Do({.method = "POST", .body = "hi"}));
  }

  const Pki& pki_ = Pki::Get();
  Net net_;
  Server* server_ = nullptr;
};

TEST_F(TlsTest, IpAddressInCertificate) {
  Serve();
  auto response = Get(pki_.Client());
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->body, "hi");
}

TEST_F(TlsTest, NameInsteadOfHost) {
  Serve();
  EXPECT_TRUE(Get(pki_.Client({.server_name = "server.test"})).ok());
}

TEST_F(TlsTest, WrongNameIsNamed) {
  Serve();
  auto status = Get(pki_.Client({.server_name = "other.test"})).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find("other.test"), std::string::npos) << status;
  EXPECT_EQ(Get(pki_.Client({.server_name = "127.0.0.2"})).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Get(pki_.Client(), "127.0.0.2").status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(TlsTest, WrongCa) {
  Serve();
  auto status = Get(pki_.Client({.ca_pem = Pki::Make().ca_cert})).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(status.GetPayload(kMaybeSent).has_value());
}

TEST_F(TlsTest, SystemTrustStoreDoesNotKnowUs) {
  Serve();
  auto tls = TlsContext::Client({}).value();
  EXPECT_EQ(Get(tls).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(TlsTest, Thumbprints) {
  Serve();
  std::string sha1 = Thumbprint(pki_.server_cert, EVP_sha1());
  std::string sha256 = Thumbprint(pki_.server_cert, EVP_sha256());
  for (const std::string& good : {sha1, sha256, WithColons(sha1), WithColons(sha256)}) {
    EXPECT_TRUE(Get(TlsContext::Client({.thumbprint = good}).value()).ok()) << good;
  }
  sha256[3] = sha256[3] == '0' ? '1' : '0';
  auto status = Get(TlsContext::Client({.thumbprint = sha256}).value()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(TlsContext::Client({.thumbprint = "abc"}).ok());
  EXPECT_FALSE(TlsContext::Client({.thumbprint = std::string(40, 'x')}).ok());
}

TEST_F(TlsTest, Insecure) {
  Serve();
  EXPECT_TRUE(Get(TlsContext::Client({.insecure = true}).value()).ok());
}

TEST_F(TlsTest, ClientCertificate) {
  Serve(/*require_client=*/true);
  auto response = Get(pki_.Client({.client_cert_pem = pki_.client_cert, .client_key_pem = pki_.client_key}));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->headers.Get("X-Key"), PublicKeyHash(pki_.client_key).value());
  EXPECT_EQ(response->headers.Get("X-Name"), "client");
  EXPECT_EQ(response->headers.Get("X-Org"), "one");
  EXPECT_EQ(response->headers.Get("X-Uri"), "vch:pod/1,2");
  EXPECT_FALSE(Get(pki_.Client()).ok());
  Pki other = Pki::Make();
  auto status = Get(pki_.Client({.client_cert_pem = other.client_cert, .client_key_pem = other.client_key})).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status) || absl::IsUnavailable(status)) << status;
}

TEST_F(TlsTest, PlainServerIsNoTls) {
  server_ = &net_.Serve({}, Echo);
  EXPECT_EQ(Get(pki_.Client()).status().code(), absl::StatusCode::kUnavailable);
}

TEST(TlsContext, SaysWhatIsWrong) {
  const Pki& pki = Pki::Get();
  auto message = [](const auto& result) { return std::string(result.status().message()); };
  EXPECT_NE(message(TlsContext::Client({.ca_pem = "nonsense"})).find("CA"), std::string::npos);
  EXPECT_NE(message(TlsContext::Client({.client_cert_pem = "x", .client_key_pem = pki.client_key})).find("certificate"),
            std::string::npos);
  EXPECT_NE(message(TlsContext::Client({.client_cert_pem = pki.client_cert, .client_key_pem = "x"})).find("key"),
            std::string::npos);
  EXPECT_NE(message(TlsContext::Client({.client_cert_pem = pki.client_cert, .client_key_pem = pki.server_key}))
                .find("does not belong"),
            std::string::npos);
  EXPECT_FALSE(
      TlsContext::Server({.cert_pem = pki.server_cert, .key_pem = pki.server_key, .require_client_cert = true}).ok());
  std::string cut = pki.ca_cert + pki.server_cert.substr(0, pki.server_cert.size() / 2);
  EXPECT_FALSE(TlsContext::Client({.ca_pem = cut}).ok());
}

TEST(Certificates, HashIsTheSameForKeyRequestAndCertificate) {
  const Pki& pki = Pki::Get();
  std::string hash = PublicKeyHash(pki.client_key).value();
  EXPECT_EQ(hash.size(), 64u);
  EXPECT_EQ(hash, PublicKeyHash(pki.client_cert).value());
  EXPECT_EQ(hash, PublicKeyHash(CreateCsr(pki.client_key, {.common_name = "x"}).value()).value());
  EXPECT_NE(hash, PublicKeyHash(pki.server_key).value());
  EXPECT_FALSE(PublicKeyHash("x").ok());
}

TEST(Certificates, IssuersKeyMustMatch) {
  const Pki& pki = Pki::Get();
  EXPECT_FALSE(
      SignCertificate(pki.client_key, {.common_name = "x", .now = absl::Now()}, pki.ca_cert, pki.server_key).ok());
  EXPECT_FALSE(SignCertificate(pki.client_key, {.ip_addresses = {"nonsense"}}, pki.ca_cert, pki.ca_key).ok());
}

}  // namespace
}  // namespace vck::http
