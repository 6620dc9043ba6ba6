#include "kubeletapi/tls_source.h"

#include <filesystem>
#include <fstream>

#include <unistd.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kube/client.h"
#include "kube/kubeconfig.h"
#include "support/fake_signer.h"
#include "support/loop.h"

namespace vck::kubeletapi {
namespace {

using ::testing::HasSubstr;

struct Issued {
  std::string cert, key;
};
Issued Certificate(const std::string& name, absl::Time now) {
  Issued out;
  out.key = *http::GenerateKeyPem();
  out.cert = *http::SignCertificate(out.key, {.common_name = name, .is_ca = true, .now = now}, "", out.key);
  return out;
}

class TlsSourceTest : public ::testing::Test {
 protected:
  TlsSourceTest() : pool_(1) {
    char name[] = "/tmp/tls_source_test.XXXXXX";
    dir_ = ::mkdtemp(name);
    options_.node_name = "vch1";
    options_.dns_names = {"vch1"};
    options_.ip_addresses = {"10.1.2.3"};
  }
  ~TlsSourceTest() override {
    pool_.join();
    std::filesystem::remove_all(dir_);
  }
  std::string Write(const std::string& name, const std::string& text) {
    std::ofstream(dir_ + "/" + name) << text;
    return dir_ + "/" + name;
  }
  StatusOr<std::unique_ptr<TlsSource>> Create(kube::Client* client = nullptr) {
    return TlsSource::Create(loop_.clock(), pool_, client, options_);
  }

  testing::Loop loop_;
  asio::thread_pool pool_;
  std::string dir_;
  TlsSource::Options options_;
};

TEST_F(TlsSourceTest, FilesThatCannotBeUsedAreNamed) {
  options_.cert_file = dir_ + "/none.crt";
  options_.key_file = dir_ + "/none.key";
  EXPECT_THAT(Create().status().message(), HasSubstr("cannot read " + dir_ + "/none.crt"));
  Issued one = Certificate("one", loop_.clock().WallNow()), other = Certificate("other", loop_.clock().WallNow());
  options_.cert_file = Write("a.crt", one.cert);
  options_.key_file = Write("a.key", other.key);
  EXPECT_THAT(Create().status().message(), HasSubstr("a.crt"));
  Write("a.key", one.key);
  EXPECT_TRUE(Create().ok());
  options_.client_ca_file = Write("ca.crt", "garbage");
  EXPECT_THAT(Create().status().message(), HasSubstr("ca.crt"));
}

TEST_F(TlsSourceTest, SelfSignedWithoutFiles) {
  auto source = Create();
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_NE((*source)->state().tls, nullptr);
  EXPECT_EQ((*source)->state().expires, http::ReadCertificate((*source)->state().cert_pem)->not_after);
  EXPECT_EQ((*source)->state().client_ca, nullptr);
}

TEST_F(TlsSourceTest, RealFilesAreReadAgain) {
  // Files are read by a thread: real time.
  asio::io_context context(1);
  RealClock clock(context.get_executor());
  Issued one = Certificate("one", clock.WallNow()), two = Certificate("two", clock.WallNow());
  options_.cert_file = Write("s.crt", one.cert);
  options_.key_file = Write("s.key", one.key);
  options_.client_ca_file = Write("ca.crt", one.cert);
  options_.look = absl::Milliseconds(10);
  auto source = *TlsSource::Create(clock, pool_, nullptr, options_);
  std::vector<std::string> seen;
  source->OnChange([&](const TlsSource::State& state) { seen.push_back(state.cert_pem); });
  asio::cancellation_signal stop;
  bool done = false;
  asio::co_spawn(context, source->Run(context.get_executor()),
                 asio::bind_cancellation_slot(stop.slot(), [&](std::exception_ptr, Status) { done = true; }));
  auto until = [&](auto condition) {
    for (int i = 0; i < 2000 && !condition(); ++i) context.run_one_for(std::chrono::milliseconds(10));
    return condition();
  };
  auto before = source->state().client_ca;
  Write("s.crt", two.cert);  // and the key not yet: the old ones stay
  context.run_for(std::chrono::milliseconds(100));
  EXPECT_TRUE(seen.empty());
  Write("s.key", two.key);
  EXPECT_TRUE(until([&] { return seen.size() == 1 && seen[0] == two.cert; }));
  Write("ca.crt", two.cert);
  EXPECT_TRUE(until([&] { return seen.size() == 2; }));
  EXPECT_NE(source->state().client_ca, before);
  asio::post(context, [&] { stop.emit(asio::cancellation_type::terminal); });
  EXPECT_TRUE(until([&] { return done; }));
  pool_.join();  // its thread may still be letting go of the context
}

// An API server that signs what it is asked for.
TEST_F(TlsSourceTest, ByRequestAndRenewedInTime) {
  Issued ca = Certificate("ca", loop_.clock().WallNow());
  testing::FakeSigner signer(loop_.clock(), ca.cert, ca.key,
                             {.signer = "kubernetes.io/kubelet-serving",
                              .usages = R"(["digital signature","server auth"])",
                              .names = {.common_name = "system:node:vch1"}});
  auto http = std::make_shared<testing::FakeHttp>(loop_.clock(), std::ref(signer));
  kube::RestConfig config;
  config.server = *http::ParseUrl("https://api:6443");
  kube::Client client(loop_.clock(), http, kube::CredentialSource::Create(loop_.clock(), pool_, config), config);
  options_.store_file = dir_ + "/serving.pem";
  auto source = *Create(&client);
  std::vector<std::string> seen;
  source->OnChange([&](const TlsSource::State& state) { seen.push_back(state.cert_pem); });
  asio::cancellation_signal stop;
  asio::co_spawn(loop_.context(), source->Run(loop_.executor()),
                 asio::bind_cancellation_slot(stop.slot(), [](std::exception_ptr, Status) {}));
  loop_.Advance(absl::Minutes(10));
  EXPECT_EQ(signer.asked, 1);
  EXPECT_TRUE(seen.empty()) << "self-signed, as long as nobody approves";
  signer.approve = true;
  loop_.Advance(absl::Minutes(2));
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0], signer.signed_cert);
  // The thread that keeps it needs a moment of real time.
  for (int i = 0; i < 1000 && !std::filesystem::exists(options_.store_file); ++i) {
    ::usleep(10'000);
    loop_.RunReady();
  }
  EXPECT_EQ(std::filesystem::status(options_.store_file).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  // The next run takes it up, one of another node does not.
  EXPECT_EQ((*Create())->state().cert_pem, signer.signed_cert);
  options_.node_name = "vch2";
  EXPECT_NE((*Create())->state().cert_pem, signer.signed_cert);
  options_.node_name = "vch1";
  loop_.Advance(absl::Hours(60));
  EXPECT_EQ(signer.asked, 1);
  loop_.Advance(absl::Hours(35));
  EXPECT_EQ(signer.asked, 2) << "between 70 and 90 percent of its life";
  EXPECT_EQ(seen.size(), 2u);
  stop.emit(asio::cancellation_type::terminal);
  loop_.RunReady();
  loop_.Run(client.Close());
  // What has expired is of no use.
  loop_.Advance(absl::Hours(1000));
  EXPECT_NE((*Create())->state().cert_pem, signer.signed_cert);
}

}  // namespace
}  // namespace vck::kubeletapi
