#include "oci/registry_client.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/escaping.h"
#include "gmock/gmock.h"
#include "oci/authorizer.h"
#include "oci/fake_registry.h"
#include "support/pool_loop.h"

namespace vck::oci {
namespace {

using ::testing::ElementsAre;
using testing::FakeReply;
using ::testing::HasSubstr;

constexpr const char* kHub = "https://registry-1.docker.io:443";

class RegistryClientTest : public ::testing::Test {
 protected:
  RegistryClientTest() {
    dir_ = std::filesystem::temp_directory_path() / absl::StrCat("oci-test-", RandomHex(6));
    std::filesystem::create_directories(dir_);
    registry_.hosts[kHub] = registry_.Serve();
  }
  ~RegistryClientTest() override {
    if (client_) Close();
    std::filesystem::remove_all(dir_);
  }
  void Close() {
    loop_.Run([](RegistryClient& c) -> Task<bool> {
      co_await c.Close();
      co_return true;
    }(*client_));
  }
  RegistryClient& Client(RegistryConfig config = {}) {
    RegistryOptions options;
    options.config = std::move(config);
    client_ = std::make_unique<RegistryClient>(loop_.executor(), loop_.clock(), loop_.pool(), std::move(options),
                                               registry_.Factory());
    return *client_;
  }
  static Reference Ref(std::string_view text) { return ParseReference(text).value(); }
  StatusOr<RemoteImage> Resolve(std::string_view ref, std::shared_ptr<const Keyring> keyring = nullptr) {
    if (!client_) Client();
    return loop_.Run(client_->Resolve(Ref(ref), std::move(keyring)));
  }
  StatusOr<std::string> Digest(std::string_view ref, std::shared_ptr<const Keyring> keyring = nullptr) {
    if (!client_) Client();
    return loop_.Run(client_->Digest(Ref(ref), std::move(keyring)));
  }
  Status Fetch(std::string_view ref, const std::string& digest, int64_t size,
               std::shared_ptr<const Keyring> keyring = nullptr) {
    if (!client_) Client();
    return loop_.Run(client_->FetchBlob(Ref(ref), {.digest = digest, .size = size}, std::move(keyring), Path(),
                                        [this](size_t n) { received_ += n; }));
  }
  std::string Path() const { return (dir_ / "blob").string(); }
  std::string Content() const {
    std::ifstream in(Path(), std::ios::binary);
    std::stringstream out;
    out << in.rdbuf();
    return out.str();
  }
  static std::shared_ptr<const Keyring> Keys(std::initializer_list<std::pair<const char*, Credential>> all) {
    auto out = std::make_shared<Keyring>();
    for (const auto& [where, credential] : all) out->Add(where, credential);
    return out;
  }
  static std::string Data(size_t size) {
    std::string out(size, '\0');
    for (size_t i = 0; i < size; ++i) out[i] = static_cast<char>(i * 7 + i / 251);
    return out;
  }

