#include "kube/kubeconfig.h"

#include <map>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "json/json.h"
#include "kube/credentials.h"
#include "kube/proxy_env.h"

namespace vck::kube {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const char kPem[] = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";

struct FakeSystem {
  std::map<std::string, std::string> files;
  std::map<std::string, std::string> env;
  System Get() {
    return {.read_file = [this](const std::string& path) -> StatusOr<std::string> {
              auto it = files.find(path);
              if (it == files.end()) return absl::NotFoundError("No such file or directory");
              return it->second;
            },
            .getenv = [this](const std::string& name) -> std::optional<std::string> {
              auto it = env.find(name);
              return it == env.end() ? std::nullopt : std::optional(it->second);
            }};
  }
};

// A configuration whose cluster and user are as given (flow YAML).
std::string Config(const std::string& cluster, const std::string& user) {
  return absl::StrCat(
      "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context: {cluster: k, user: u}\n",
      "clusters:\n- name: k\n  cluster: ", cluster, "\nusers:\n- name: u\n  user: ", user, "\n");
}

StatusOr<RestConfig> Load(const std::string& text) {
  FakeSystem system;
  system.files = {{"/k/config", text},  {"/k/ca.pem", kPem}, {"/k/cert.pem", kPem}, {"/k/key.pem", kPem},
                  {"/abs/tok", "tt\n"}, {"/k/empty", ""},    {"/k/junk", "junk"}};
  return LoadKubeconfig({.path = "/k/config"}, system.Get());
}

const std::string kServer = "{server: 'https://h:6443'}";

TEST(Kubeconfig, ReadsWhatKubectlReads) {
  const std::string data = absl::Base64Escape(kPem);
  auto config =
      Load(Config(absl::StrCat("{server: 'https://Api.example:6443/base/', certificate-authority-data: ", data,
                               ", tls-server-name: api, proxy-url: 'http://proxy:3128', disable-compression: true}"),
                  "{client-certificate: cert.pem, client-key: /k/key.pem, as: bob, as-groups: [g1, g2], "
                  "as-user-extra: {scope: [s1, s2]}}"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->server.host, "api.example");
  EXPECT_EQ(config->server.port, 6443);
  EXPECT_EQ(config->server.path, "/base");
  EXPECT_EQ(config->tls.ca_pem, kPem);
  EXPECT_EQ(config->tls.server_name, "api");
  EXPECT_EQ(config->tls.client_cert_pem, kPem);
  EXPECT_EQ(config->proxy_url, "http://proxy:3128");
  EXPECT_EQ(config->identity.client_cert_file, "/k/cert.pem");
  EXPECT_EQ(config->identity.client_key_file, "/k/key.pem");
  EXPECT_EQ(config->identity.as, "bob");
  EXPECT_THAT(config->identity.as_groups, ElementsAre("g1", "g2"));
  EXPECT_EQ(config->identity.as_user_extra.size(), 2u);
  EXPECT_EQ(config->ns, "default");
  EXPECT_EQ(config->context, "c");
}

TEST(Kubeconfig, JsonIsReadToo) {
  auto config = Load(
      R"({"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":)"
      R"({"cluster":"k","user":"u","namespace":"shop"}}],"clusters":[{"name":"k","cluster":{"server":)"
      R"("https://[fd00::1]:6443","insecure-skip-tls-verify":true}}],"users":[{"name":"u","user":{"token":"t"}}]})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->server.host, "fd00::1");
  EXPECT_TRUE(config->tls.insecure);
  EXPECT_EQ(config->identity.token, "t");
  EXPECT_EQ(config->ns, "shop");
}

TEST(Kubeconfig, TokenFilesAreRead) {
  auto config = Load(Config(kServer, "{token: old, tokenFile: ../abs/tok}"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->identity.token, "tt");
  EXPECT_EQ(config->identity.token_file, "/abs/tok");
}

TEST(Kubeconfig, ServersWithoutASchemeAreLikeKubectls) {
  EXPECT_EQ(Load(Config("{server: 'h:8080'}", "{}"))->server.scheme, "http");
  EXPECT_EQ(Load(Config("{server: 'h:6443', insecure-skip-tls-verify: true}", "{}"))->server.scheme, "https");
}

TEST(Kubeconfig, ExecPlugins) {
  auto config =
      Load(Config("{server: 'https://h:6443', extensions: [{name: client.authentication.k8s.io/exec, extension: "
                  "{audience: a, n: 3}}]}",
                  "{exec: {apiVersion: client.authentication.k8s.io/v1, command: ./bin/login, args: [-x], env: [{name: "
                  "A, value: b}], "
                  "provideClusterInfo: true, interactiveMode: Never, installHint: install it}}"));
  ASSERT_TRUE(config.ok()) << config.status();
  const ExecConfig& exec = *config->identity.exec;
  EXPECT_EQ(exec.command, "/k/bin/login");
  EXPECT_THAT(exec.args, ElementsAre("-x"));
  auto info = json::Parse(ExecInfo(exec));
  EXPECT_EQ(json::Serialize(*info),
            R"({"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false,)"
            R"("cluster":{"server":"https://h:6443","config":{"audience":"a","n":3}}}})");
}

TEST(Kubeconfig, FilesAreMergedAndTheFirstWins) {
  FakeSystem system;
  system.env["KUBECONFIG"] = "/a/one:/missing::/b/two";
  system.files["/a/one"] = "current-context: first\nusers: [{name: u, user: {token: one}}]\n";
  system.files["/b/two"] =
      "current-context: second\nusers: [{name: u, user: {token: two, username: mixed}}]\n"
      "clusters: [{name: k, cluster: {server: 'https://h', certificate-authority: ca.pem}}]\n"
      "contexts: [{name: first, context: {cluster: k, user: u}}, {name: second, context: {cluster: k}}]\n";
  system.files["/b/ca.pem"] = kPem;
  auto config = LoadKubeconfig({}, system.Get());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->context, "first");
  EXPECT_EQ(config->identity.token, "one");
  EXPECT_EQ(config->identity.username, "");
  EXPECT_EQ(config->tls.ca_pem, kPem);
  config = LoadKubeconfig({.context = "second"}, system.Get());
  EXPECT_EQ(config->identity.token, "");
}

TEST(Kubeconfig, HomeIsTheDefaultAndThePodTheLastResort) {
  FakeSystem system;
  EXPECT_EQ(LoadKubeconfig({}, system.Get()).status().code(), absl::StatusCode::kNotFound);
  system.env["HOME"] = "/root";
  EXPECT_THAT(LoadKubeconfig({}, system.Get()).status().message(), HasSubstr("/root/.kube/config does not exist"));
  system.env["KUBERNETES_SERVICE_HOST"] = "fd00::a";
  system.env["KUBERNETES_SERVICE_PORT"] = "443";
  EXPECT_THAT(LoadKubeconfig({}, system.Get()).status().message(), HasSubstr("serviceaccount/token"));
  const std::string dir = "/var/run/secrets/kubernetes.io/serviceaccount/";
  system.files = {{dir + "token", "tok\n"}, {dir + "ca.crt", kPem}, {dir + "namespace", "kube-system\n"}};
  auto config = LoadKubeconfig({}, system.Get());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->server.HostPort(), "[fd00::a]:443");
  EXPECT_EQ(config->identity.token, "tok");
  EXPECT_EQ(config->identity.token_file, dir + "token");
  EXPECT_EQ(config->ns, "kube-system");
  system.files["/root/.kube/config"] = Config(kServer, "{token: t}");
  EXPECT_EQ(LoadKubeconfig({}, system.Get())->server.host, "h");
}

TEST(Kubeconfig, ErrorsNameFileFieldAndWhatWasExpected) {
  struct Case {
    std::string text, field, expected;
  };
  const std::string exec = "{exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Never";
  const std::vector<Case> cases = {
      {"a: [", "line 1, column 1", "YAML"},
      {"- a", "", "expected a map, got a list"},
      {"kind: Pod", "kind", "expected Config"},
      {"apiVersion: v2", "apiVersion", "expected v1"},
      {"clusters: {}", "clusters", "expected a list"},
      {"clusters: [{name: a}, {name: a}]", "clusters[1]", "second entry"},
      {"clusters: [{name: a, cluster: 3}]", "clusters[0].cluster", "expected a map"},
      {"{}", "current-context", "it is not set"},
      {"current-context: x", "current-context", "got \"x\"; there are none"},
      {absl::StrReplaceAll(Config(kServer, "{}"), {{"cluster: k,", "cluster: z,"}}), "contexts[0].context.cluster",
       "there are: k"},
      {absl::StrReplaceAll(Config(kServer, "{}"), {{"user: u}", "user: z}"}}), "contexts[0].context.user",
       "there are: u"},
      {Config("{}", "{}"), "clusters[0].cluster.server", "expected the server's URL"},
      {Config("{server: [a]}", "{}"), "clusters[0].cluster.server", "expected a string, got a list"},
      {Config("{server: 'ftp://h'}", "{}"), "clusters[0].cluster.server", "http"},
      {Config("{server: 'https://h:99999'}", "{}"), "clusters[0].cluster.server", "port"},
      {Config("{server: 'https://h', insecure-skip-tls-verify: maybe}", "{}"),
       "clusters[0].cluster.insecure-skip-tls-verify", "expected true or false, got \"maybe\""},
      {Config("{server: 'https://h', insecure-skip-tls-verify: true, certificate-authority: ca.pem}", "{}"),
       "clusters[0].cluster", "only one of"},
      {Config("{server: 'https://h', certificate-authority: no.pem}", "{}"),
       "clusters[0].cluster.certificate-authority", "expected a readable file, got /k/no.pem"},
      {Config("{server: 'https://h', certificate-authority: junk}", "{}"), "clusters[0].cluster.certificate-authority",
       "PEM"},
      {Config("{server: 'https://h', certificate-authority-data: '%%%'}", "{}"),
       "clusters[0].cluster.certificate-authority-data", "expected base64"},
      {Config("{server: 'https://h', certificate-authority-data: anVuaw==}", "{}"),
       "clusters[0].cluster.certificate-authority-data", "expected PEM in base64"},
      {Config("{server: 'https://h', proxy-url: 'socks5://p:1'}", "{}"), "clusters[0].cluster.proxy-url", "http"},
      {Config(kServer, "{client-certificate: cert.pem}"), "users[0].user", "client-key"},
      {Config(kServer, "{client-key: key.pem}"), "users[0].user", "client-certificate"},
      {Config(kServer, "{client-key: key.pem, client-key-data: " + absl::Base64Escape(kPem) + "}"),
       "users[0].user.client-key-data", "only one of"},
      {Config(kServer, "{client-key-data: '%%%'}"), "users[0].user.client-key-data", "expected base64"},
      {Config(kServer, "{tokenFile: nope}"), "users[0].user.tokenFile", "readable file"},
      {Config(kServer, "{tokenFile: empty}"), "users[0].user.tokenFile", "expected a token"},
      {Config(kServer, "{token: t, username: u}"), "users[0].user", "only one of token and username"},
      {Config(kServer, "{as-groups: [a]}"), "users[0].user", "expected `as`"},
      {Config(kServer, "{auth-provider: {name: gcp}}"), "users[0].user.auth-provider", "exec plugin"},
      {Config(kServer, "{exec: {command: x}}"), "users[0].user.exec.apiVersion", "client.authentication.k8s.io/v1"},
      {Config(kServer, "{exec: {apiVersion: client.authentication.k8s.io/v1alpha1}}"), "users[0].user.exec.apiVersion",
       "v1beta1"},
      {Config(kServer, "{exec: {apiVersion: client.authentication.k8s.io/v1}}"), "users[0].user.exec.command",
       "command"},
      {Config(kServer, "{exec: {apiVersion: client.authentication.k8s.io/v1, command: x}}"),
       "users[0].user.exec.interactiveMode", "Never"},
      {Config(kServer, "{exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Always}}"),
       "users[0].user.exec.interactiveMode", "terminal"},
      {Config(kServer, exec + ", env: [{value: x}]}}"), "users[0].user.exec.env[0]", "expected a name"},
      {Config(kServer, exec + ", args: x}}"), "users[0].user.exec.args", "expected a list"},
  };
  for (const Case& c : cases) {
    auto config = Load(c.text);
    ASSERT_FALSE(config.ok()) << c.text;
    EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << c.text;
    EXPECT_THAT(
        std::string(config.status().message()),
        AllOf(HasSubstr(c.field.empty() ? "/k/config: " : "/k/config: " + c.field + ": "), HasSubstr(c.expected)))
        << c.text;
  }
}

TEST(Kubeconfig, ANamedFileMustExistAndAContextToo) {
  FakeSystem system;
  EXPECT_THAT(LoadKubeconfig({.path = "/no"}, system.Get()).status().ToString(), HasSubstr("/no: No such file"));
  system.files["/k"] = Config(kServer, "{}");
  EXPECT_THAT(LoadKubeconfig({.path = "/k", .context = "x"}, system.Get()).status().message(),
              HasSubstr("--context: expected the name of a context, got \"x\"; there are: c"));
}

TEST(Kubeconfig, ErrorsDoNotQuoteSecrets) {
  auto config = Load(Config(kServer, "{client-key-data: 'supersecretsupersecret%'}"));
  EXPECT_THAT(config.status().message(), Not(HasSubstr("supersecret")));
}

TEST(ProxyFromEnvironment, FollowsTheVariables) {
  auto proxy = [](const std::string& url, std::map<std::string, std::string> env) {
    return ProxyFromEnvironment(*http::ParseUrl(url), [env](const std::string& name) -> std::optional<std::string> {
      auto it = env.find(name);
      return it == env.end() ? std::nullopt : std::optional(it->second);
    });
  };
  EXPECT_EQ(proxy("https://k8s.example:6443", {{"HTTPS_PROXY", "p:1"}}), "http://p:1");
  EXPECT_EQ(proxy("https://k8s.example:6443", {{"https_proxy", "http://p:1"}}), "http://p:1");
  EXPECT_EQ(proxy("http://k8s.example", {{"HTTPS_PROXY", "p:1"}}), "");
  EXPECT_EQ(proxy("https://127.0.0.1:6443", {{"HTTPS_PROXY", "p:1"}}), "");
  for (const char* no : {"*", "example", ".example", "k8s.example", "x, K8S.example:6443"}) {
    EXPECT_EQ(proxy("https://k8s.example:6443", {{"HTTPS_PROXY", "p:1"}, {"NO_PROXY", no}}), "") << no;
  }
  for (const char* no : {"ample", "k8s.example:443", "other"}) {
    EXPECT_NE(proxy("https://k8s.example:6443", {{"HTTPS_PROXY", "p:1"}, {"NO_PROXY", no}}), "") << no;
  }
  EXPECT_EQ(proxy("https://10.1.2.3", {{"HTTPS_PROXY", "p:1"}, {"NO_PROXY", "10.0.0.0/8"}}), "");
  EXPECT_NE(proxy("https://11.1.2.3", {{"HTTPS_PROXY", "p:1"}, {"NO_PROXY", "10.0.0.0/8"}}), "");
}

}  // namespace
}  // namespace vck::kube
