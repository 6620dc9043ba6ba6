#include "kube/credentials.h"

#include <map>

#include <boost/asio/co_spawn.hpp>

#include "gmock/gmock.h"
#include "support/loop.h"

namespace vck::kube {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

using Got = StatusOr<std::shared_ptr<const Credentials>>;

// Fake time, but a real pool: the loop runs until the pool has answered.
struct CredentialsFixture {
  Got Get(CredentialSource& source) {
    std::optional<Got> got;
    context.restart();
    asio::co_spawn(context, source.Get(), [&](std::exception_ptr, Got g) { got = std::move(g); });
    context.run();
    return *got;
  }
  static std::string Authorization(const Got& got) {
    if (!got.ok()) return got.status().ToString();
    return std::string((*got)->headers.Get("Authorization").value_or(""));
  }
  System FakeFiles() {
    return {.read_file = [this](const std::string& path) -> StatusOr<std::string> {
              auto it = files.find(path);
              if (it == files.end()) return absl::NotFoundError("No such file or directory");
              return it->second;
            },
            .getenv = [](const std::string&) { return std::nullopt; }};
  }
  std::map<std::string, std::string> files;
  asio::io_context context;
  FakeClock clock;
  asio::thread_pool pool{1};
};

ExecConfig Shell(const std::string& script) {
  return {.api_version = "client.authentication.k8s.io/v1",
          .command = "sh",
          .args = {"-c", script},
          .interactive_mode = "Never"};
}
const std::string kHead = R"({"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":)";

TEST(Credentials, StaticOnes) {
  CredentialsFixture f;
  RestConfig config;
  config.identity.username = "me";
  config.identity.password = "pw";
  config.identity.as = "bob";
  config.identity.as_user_extra = {{"acme.com/x", "1"}};
  auto source = CredentialSource::Create(f.clock, f.pool, config, f.FakeFiles());
  auto got = f.Get(*source);
  EXPECT_EQ(f.Authorization(got), "Basic bWU6cHc=");
  EXPECT_EQ((*got)->headers.Get("Impersonate-User"), "bob");
  EXPECT_EQ((*got)->headers.Get("Impersonate-Extra-acme.com%2Fx"), "1");
  source->Invalidate(*got);
  EXPECT_EQ(*f.Get(*source), *got);
}

TEST(Credentials, TokenFilesAreReadAgainAfterAMinute) {
  CredentialsFixture f;
  RestConfig config;
  config.identity.token = "one";
  config.identity.token_file = "/tok";
  f.files["/tok"] = "two\n";
  auto source = CredentialSource::Create(f.clock, f.pool, config, f.FakeFiles());
  EXPECT_EQ(f.Authorization(f.Get(*source)), "Bearer one");
  f.clock.Advance(absl::Seconds(61));
  EXPECT_EQ(f.Authorization(f.Get(*source)), "Bearer two");
  f.files.clear();
  f.clock.Advance(absl::Seconds(61));
  EXPECT_EQ(f.Authorization(f.Get(*source)), "Bearer two");
  f.files["/tok"] = "three";
  auto used = f.Get(*source);
  source->Invalidate(*used);
  EXPECT_EQ(f.Authorization(f.Get(*source)), "Bearer three");
}

TEST(Credentials, RenewedCertificatesGetAGeneration) {
  CredentialsFixture f;
  RestConfig config;
  config.tls.client_cert_pem = "c1";
  config.tls.client_key_pem = "k1";
  config.identity.client_cert_file = "/c";
  config.identity.client_key_file = "/k";
  f.files = {{"/c", "c1"}, {"/k", "k1"}};
  auto source = CredentialSource::Create(f.clock, f.pool, config, f.FakeFiles());
  f.clock.Advance(absl::Minutes(2));
  EXPECT_EQ((*f.Get(*source))->certificate_generation, 0);
  f.files = {{"/c", "c2"}, {"/k", "k2"}};
  f.clock.Advance(absl::Minutes(2));
  auto got = f.Get(*source);
  EXPECT_EQ((*got)->certificate_generation, 1);
  EXPECT_EQ((*got)->client_cert_pem, "c2");
}

TEST(Credentials, PluginsRunWhenWhatTheyGaveExpires) {
  CredentialsFixture f;
  RestConfig config;
  std::string counter = ::testing::TempDir() + "/plugin-runs";
  std::remove(counter.c_str());
  config.identity.exec = Shell(
      "echo x >> " + counter + "; n=$(wc -l < " + counter +
      "); printf '%s{\"token\":\"t%s\",\"expirationTimestamp\":" + "\"2026-01-01T00:10:00Z\"}}' '" + kHead + "' $n");
  auto source = CredentialSource::Create(f.clock, f.pool, config, f.FakeFiles());
  auto first = f.Get(*source);
  EXPECT_EQ(f.Authorization(first), "Bearer t1");
  f.clock.Advance(absl::Minutes(9));
  EXPECT_EQ(f.Authorization(f.Get(*source)), "Bearer t1");
  source->Invalidate(*first);
  EXPECT_EQ(f.Authorization(f.Get(*source)), "Bearer t2");
  source->Invalidate(*first);  // that one is long gone
  EXPECT_EQ(f.Authorization(f.Get(*source)), "Bearer t2");
  f.clock.Advance(absl::Minutes(2));
  EXPECT_EQ(f.Authorization(f.Get(*source)), "Bearer t3");
  std::remove(counter.c_str());
}

TEST(Credentials, ManyCallersRunOnePlugin) {
  CredentialsFixture f;
  RestConfig config;
  std::string counter = ::testing::TempDir() + "/plugin-runs-2";
  std::remove(counter.c_str());
  config.identity.exec = Shell("echo x >> " + counter + "; n=$(wc -l < " + counter +
                               "); printf '%s{\"token\":\"t%s\"}}' '" + kHead + "' $n");
  auto source = CredentialSource::Create(f.clock, f.pool, config, f.FakeFiles());
  std::vector<std::string> tokens;
  for (int i = 0; i < 5; ++i) {
    asio::co_spawn(f.context, source->Get(), [&](std::exception_ptr, Got g) { tokens.push_back(f.Authorization(g)); });
  }
  f.context.run();
  EXPECT_THAT(tokens, ::testing::ElementsAre("Bearer t1", "Bearer t1", "Bearer t1", "Bearer t1", "Bearer t1"));
  std::remove(counter.c_str());
}

TEST(Credentials, AFailedPluginIsTold) {
  CredentialsFixture f;
  RestConfig config;
  config.identity.exec = Shell("echo 'log in first' >&2; exit 3");
  config.identity.exec->install_hint = "See the manual.";
  auto source = CredentialSource::Create(f.clock, f.pool, config, f.FakeFiles());
  auto got = f.Get(*source);
  EXPECT_EQ(got.status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(got.status().message(), HasSubstr("exit code 3: log in first\nSee the manual."));
}

TEST(ExecPlugin, GetsItsEnvironment) {
  ExecConfig config =
      Shell("test \"$A\" = b && echo \"$KUBERNETES_EXEC_INFO\" | grep -q '\"interactive\":false' && echo '" + kHead +
            R"({"token":"t"}}')");
  config.env = {{"A", "b"}};
  auto result = RunExecPlugin(config, absl::Seconds(20));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->token, "t");
  EXPECT_EQ(result->expiry, std::nullopt);
}

TEST(ExecPlugin, IsKilledAtTheDeadline) {
  Status status = RunExecPlugin(Shell("sleep 60 & wait"), absl::Milliseconds(100)).status();
  EXPECT_THAT(status.message(), HasSubstr("not done after 100ms"));
}

TEST(ExecPlugin, AMissingOneIsTold) {
  ExecConfig config = Shell("");
  config.command = "/no/such/plugin";
  config.install_hint = "apt install it";
  EXPECT_THAT(RunExecPlugin(config, absl::Seconds(20)).status().message(), HasSubstr("/no/such/plugin: not found"));
}

TEST(ExecPlugin, OutputIsChecked) {
  ExecConfig config = Shell("");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "expected an ExecCredential as JSON"},
      {R"({"kind":"Pod"})", "kind: expected ExecCredential"},
      {R"({"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1"})", "apiVersion: expected"},
      {R"({"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1"})", "status: expected"},
      {kHead + "{}}", "there is neither"},
      {kHead + R"({"clientKeyData":"k"}})", "together"},
      {kHead + R"({"token":"t","expirationTimestamp":"soon"}})", "RFC 3339"},
  };
  for (const auto& [output, expected] : cases) {
    EXPECT_THAT(ParseExecCredential(config, output).status().message(), HasSubstr(expected)) << output;
  }
  auto result = ParseExecCredential(config, kHead + R"({"clientCertificateData":"c","clientKeyData":"k"}})");
  EXPECT_EQ(result->client_cert_pem, "c");
}

}  // namespace
}  // namespace vck::kube