  testing::PoolLoop loop_;
  FakeRegistry registry_{loop_.clock()};
  std::unique_ptr<RegistryClient> client_;
  std::filesystem::path dir_;
  size_t received_ = 0;
};

TEST_F(RegistryClientTest, ResolvesAnImage) {
  std::string digest = registry_.AddImage("library/busybox", "1.36", {"L1", "L2"}, {DigestOf("a"), DigestOf("b")});
  auto image = Resolve("busybox:1.36");
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->digest, digest);
  EXPECT_EQ(image->manifest_digest, digest);
  EXPECT_EQ(image->manifest.layers.size(), 2U);
  EXPECT_EQ(image->layer_bytes(), 4);
  EXPECT_THAT(image->config, HasSubstr("\"Cmd\""));
  EXPECT_THAT(registry_.log[0], "GET https://registry-1.docker.io:443/v2/library/busybox/manifests/1.36");
  EXPECT_THAT(std::string(*registry_.requests[0].headers.Get("Accept")), HasSubstr(std::string(kDockerList)));
  // By digest, too.
  ASSERT_TRUE(Resolve("busybox@" + digest).ok());
}

TEST_F(RegistryClientTest, DigestOfATagIsAskedWithoutTheManifest) {
  std::string digest = registry_.AddImage("library/busybox", "latest", {}, {});
  EXPECT_EQ(Digest("busybox").value(), digest);
  EXPECT_THAT(registry_.log, ElementsAre("HEAD https://registry-1.docker.io:443/v2/library/busybox/manifests/latest"));
  EXPECT_EQ(Digest("busybox@" + digest).value(), digest);
  EXPECT_EQ(registry_.log.size(), 1U);
}

TEST_F(RegistryClientTest, RegistriesThatDoNotTellDigests) {
  std::string digest = registry_.AddImage("a/b", "latest", {}, {});
  registry_.hosts[kHub] = [&](const http::Request& request) {
    if (request.method == "HEAD") return FakeReply{.status = 405};
    return registry_.Answer(request);
  };
  EXPECT_EQ(Digest("a/b").value(), digest);
}

TEST_F(RegistryClientTest, PicksThePlatformOfAnIndex) {
  std::string arm = registry_.AddImage("a/b", "", {"arm"}, {DigestOf("x")}, "arm64");
  std::string amd = registry_.AddImage("a/b", "", {"amd"}, {DigestOf("x")});
  auto entry = [&](const std::string& digest, std::string_view platform) {
    return absl::StrCat(R"({"mediaType":")", kOciManifest, R"(","size":1,"digest":")", digest, "\"",
                        platform.empty() ? "" : absl::StrCat(",\"platform\":", platform), "}");
  };
  std::string index = registry_.AddManifest(
      "a/b", "multi",
      absl::StrCat(R"({"schemaVersion":2,"manifests":[)", entry(arm, R"({"os":"linux","architecture":"arm64"})"), ",",
                   entry(amd, R"({"os":"linux","architecture":"amd64"})"), "]}"),
      kOciIndex);
  auto image = Resolve("a/b:multi");
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->digest, index);
  EXPECT_EQ(image->manifest_digest, amd);

  // Where entries name no platform, the configuration tells.
  registry_.AddManifest("a/b", "silent",
                        absl::StrCat(R"({"schemaVersion":2,"manifests":[)", entry(arm, ""), ",", entry(amd, ""), "]}"),
                        kOciIndex);
  EXPECT_EQ(Resolve("a/b:silent")->manifest_digest, amd);

  registry_.AddManifest(
      "a/b", "arm",
      absl::StrCat(R"({"schemaVersion":2,"manifests":[)", entry(arm, R"({"os":"linux","architecture":"arm64"})"), "]}"),
      kOciIndex);
  Status none = Resolve("a/b:arm").status();
  EXPECT_TRUE(absl::IsNotFound(none));
  EXPECT_THAT(std::string(none.message()), HasSubstr("no match for platform"));
}

TEST_F(RegistryClientTest, UnknownNames) {
  Status status = Resolve("nope").status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_EQ(status.message(), "docker.io/library/nope:latest: not found");
  EXPECT_EQ(Digest("nope").status(), status);
}

TEST_F(RegistryClientTest, WhatDoesNotFitItsDigestIsRefused) {
  std::string digest = registry_.AddImage("a/b", "latest", {"layer"}, {DigestOf("x")});
  registry_.manifests["a/b@" + digest].second += " ";
  EXPECT_TRUE(absl::IsDataLoss(Resolve("a/b@" + digest).status()));
  registry_.manifests["a/b@" + digest].second.pop_back();
  for (auto& [id, blob] : registry_.blobs) {
    if (blob.find("Cmd") != std::string::npos) blob += " ";
  }
  Status status = Resolve("a/b@" + digest).status();
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("image configuration: unexpected digest"));
}

TEST_F(RegistryClientTest, LayersAndDiffIdsMustBeAsMany) {
  registry_.AddImage("a/b", "latest", {"layer"}, {});
  EXPECT_THAT(std::string(Resolve("a/b").status().message()), HasSubstr("mismatched image rootfs and manifest layers"));
}

// ---- authorization ----

TEST_F(RegistryClientTest, AnonymousTokenOnce) {
  registry_.AddImage("library/busybox", "latest", {}, {});
  registry_.authorization = {"Bearer t1"};
  registry_.challenge = R"(Bearer realm="https://auth.docker.io/token",service="registry.docker.io")";
  int tokens = 0;
  registry_.hosts["https://auth.docker.io:443"] = [&](const http::Request& request) {
    ++tokens;
    EXPECT_EQ(request.target, "/token?service=registry.docker.io&scope=repository%3Alibrary%2Fbusybox%3Apull");
    EXPECT_FALSE(request.headers.Get("Authorization"));
    return FakeReply{.body = R"({"token":"t1","expires_in":300})"};
  };
  ASSERT_TRUE(Resolve("busybox").ok());
  ASSERT_TRUE(Resolve("busybox").ok());
  EXPECT_EQ(tokens, 1);
  loop_.Advance(absl::Seconds(300));
  ASSERT_TRUE(Resolve("busybox").ok());
  EXPECT_EQ(tokens, 2);
}

