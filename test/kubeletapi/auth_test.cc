// Who may not come in, does not.
#include "kubeletapi/fixture.h"
#include "kubeletapi/reviews.h"
#include "support/fake_http.h"
#include "support/loop.h"

namespace vck::kubeletapi {
namespace {

using ::testing::HasSubstr;

class AuthTest : public ApiTest {
 protected:
  http::Response As(http::CertRequest request, Ask ask) {
    return Fetch(std::move(ask), ClientTls(ca_.Issue(std::move(request))));
  }
  http::Response Anonymous(Ask ask) {
    return Fetch(std::move(ask), *http::TlsContext::Client({.ca_pem = server_cert_}));
  }
};

TEST_F(AuthTest, WithoutACertificate) {
  for (const char* path : {"/pods", "/healthz", "/", "/nothing", "/exec/default/web/c", "/containerLogs/default/web/c",
                           "/%2e%2e/pods", "/metrics", "/run/default/web/c"}) {
    for (const char* method : {"GET", "POST", "HEAD", "OPTIONS"}) {
      auto response = Anonymous({.method = method, .target = path});
      EXPECT_EQ(response.status, 401) << method << " " << path;
      if (std::string_view(method) != "HEAD") EXPECT_EQ(response.body, "Unauthorized");
    }
  }
  EXPECT_EQ(reviews_.access_reviews, 0);
}

TEST_F(AuthTest, CertificatesThatAreNotTrusted) {
  struct Case {
    std::string what;
    std::pair<std::string, std::string> identity;
  };
  ClientCa other;
  const std::string self_key = *http::GenerateKeyPem();
  http::CertRequest admin{.common_name = "apiserver", .organizations = {"system:masters"}};
  http::CertRequest expired = admin;
  expired.lifetime = absl::Hours(1);
  expired.now = absl::Now() - absl::Hours(3);
  http::CertRequest early = admin;
  early.now = absl::Now() + absl::Hours(3);
  http::CertRequest itself = admin;
  itself.now = absl::Now();
  for (const Case& c : {Case{"of another CA", other.Issue(admin)}, Case{"expired", ca_.Issue(expired)},
                        Case{"not yet valid", ca_.Issue(early)},
                        Case{"self-signed", {*http::SignCertificate(self_key, itself, "", self_key), self_key}},
                        Case{"without a name", ca_.Issue({.organizations = {"system:masters"}})}}) {
    auto response = Fetch({.target = "/pods"}, ClientTls(c.identity));
    EXPECT_EQ(response.status, 401) << c.what;
    EXPECT_EQ(response.body, "Unauthorized");
  }
}

TEST_F(AuthTest, WhoMayDoWhat) {
  auto forbidden = As({.common_name = "alice", .organizations = {"dev"}}, {.target = "/pods"});
  EXPECT_EQ(forbidden.status, 403);
  EXPECT_EQ(forbidden.body, "Forbidden (user=alice, verb=get, resource=nodes, subresource(s)=[pods proxy])\n");
  EXPECT_THAT(reviews_.last_user.groups, ::testing::ElementsAre("dev", "system:authenticated"));
  EXPECT_EQ(As({.common_name = "alice"}, {.method = "POST", .target = "/exec/default/web/c?command=x&output=1"}).body,
            "Forbidden (user=alice, verb=create, resource=nodes, subresource(s)=[proxy])\n");
  reviews_.allowed = {"alice get pods"};
  EXPECT_EQ(As({.common_name = "alice"}, {.target = "/pods"}).status, 200);
  EXPECT_EQ(As({.common_name = "alice"}, {.target = "/runningpods/"}).status, 200);
  EXPECT_EQ(As({.common_name = "alice"}, {.target = "/containerLogs/default/web/c"}).status, 403);
  reviews_.allowed = {"alice get proxy"};
  EXPECT_EQ(As({.common_name = "alice"}, {.target = "/pods"}).status, 200) << "proxy is enough for all";
  EXPECT_EQ(As({.common_name = "alice"}, {.method = "POST", .target = "/run/default/web/c"}).status, 403)
      << "of another verb";
}

TEST_F(AuthTest, PathTricks) {
  // alice may see pods only: no spelling of another path may pass for that.
  reviews_.allowed = {"alice get pods", "alice create pods", "alice get healthz"};
  struct Case {
    std::string target;
    int status;
  };
  for (const Case& c :
       {Case{"/pods/../exec/default/web/c?command=x&output=1", 307}, Case{"//exec/default/web/c", 307},
        Case{"/pods/..%2fexec/default/web/c", 403}, Case{"/pods/%2e%2e/exec/default/web/c", 403},
        Case{"/%70ods/%2e%2e/containerLogs/default/web/c", 403}, Case{"/pods%2f..%2fcontainerLogs/default/web/c", 403},
        Case{"/containerLogs/default/web/c?x=/pods", 403}, Case{"/containerLogs%3f/pods", 403},
        Case{"/healthz/../containerLogs/default/web/c", 307}, Case{"/Pods", 403}, Case{"/pods;x", 403},
        Case{"/podsx", 403}, Case{"/%70ods", 200}, Case{"/pods/", 200}, Case{"/pods/x", 404},
        Case{"/healthz/%2e%2e/pods", 403}, Case{"/pods/%00", 403}}) {
    for (const char* method : {"GET", "POST"}) {
      auto response = As({.common_name = "alice"}, {.method = method, .target = c.target});
      const int expected = c.status == 200 && std::string_view(method) == "POST" ? 405 : c.status;
      EXPECT_EQ(response.status, expected) << method << " " << c.target;
      if (c.status == 307) EXPECT_EQ(response.headers.Get("Location").value_or("").find(".."), std::string::npos);
    }
  }
}

TEST_F(AuthTest, Tokens) {
  reviews_.tokens["good"] = {.name = "prometheus", .uid = "u", .groups = {"monitoring"}, .extra = {{"k", {"v"}}}};
  reviews_.allowed = {"prometheus get pods"};
  auto with = [this](std::string field) {
    return Anonymous({.target = "/pods", .headers = {{"Authorization", std::move(field)}}}).status;
  };
  EXPECT_EQ(with("Bearer good"), 200);
  EXPECT_EQ(reviews_.last_user.extra.size(), 1u);
  EXPECT_EQ(with("bearer  good "), 200);
  for (const char* field : {"Bearer bad", "Bearer ", "Bearer", "Basic good", "good", "Bearergood"}) {
    EXPECT_EQ(with(field), 401) << field;
  }
  // A certificate that is not trusted does not stand in the way of a token.
  ClientCa other;
  EXPECT_EQ(Fetch({.target = "/pods", .headers = {{"Authorization", "Bearer good"}}},
                  ClientTls(other.Issue({.common_name = "x"})))
                .status,
            200);
}

TEST_F(AuthTest, TokensOfBrowsersAreSubprotocols) {
  reviews_.tokens["good"] = {.name = "prometheus"};
  reviews_.allowed = {"prometheus get proxy"};
  const std::string prefix = "base64url.bearer.authorization.k8s.io.";
  struct Case {
    std::string protocols;
    int status;
  };
  // Whoever comes in is told that there is no such pod.
  for (const Case& c :
       {Case{prefix + "Z29vZA, v4.channel.k8s.io", 404}, Case{"v4.channel.k8s.io, " + prefix + "Z29vZA", 404},
        Case{prefix + "Z29vZA", 401}, Case{"v4.channel.k8s.io", 401}, Case{prefix + "YmFk, v4.channel.k8s.io", 401},
        Case{prefix + ", v4.channel.k8s.io", 401}, Case{prefix + "Z29vZA==, v4.channel.k8s.io", 401},
        Case{prefix + "Z2*vZA, v4.channel.k8s.io", 401},
        Case{prefix + "Z29vZA, " + prefix + "Z29vZA, v4.channel.k8s.io", 401}}) {
    auto response =
        Anonymous({.target = "/exec/default/none/c?command=x&output=1", .headers = WebSocketHeaders(c.protocols)});
    EXPECT_EQ(response.status, c.status) << c.protocols;
  }
  EXPECT_EQ(Anonymous({.target = "/exec/default/none/c?command=x&output=1",
                       .headers = {{"Sec-WebSocket-Protocol", prefix + "Z29vZA, v4.channel.k8s.io"}}})
                .status,
            401)
      << "no WebSocket";
  EXPECT_EQ(Anonymous({.target = "/exec/default/web/c?command=x&output=1",
                       .headers = WebSocketHeaders(prefix + "Z29vZA, odd")})
                .body,
            "requested protocol(s) are not supported: [odd]");
}

TEST_F(AuthTest, WhenNobodyCanTell) {
  reviews_.error = absl::UnavailableError("connection refused");
  auto response = As({.common_name = "alice"}, {.target = "/pods"});
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(response.body, "Authorization error (user=alice, verb=get, resource=nodes, subresource=pods)");
  EXPECT_EQ(Anonymous({.target = "/pods", .headers = {{"Authorization", "Bearer good"}}}).status, 401);
}

TEST_F(AuthTest, TheCaIsLookedAtForEachRequest) {
  auto stream = Dial(ClientTls(admin_));
  std::string leftover;
  EXPECT_EQ(net_.Run(http::Upgrade(*stream, RequestOf({.target = "/pods"}), &leftover))->status, 200);
  ClientCa other;
  auth_.SetClientCa(*http::CertificatePool::Parse(other.cert));
  EXPECT_EQ(net_.Run(http::Upgrade(*stream, RequestOf({.target = "/pods"}), &leftover))->status, 401)
      << "on the connection that was let in before";
}

TEST_F(AuthTest, BadRequests) {
  for (const char* target : {"http://kubelet/pods", "*", "/pods%", "/pods%zz"}) {
    EXPECT_EQ(Anonymous({.target = target}).status, 400) << target;
  }
}

TEST(ClosedTest, WithNobodyToLetInOnlyHealthIsTold) {
  Net net;
  guestlink::Kubelet kubelet(&net, guestlink::NewKey());
  flow::Store<std::string, kube::Object> pods;
  StoreDirectory directory(pods);
  FakeReviews reviews;
  Auth auth(reviews, {.tokens = false});
  Api api({.clock = net.clock(), .links = *kubelet, .pods = directory, .auth = auth, .archive = {}, .health = {}}, {});
  auto server =
      *http::Server::Listen(net.executor(), net.clock(), {}, [&](http::Exchange& e) { return api.Handle(e); });
  net.Spawn(server->Run());
  auto get = [&](std::string path) {
    auto stream = *net.Run(http::Dial(net.clock(), "127.0.0.1", server->port(), nullptr, {}));
    std::string leftover;
    return *net.Run(
        http::Upgrade(*stream, {.target = std::move(path), .headers = {{"Authorization", "Bearer x"}}}, &leftover));
  };
  EXPECT_EQ(get("/healthz").body, "ok");
  for (const char* path : {"/pods", "/healthz/ping", "/containerLogs/a/b/c", "/", "/metrics"}) {
    EXPECT_EQ(get(path).status, 401) << path;
  }
  EXPECT_EQ(reviews.token_reviews + reviews.access_reviews, 0);
  net.Close();
}

// ---- the cache ----

class CacheTest : public ::testing::Test {
 protected:
  StatusOr<std::optional<User>> Token(std::string token) { return loop_.Run(cache_.ReviewToken(std::move(token))); }
  StatusOr<bool> May(std::string user, std::string verb = "get", std::string subresource = "pods") {
    return loop_.Run(cache_.ReviewAccess({.name = std::move(user)}, std::move(verb), std::move(subresource)));
  }
  testing::Loop loop_;
  FakeReviews source_;
  CachedReviews cache_{loop_.clock(), source_, {}};
};

TEST_F(CacheTest, AnswersAreRememberedForAWhile) {
  source_.tokens["t"] = {.name = "bob"};
  for (int i = 0; i < 3; ++i) EXPECT_EQ((*Token("t"))->name, "bob");
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(Token("bad")->has_value());
  EXPECT_EQ(source_.token_reviews, 2);
  loop_.Advance(absl::Minutes(2));
  source_.tokens.clear();
  EXPECT_FALSE(Token("t")->has_value()) << "it has been revoked";
  source_.allowed = {"bob get pods"};
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(*May("bob"));
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(*May("eve"));
  EXPECT_FALSE(*May("bob", "create"));
  EXPECT_FALSE(*May("bob", "get", "proxy"));
  EXPECT_EQ(source_.access_reviews, 4);
  loop_.Advance(absl::Seconds(31));
  EXPECT_TRUE(*May("bob"));
  EXPECT_FALSE(*May("eve"));
  EXPECT_EQ(source_.access_reviews, 5) << "a no is remembered for a shorter time";
  loop_.Advance(absl::Minutes(5));
  EXPECT_TRUE(*May("bob"));
  EXPECT_EQ(source_.access_reviews, 6);
}

TEST_F(CacheTest, ErrorsAreNot) {
  source_.error = absl::UnavailableError("away");
  EXPECT_FALSE(May("bob").ok());
  EXPECT_FALSE(Token("t").ok());
  source_.error = absl::OkStatus();
  EXPECT_TRUE(May("bob").ok());
  EXPECT_TRUE(Token("t").ok());
}

TEST_F(CacheTest, OneQuestionForAllWhoAskAtOnce) {
  struct Slow : Reviews {
    Task<StatusOr<std::optional<User>>> ReviewToken(std::string) override {
      ++asked;
      co_await gate.Wait();
      CO_RETURN_IF_ERROR(error);
      co_return User{.name = "bob"};
    }
    Task<StatusOr<bool>> ReviewAccess(User, std::string, std::string) override { co_return true; }
    Signal gate;
    Status error;
    int asked = 0;
  } slow;
  CachedReviews cache(loop_.clock(), slow, {});
  int answered = 0, failed = 0;
  auto ask = [&] {
    asio::co_spawn(loop_.context(), cache.ReviewToken("t"),
                   [&](std::exception_ptr, StatusOr<std::optional<User>> user) { ++(user.ok() ? answered : failed); });
  };
  for (int i = 0; i < 10; ++i) ask();
  loop_.RunReady();
  EXPECT_EQ(slow.asked, 1);
  // The one who asks gets the error; the others ask for themselves, one of them.
  slow.error = absl::UnavailableError("away");
  slow.gate.NotifyAll();
  loop_.RunReady();
  EXPECT_EQ(failed, 1);
  EXPECT_EQ(slow.asked, 2);
  slow.error = absl::OkStatus();
  slow.gate.NotifyAll();
  loop_.RunReady();
  EXPECT_EQ(answered, 9);
  EXPECT_EQ(slow.asked, 2);
}

TEST_F(CacheTest, ItDoesNotGrowWithoutEnd) {
  for (int i = 0; i < 4200; ++i) (void)Token(absl::StrCat("t", i));
  EXPECT_EQ(source_.token_reviews, 4200);
}

}  // namespace
}  // namespace vck::kubeletapi
