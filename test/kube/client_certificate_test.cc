#include "kube/client_certificate.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <unistd.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kube/key_pair.h"
#include "support.h"
#include "support/fake_signer.h"

namespace vck::kube {
namespace {

using ::testing::HasSubstr;

class ClientCertificateTest : public ::testing::Test {
 protected:
  ClientCertificateTest() : pool_(1) {
    char name[] = "/tmp/client_certificate_test.XXXXXX";
    dir_ = ::mkdtemp(name);
    options_ = {.node_name = "vch1", .store_file = dir_ + "/current.pem"};
    ca_key_ = *http::GenerateKeyPem();
    ca_ = *http::SignCertificate(ca_key_, {.common_name = "ca", .is_ca = true, .now = Now()}, "", ca_key_);
  }
  ~ClientCertificateTest() override {
    pool_.join();
    loop_.RunReady();  // what the thread has left
    std::filesystem::remove_all(dir_);
  }
  absl::Time Now() { return loop_.clock().WallNow(); }
  // What a cluster's administrator hands out.
  KeyPair Issue(const std::string& group = "system:nodes", const std::string& name = "system:node:vch1") {
    KeyPair out{.key_pem = *http::GenerateKeyPem()};
    out.cert_pem = Sign(out.key_pem, {.common_name = name, .organizations = {group}});
    return out;
  }
  std::string Sign(const std::string& key_or_csr, http::CertRequest names) {
    names.lifetime = absl::Hours(100);
    names.now = Now();
    return *http::SignCertificate(key_or_csr, names, ca_, ca_key_);
  }
  static RestConfig ConfigWith(const KeyPair& pair) {
    RestConfig out;
    out.server = *http::ParseUrl("https://api:6443");
    out.tls.client_cert_pem = pair.cert_pem;
    out.tls.client_key_pem = pair.key_pem;
    return out;
  }
  StatusOr<std::unique_ptr<ClientCertificate>> Adopt(RestConfig* config) {
    return ClientCertificate::Adopt(loop_.clock(), pool_, options_, config);
  }
  std::string Kept() {
    std::stringstream text;
    text << std::ifstream(options_.store_file).rdbuf();
    return text.str();
  }
  // Runs what is ready, with moments of real time for the thread that does files.
  template <typename Condition>
  bool Until(Condition condition, int looks = 1000) {
    for (int i = 0; i < looks && !condition(); ++i) {
      ::usleep(10'000);
      loop_.RunReady();
    }
    return condition();
  }

  testing::Loop loop_;
  asio::thread_pool pool_;
  std::string dir_, ca_, ca_key_;
  ClientCertificate::Options options_;
};

TEST_F(ClientCertificateTest, OnlyANodesOwnIsAdopted) {
  RestConfig config = ConfigWith(Issue("system:nodes", "system:node:other"));
  EXPECT_EQ(*Adopt(&config), nullptr);
  config = ConfigWith(Issue("system:masters"));
  EXPECT_EQ(*Adopt(&config), nullptr);
  config = ConfigWith(Issue());
  config.identity.token = "t";
  EXPECT_EQ(*Adopt(&config), nullptr);
  config = RestConfig();
  EXPECT_EQ(*Adopt(&config), nullptr);
  EXPECT_FALSE(std::filesystem::exists(options_.store_file));
}

TEST_F(ClientCertificateTest, TheNewerOfFileAndConfigurationIsUsed) {
  const KeyPair first = Issue();
  RestConfig config = ConfigWith(first);
  ASSERT_NE(*Adopt(&config), nullptr);
  EXPECT_EQ(config.identity.client_cert_file, options_.store_file);
  EXPECT_EQ(config.tls.client_cert_pem, Kept());
  EXPECT_THAT(Kept(), HasSubstr(first.cert_pem + first.key_pem));
  EXPECT_EQ(std::filesystem::status(options_.store_file).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  // A new kubeconfig.
  loop_.Advance(absl::Hours(1));
  const KeyPair second = Issue();
  config = ConfigWith(second);
  ASSERT_NE(*Adopt(&config), nullptr);
  EXPECT_THAT(Kept(), HasSubstr(second.cert_pem));
  // The old one again, at the next start.
  config = ConfigWith(first);
  ASSERT_NE(*Adopt(&config), nullptr);
  EXPECT_THAT(Kept(), HasSubstr(second.cert_pem));
  EXPECT_EQ(config.tls.client_key_pem, Kept());
}

TEST_F(ClientCertificateTest, AFileOfNoUseIsReplaced) {
  for (const char* text :
       {"", "garbage", "# for system:node:vch1\n", "# for system:node:vch1\n-----BEGIN PRIVATE KEY-----\n"}) {
    std::ofstream(options_.store_file) << text;
    const KeyPair pair = Issue();
    RestConfig config = ConfigWith(pair);
    ASSERT_NE(*Adopt(&config), nullptr);
    EXPECT_THAT(Kept(), HasSubstr(pair.cert_pem)) << text;
  }
}

TEST_F(ClientCertificateTest, ADirectoryThatIsNotThereIsNamed) {
  options_.store_file = dir_ + "/none/current.pem";
  RestConfig config = ConfigWith(Issue());
  EXPECT_THAT(std::string(Adopt(&config).status().message()), HasSubstr(options_.store_file));
}

TEST_F(ClientCertificateTest, RenewedInTimeAndUsedByTheClient) {
  testing::FakeSigner signer(loop_.clock(), ca_, ca_key_,
                             {.signer = "kubernetes.io/kube-apiserver-client-kubelet",
                              .usages = R"(["digital signature","client auth"])",
                              .names = {.common_name = "system:node:vch1", .organizations = {"system:nodes"}}});
  auto http = std::make_shared<testing::FakeHttp>(loop_.clock(), std::ref(signer));
  RestConfig config = ConfigWith(Issue());
  auto certificate = *Adopt(&config);
  ASSERT_NE(certificate, nullptr);
  // Files are read by a thread, which fake time does not wait for: seen by themselves, below.
  auto credentials = std::make_shared<FixedCredentials>();
  Client client(loop_.clock(), http, credentials, config);
  asio::cancellation_signal stop;
  bool ended = false, answered = false;
  asio::co_spawn(loop_.context(), certificate->Run(client),
                 asio::bind_cancellation_slot(stop.slot(), [&](std::exception_ptr) { ended = true; }));
  loop_.Advance(absl::Hours(60));
  EXPECT_EQ(signer.asked, 0);
  loop_.Advance(absl::Hours(30));
  ASSERT_GE(signer.asked, 1) << "between 70 and 90 percent of its life";
  // Nobody approves it in time: asked for again, not too often.
  const int before = signer.asked;
  loop_.Advance(absl::Hours(1));
  EXPECT_GE(signer.asked, before + 2);
  EXPECT_LE(signer.asked, before + 4);
  signer.approve = true;
  loop_.Advance(absl::Minutes(30));
  ASSERT_TRUE(Until([&] { return credentials->refreshed == 1; }));
  EXPECT_THAT(Kept(), HasSubstr(signer.signed_cert));
  EXPECT_EQ(std::filesystem::status(options_.store_file).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  stop.emit(asio::cancellation_type::terminal);
  EXPECT_TRUE(Until([&] { return ended; }));

  // A client of that configuration takes it up at its next call.
  Client other(loop_.clock(), http, CredentialSource::Create(loop_.clock(), pool_, config), config);
  const int changes = http->tls_changes();
  other.RefreshCredentials();
  asio::co_spawn(loop_.context(), other.Get({kNodes, "", "vch1"}),
                 [&](std::exception_ptr, const StatusOr<std::string>&) { answered = true; });
  EXPECT_TRUE(Until([&] { return answered; }));
  EXPECT_EQ(http->tls_changes(), changes + 1);
  loop_.Run(client.Close());
  loop_.Run(other.Close());
}

}  // namespace
}  // namespace vck::kube