TEST_F(RegistryClientTest, PullSecretsGetATokenAndTheRightOneIsRemembered) {
  std::string layer = Data(10);
  registry_.AddImage("team/app", "1", {layer}, {DigestOf("x")});
  registry_.hosts["https://quay.io:443"] = registry_.Serve();
  registry_.authorization = {"Bearer good"};
  registry_.challenge = R"(Bearer realm="https://quay.io/v2/auth",service="quay.io",scope="repository:team/app:pull")";
  std::vector<std::string> asked;
  auto serve = registry_.hosts["https://quay.io:443"];
  registry_.hosts["https://quay.io:443"] = [&](const http::Request& request) {
    if (!absl::StartsWith(request.target, "/v2/auth")) return serve(request);
    asked.emplace_back(request.headers.Get("Authorization").value_or(""));
    bool good = asked.back() == BasicAuthorization({.username = "u", .password = "p"});
    return FakeReply{.status = good ? 200 : 401, .body = R"({"access_token":"good"})"};
  };
  auto keys =
      Keys({{"quay.io/team", {.username = "old", .password = "x"}}, {"quay.io", {.username = "u", .password = "p"}}});
  auto image = Resolve("quay.io/team/app:1", keys);
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(asked.size(), 2U);
  ASSERT_TRUE(Fetch("quay.io/team/app:1", DigestOf(layer), 10, keys).ok());
  EXPECT_EQ(asked.size(), 2U);

  Status denied = Resolve("quay.io/team/app:1", Keys({{"quay.io", {.username = "old", .password = "x"}}})).status();
  EXPECT_TRUE(absl::IsPermissionDenied(denied));
  EXPECT_EQ(denied.message(),
            "failed to authorize: failed to fetch oauth token: unexpected status from GET request to "
            "https://quay.io:443/v2/auth: 401 Unauthorized");
}

TEST_F(RegistryClientTest, BasicAuthorization) {
  registry_.AddImage("x", "1", {}, {});
  registry_.hosts["https://r.example:5000"] = registry_.Serve();
  registry_.authorization = {oci::BasicAuthorization({.username = "u", .password = "p"})};
  registry_.challenge = "Basic realm=\"r\"";
  EXPECT_TRUE(Resolve("r.example:5000/x:1", Keys({{"r.example:5000", {.username = "u", .password = "p"}}})).ok());
  EXPECT_EQ(Resolve("r.example:5000/x:1").status().message(), "no basic auth credentials");
  Status wrong = Resolve("r.example:5000/x:1", Keys({{"r.example:5000", {.username = "u", .password = "q"}}})).status();
  EXPECT_TRUE(absl::IsPermissionDenied(wrong));
  EXPECT_EQ(
      wrong.message(),
      "pull access denied, repository does not exist or may require authorization: server message: authentication "
      "required: authorization failed");
  EXPECT_EQ(std::string(wrong.message()).find("dTpx"), std::string::npos);
}

TEST_F(RegistryClientTest, IdentityTokensAreExchanged) {
  registry_.AddImage("x/y", "1", {}, {});
  registry_.hosts["https://a.azurecr.io:443"] = [&, serve = registry_.Serve()](const http::Request& request) {
    if (!absl::StartsWith(request.target, "/oauth2/token")) return serve(request);
    EXPECT_EQ(request.method, "POST");
    EXPECT_THAT(request.body, HasSubstr("grant_type=refresh_token"));
    EXPECT_THAT(request.body, HasSubstr("refresh_token=id%2Btoken"));
    return FakeReply{.body = R"({"access_token":"t"})"};
  };
  registry_.authorization = {"Bearer t"};
  registry_.challenge = R"(Bearer realm="https://a.azurecr.io/oauth2/token",service="a.azurecr.io")";
  EXPECT_TRUE(Resolve("a.azurecr.io/x/y:1", Keys({{"*.azurecr.io", {.identity_token = "id+token"}}})).ok());
}

TEST_F(RegistryClientTest, NoCredentialsOverPlainHttp) {
  registry_.AddImage("x/y", "1", {}, {});
  registry_.authorization = {"Bearer t"};
  registry_.challenge = R"(Bearer realm="http://evil.example/token")";
  registry_.hosts["http://evil.example:80"] = [](const http::Request&) {
    return FakeReply{.body = R"({"token":"t"})"};
  };
  Status status =
      Resolve("x/y:1", Keys({{"https://index.docker.io/v1/", {.username = "u", .password = "p"}}})).status();
  EXPECT_TRUE(absl::IsPermissionDenied(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("not reached by TLS"));
}

// ---- mirrors ----

TEST_F(RegistryClientTest, MirrorsFirstThenTheRegistry) {
  registry_.AddImage("library/busybox", "latest", {}, {});
  FakeRegistry empty(loop_.clock());
  registry_.hosts["https://m1:5000"] = [](const http::Request&) {
    return FakeReply{.error = absl::UnavailableError("connection refused")};
  };
  registry_.hosts["https://m2:443"] = empty.Serve();
  auto config = ParseRegistryConfig(
      R"({"registries":[{"prefix":"docker.io","mirrors":["https://m1:5000",{"url":"https://m2/cache"}]}]})");
  Client(*config);
  auto image = Resolve("busybox", Keys({{"https://index.docker.io/v1/", {.username = "u", .password = "p"}}}));
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_THAT(registry_.log[0], "GET https://m1:5000/v2/library/busybox/manifests/latest?ns=docker.io");
  EXPECT_THAT(registry_.log[1], "GET https://m2:443/cache/v2/library/busybox/manifests/latest?ns=docker.io");
  EXPECT_THAT(registry_.log[2], "GET https://registry-1.docker.io:443/v2/library/busybox/manifests/latest");
}

TEST_F(RegistryClientTest, OnlyMirrors) {
  registry_.hosts["https://127.0.0.1:5000"] = registry_.Serve();
  Client(*ParseRegistryConfig(
      R"({"registries":[{"prefix":"docker.io","mirrors":["https://127.0.0.1:5000"],"mirrorsOnly":true}]})"));
  EXPECT_EQ(Resolve("nope").status().message(), "docker.io/library/nope:latest: not found");
  EXPECT_EQ(registry_.log.size(), 1U);
}

TEST_F(RegistryClientTest, MirrorsGetTheirOwnCredentialsOnly) {
  registry_.AddImage("library/busybox", "latest", {}, {});
  std::ofstream(dir_ / "password") << "mp\n";
  std::vector<std::string> seen;
  registry_.challenge = "Basic realm=x";
  registry_.hosts["https://127.0.0.1:5000"] = [&, serve = registry_.Serve()](const http::Request& request) {
    seen.emplace_back(request.headers.Get("Authorization").value_or(""));
    return serve(request);
  };
  registry_.authorization = {oci::BasicAuthorization({.username = "m", .password = "mp"})};
  Client(*ParseRegistryConfig(absl::StrCat(
      R"({"registries":[{"prefix":"docker.io","mirrors":["https://127.0.0.1:5000"],"auth":{"username":"m","passwordFile":")",
      (dir_ / "password").string(), "\"}}]}")));
  auto image = Resolve("busybox", Keys({{"https://index.docker.io/v1/", {.username = "hub", .password = "secret"}}}));
  ASSERT_TRUE(image.ok()) << image.status();
  for (const std::string& header : seen) {
    EXPECT_TRUE(header.empty() || registry_.authorization.contains(header)) << header;
  }
}

// ---- blobs ----

TEST_F(RegistryClientTest, BlobIntoAFile) {
  std::string data = Data(3000000);
  registry_.piece = 65536;
  std::string digest = registry_.AddBlob(data);
  Status status = Fetch("a/b", digest, static_cast<int64_t>(data.size()));
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(Content(), data);
  EXPECT_EQ(received_, data.size());
}

TEST_F(RegistryClientTest, BrokenDownloadsGoOnWhereTheyStopped) {
  std::string data = Data(100000);
  std::string digest = registry_.AddBlob(data);
  registry_.break_after = 7000;
  Status status = Fetch("a/b", digest, 100000);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(Content(), data);
  EXPECT_EQ(received_, data.size());
  EXPECT_EQ(registry_.log.size(), 15U);
  EXPECT_EQ(registry_.requests[1].headers.Get("Range"), "bytes=7000-");
}

TEST_F(RegistryClientTest, ServersWithoutRangesBeginAgain) {
  std::string data = Data(50000);
  std::string digest = registry_.AddBlob(data);
  registry_.ranges = false;
  registry_.break_after = 20000;
  registry_.breaks = 2;
  Status status = Fetch("a/b", digest, 50000);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(Content(), data);
}

TEST_F(RegistryClientTest, GivesUpWithoutProgress) {
  std::string data = Data(5000);
  std::string digest = registry_.AddBlob(data);
  registry_.hosts[kHub] = [](const http::Request&) { return FakeReply{.pieces = {"abc", FakeReply::Silence()}}; };
  Instant start = loop_.clock().Now();
  Status status = Fetch("a/b", digest, 5000);
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_LT(loop_.clock().Now() - start, absl::Minutes(15));
  EXPECT_FALSE(std::filesystem::exists(Path()));
}

TEST_F(RegistryClientTest, WrongBytesAreRefused) {
  std::string digest = DigestOf("right");
  registry_.blobs[digest] = "wrong";
  Status status = Fetch("a/b", digest, 5);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("unexpected digest"));
  EXPECT_FALSE(std::filesystem::exists(Path()));
  registry_.blobs[digest] = "right and more";
  EXPECT_TRUE(absl::IsDataLoss(Fetch("a/b", digest, 5)));
  registry_.blobs[digest] = "right";
  EXPECT_TRUE(Fetch("a/b", digest, 5).ok());
}

TEST_F(RegistryClientTest, RedirectsToABlobStoreWithoutTheToken) {
  std::string data = Data(10000);
  std::string digest = registry_.AddBlob(data);
  registry_.authorization = {"Bearer t"};
  registry_.challenge = R"(Bearer realm="https://registry-1.docker.io/token")";
  registry_.hosts[kHub] = [&](const http::Request& request) {
    if (absl::StartsWith(request.target, "/token")) return FakeReply{.body = R"({"token":"t"})"};
    FakeReply reply = registry_.Answer(request);
    if (reply.status == 401) return reply;
    return FakeReply{.status = 307, .headers = {{"Location", "https://cdn.example:8443/data/x?sig=a%2Fb&e=1"}}};
  };
  registry_.break_after = 4000;
  registry_.breaks = 1;
  registry_.hosts["https://cdn.example:8443"] = [&](const http::Request& request) {
    EXPECT_FALSE(request.headers.Get("Authorization"));
    EXPECT_EQ(request.target, "/data/x?sig=a%2Fb&e=1");
    return registry_.Blob(request, data);
  };
  Status status = Fetch("a/b", digest, 10000);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(Content(), data);
}

TEST_F(RegistryClientTest, RedirectsEnd) {
  std::string digest = DigestOf("x");
  registry_.hosts[kHub] = [](const http::Request& request) {
    return FakeReply{.status = 302, .headers = {{"Location", request.target}}};
  };
  Status status = Fetch("a/b", digest, 1);
  EXPECT_THAT(std::string(status.message()), HasSubstr("too many redirects"));
}

TEST_F(RegistryClientTest, TooManyRequests) {
  registry_.hosts[kHub] = [](const http::Request&) {
    return FakeReply{.status = 429, .body = R"({"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]})"};
  };
  Status status = Resolve("busybox").status();
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_EQ(
      status.message(),
      "unexpected status from GET request to https://registry-1.docker.io/v2/library/busybox/manifests/latest: 429 "
      "Too Many Requests: slow down");
}

TEST_F(RegistryClientTest, ProxiesByOrigin) {
  RegistryOptions options;
  options.proxy = [](const http::Url& url) { return url.host == "quay.io" ? "http://proxy:3128" : ""; };
  client_ = std::make_unique<RegistryClient>(loop_.executor(), loop_.clock(), loop_.pool(), std::move(options),
                                             registry_.Factory());
  (void)Resolve("quay.io/x/y");
  (void)Resolve("busybox");
  EXPECT_EQ(registry_.proxies["https://quay.io:443"], "http://proxy:3128");
  EXPECT_EQ(registry_.proxies[kHub], "");
}

}  // namespace
}  // namespace vck::oci
