// Probes and hooks on real sockets.
#include "tether/prober.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "http/net.h"
#include "tether/fake_prober.h"
#include "tether/fake_runtime.h"
#include "tether/grpc_health.h"
#include "tether/http_get.h"

namespace vck::tether {
namespace {

using guestapi::Handler;
using http::testing::Net;
using http::testing::Pki;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Outcome = HandlerResult::Outcome;

std::string_view Name(Outcome outcome) {
  constexpr std::string_view kNames[] = {"success", "warning", "failure", "error"};
  return kNames[static_cast<size_t>(outcome)];
}

class ProberTest : public ::testing::Test {
 protected:
  ProberTest() { runtime_.Start("run", 0, {}); }

  Handler Http(uint16_t port, std::string path = "/") {
    return {.kind = Handler::Kind::kHttp, .port = port, .path = std::move(path)};
  }
  // "success: output"
  std::string Probe(Handler handler, absl::Duration timeout = absl::Seconds(10), const std::string& run = "run") {
    return Text(net_.Run(prober_->Probe(run, std::move(handler), timeout)));
  }
  std::string Hook(Handler handler, absl::Duration timeout = absl::Seconds(10)) {
    return Text(net_.Run(prober_->Hook("run", HookKind::kPreStop, std::move(handler), timeout)));
  }
  static std::string Text(const HandlerResult& result) {
    return absl::StrCat(Name(result.outcome), ": ", result.output);
  }

  // Answers by path: "/404" with that status, "/to?URL" with a redirect; remembers the last request.
  static Task<Status> Answer(http::Request* last, http::Exchange* exchange) {
    const http::Request& request = *last = exchange->request();
    http::Response response{.status = 200, .body = "fine"};
    if (absl::StartsWith(request.target, "/to?")) {
      response.status = 302;
      response.headers.Add("Location", request.target.substr(4));
    } else if (int status = 0; absl::SimpleAtoi(request.target.substr(1), &status)) {
      response.status = status;
    } else if (request.target == "/large") {
      response.body = std::string(100000, 'x');
    }
    return exchange->Respond(std::move(response));
  }
  uint16_t Serve(http::ServerOptions options = {}) {
    return net_.Serve(std::move(options), [this](http::Exchange& e) { return Answer(&last_, &e); }).port();
  }
  // A port on which nobody listens.
  uint16_t DeadPort() {
    asio::io_context context;
    asio::basic_socket_acceptor<asio::ip::tcp, Executor> acceptor(context.get_executor());
    acceptor.open(asio::ip::tcp::v4());
    acceptor.bind({asio::ip::make_address("127.0.0.1"), 0});
    return acceptor.local_endpoint().port();
  }

  Net net_;
  http::Request last_;
  FakeRuntime runtime_{net_.clock(), [](const Event&) {}};
  std::unique_ptr<Prober> prober_ = MakeProber(net_.clock(), runtime_, "127.0.0.1");
};

TEST_F(ProberTest, HttpIsFineFrom200To399) {
  const uint16_t port = Serve();
  EXPECT_EQ(Probe(Http(port)), "success: fine");
  EXPECT_EQ(Probe(Http(port, "/299")), "success: fine");
  EXPECT_EQ(Probe(Http(port, "/304")), "warning: Probe terminated redirects, Response body: ");
  EXPECT_EQ(Probe(Http(port, "/302")), "warning: Probe terminated redirects, Response body: fine");
  EXPECT_EQ(Probe(Http(port, "/400")), "failure: HTTP probe failed with statuscode: 400");
  EXPECT_EQ(Probe(Http(port, "/503")), "failure: HTTP probe failed with statuscode: 503");
  EXPECT_EQ(Probe(Http(port, "/large")).size(), std::string("success: ").size() + 10240);
}

TEST_F(ProberTest, HttpFollowsRedirectsOnTheSameHost) {
  const uint16_t port = Serve();
  const std::string here = absl::StrCat("127.0.0.1:", port);
  EXPECT_EQ(Probe(Http(port, "/to?/204")), "success: ");
  EXPECT_EQ(Probe(Http(port, "/to?http://" + here + "/500")), "failure: HTTP probe failed with statuscode: 500");
  EXPECT_EQ(Probe(Http(port, "/to?to?/to?/200")), "success: fine");
  EXPECT_THAT(Probe(Http(port, "/to?http://elsewhere.test/")), StartsWith("warning: Probe terminated redirects"));
  EXPECT_THAT(Probe(Http(port, "/to?ftp://127.0.0.1/")), HasSubstr("failure: Get \"ftp://127.0.0.1/\": unsupported"));
  auto& looping = net_.Serve({}, [](http::Exchange& e) -> Task<Status> {
    http::Response response{.status = 301, .headers = {{"Location", "/again"}}};
    return e.Respond(std::move(response));
  });
  EXPECT_EQ(Probe(Http(looping.port())), "failure: Get \"/again\": stopped after 10 redirects");
}

TEST_F(ProberTest, HttpSendsWhatTheKubeletSends) {
  const uint16_t port = Serve();
  Handler handler = Http(port, "a b?x=<1>#frag");
  Probe(handler);
  EXPECT_EQ(last_.target, "/a%20b?x=%3c1%3e");
  EXPECT_EQ(last_.headers.Get("User-Agent"), "kube-probe/1.36");
  EXPECT_EQ(last_.headers.Get("Accept"), "*/*");
  EXPECT_EQ(last_.headers.Get("Host"), absl::StrCat("127.0.0.1:", port));
  EXPECT_EQ(last_.headers.Get("Connection"), "close");
  handler.headers = {{"host", "web.test"}, {"user-agent", "me"}, {"Accept", ""}, {"X-A", "1"}, {"X-A", "2"}};
  Probe(handler);
  EXPECT_EQ(last_.headers.Get("Host"), "web.test");
  EXPECT_EQ(last_.headers.Get("User-Agent"), "me");
  EXPECT_FALSE(last_.headers.Get("Accept"));
  EXPECT_EQ(std::count_if(last_.headers.fields().begin(), last_.headers.fields().end(),
                          [](const auto& field) { return field.first == "X-A"; }),
            2);
  Hook(Http(port));
  EXPECT_EQ(last_.headers.Get("User-Agent"), "kube-lifecycle/1.36");
}

TEST_F(ProberTest, HttpTellsWhatWentWrong) {
  const uint16_t dead = DeadPort();
  const std::string url = absl::StrCat("Get \"http://127.0.0.1:", dead, "/\": ");
  EXPECT_EQ(Probe(Http(dead)),
            absl::StrCat("failure: ", url, "dial tcp 127.0.0.1:", dead, ": connect: connection refused"));
  auto& silent = net_.Peer([](http::Stream& stream, int) -> Task<> { co_await http::testing::ReadAll(stream); });
  EXPECT_THAT(Probe(Http(silent.port()), absl::Milliseconds(50)), HasSubstr("context deadline exceeded"));
  auto& closing = net_.Peer([](http::Stream& stream, int) -> Task<> {
    co_await http::testing::ReadUntil(stream, "\r\n\r\n");
    stream.Close();
  });
  EXPECT_THAT(Probe(Http(closing.port())), StartsWith("failure: Get "));
  auto& nonsense = net_.Peer([](http::Stream& stream, int) -> Task<> {
    (void)co_await stream.Write("SSH-2.0-OpenSSH\r\n\r\n");
    co_await http::testing::ReadAll(stream);
  });
  EXPECT_THAT(Probe(Http(nonsense.port())), StartsWith("failure: Get "));
  EXPECT_EQ(Probe(Http(0)), "error: couldn't find a port of that name");
  Handler host = Http(80);
  host.host = "no-such-host.invalid";
  EXPECT_THAT(Probe(host), HasSubstr("could not be resolved"));
}

TEST_F(ProberTest, HttpsVerifiesNothing) {
  http::ServerOptions options;
  options.tls = Pki::Get().Server();
  Handler handler = Http(Serve(std::move(options)));
  handler.https = true;
  EXPECT_EQ(Probe(handler), "success: fine");
  Handler plain = Http(Serve());
  plain.https = true;
  EXPECT_THAT(Probe(plain), HasSubstr("http: server gave HTTP response to HTTPS client"));
  plain.headers = {{"Authorization", "Basic eA=="}};
  EXPECT_EQ(Hook(plain), "success: ") << "of a hook, that is forgiven";
  EXPECT_FALSE(last_.headers.Get("Authorization"));
}

TEST_F(ProberTest, AHookLooksAtNoStatus) {
  const uint16_t port = Serve();
  EXPECT_EQ(Hook(Http(port, "/500")), "success: ");
  EXPECT_THAT(Hook(Http(DeadPort())), HasSubstr("connection refused"));
}

TEST_F(ProberTest, TcpNeedsSomebodyWhoListens) {
  Handler handler{.kind = Handler::Kind::kTcp, .port = Serve()};
  EXPECT_EQ(Probe(handler), "success: ");
  handler.port = DeadPort();
  EXPECT_EQ(Probe(handler),
            absl::StrCat("failure: dial tcp 127.0.0.1:", handler.port, ": connect: connection refused"));
  handler.host = "127.0.0.1";
  handler.port = Serve();
  EXPECT_EQ(Probe(handler), "success: ");
  EXPECT_EQ(Hook(handler), "failure: invalid handler") << "as the kubelet";
}

TEST_F(ProberTest, ExecIsTheRuntimes) {
  Handler handler{.kind = Handler::Kind::kExec, .command = {"true"}};
  EXPECT_EQ(Probe(handler), "success: ");
  EXPECT_EQ(Hook(handler), "success: ");
  handler.command = {"sh", "-c", "exit 3"};
  EXPECT_EQ(Probe(handler), "failure: ");
  EXPECT_EQ(Hook(handler), "failure: command exited with 3, message: \"\"");
  handler.command = {"sleep", "100"};
  EXPECT_EQ(Probe(handler, absl::Milliseconds(20)), "failure: command timed out: timeout 20ms exceeded");
  EXPECT_EQ(Probe(handler, absl::Seconds(1), "another"), "error: no such run");
}

TEST_F(ProberTest, SleepEndsWithTheGraceAtTheLatest) {
  Handler handler{.kind = Handler::Kind::kSleep, .seconds = 0};
  EXPECT_EQ(Hook(handler, absl::InfiniteDuration()), "success: ");
  handler.seconds = 3600;
  EXPECT_EQ(Hook(handler, absl::Milliseconds(20)), "success: ");
  EXPECT_EQ(Probe(handler), "error: invalid handler");
}

// ---- gRPC: an HTTP/2 server's frames, by hand ----

std::string H2Frame(char type, char flags, char stream, const std::string& payload) {
  std::string out;
  for (int shift = 16; shift >= 0; shift -= 8) out += static_cast<char>(payload.size() >> shift);
  return out + type + flags + std::string(3, '\0') + stream + payload;
}
// A header field, literal without indexing (RFC 7541 §6.2.2).
std::string Field(const std::string& name, const std::string& value) {
  return std::string(1, '\0') + static_cast<char>(name.size()) + name + static_cast<char>(value.size()) + value;
}
constexpr char kData = 0, kHeaders = 1, kReset = 3, kSettings = 4, kGoaway = 7;
constexpr char kEnd = 1, kEndHeaders = 4;

std::string Settings() { return H2Frame(kSettings, 0, 0, ""); }
std::string Served(char status) {
  std::string message = std::string("\0\0\0\0\2\x08", 6) + status;
  return Settings() + H2Frame(kHeaders, kEndHeaders, 1, "\x88" + Field("content-type", "application/grpc")) +
         H2Frame(kData, 0, 1, message) + H2Frame(kHeaders, kEndHeaders | kEnd, 1, Field("grpc-status", "0"));
}

TEST_F(ProberTest, GrpcAsksTheHealthService) {
  struct Case {
    std::string answer, text;
  } cases[] = {
      {Served(1), "success: service healthy"},
      {Served(2), "failure: service unhealthy (responded with \"NOT_SERVING\")"},
      {Served(0), "failure: service unhealthy (responded with \"UNKNOWN\")"},
      {Settings() + H2Frame(kHeaders, kEndHeaders | kEnd, 1,
                            "\x88" + Field("grpc-status", "12") + Field("grpc-message", "unknown%20service")),
       "failure: error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown "
       "service"},
      {Settings() + H2Frame(kHeaders, kEndHeaders | kEnd, 1,
                            "\x88" + Field("grpc-status", "5") + Field("grpc-message", "unknown service")),
       "failure: error: health rpc probe failed: rpc error: code = NotFound desc = unknown service"},
      {Settings() + H2Frame(kHeaders, kEndHeaders | kEnd, 1, "\x8d"),
       "failure: error: health rpc probe failed: rpc error: code = Unknown desc = unexpected HTTP status code received "
       "from server: 404"},
      {Settings() + H2Frame(kReset, 0, 1, std::string("\0\0\0\7", 4)),
       "failure: error: health rpc probe failed: rpc error: code = Unavailable desc = the server reset the stream: "
       "REFUSED_STREAM"},
  };
  for (const Case& c : cases) {
    std::string received;
    auto& peer = net_.Peer([&](http::Stream& stream, int) -> Task<> {
      received = co_await http::testing::ReadUntil(stream, "live/x");
      (void)co_await stream.Write(c.answer);
      co_await http::testing::ReadAll(stream);
    });
    Handler handler{.kind = Handler::Kind::kGrpc, .port = peer.port(), .service = "live/x"};
    EXPECT_EQ(Probe(handler), c.text);
    EXPECT_THAT(received, StartsWith("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
  }
}

TEST_F(ProberTest, GrpcTellsWhatWentWrong) {
  Handler handler{.kind = Handler::Kind::kGrpc, .port = DeadPort()};
  EXPECT_THAT(Probe(handler), HasSubstr("failure: timeout: failed to connect service \"127.0.0.1:"));
  handler.port = net_.Peer([](http::Stream& s, int) -> Task<> { co_await http::testing::ReadAll(s); }).port();
  EXPECT_EQ(Probe(handler, absl::Milliseconds(50)), "failure: timeout: health rpc did not complete within 50ms");
  handler.port = Serve();
  EXPECT_THAT(Probe(handler), HasSubstr("failure: error: health rpc probe failed")) << "HTTP/1.1 only";
  std::string endless = Settings() + H2Frame(kHeaders, kEndHeaders, 1, "\x88");
  for (int i = 0; i < 20; ++i) endless += H2Frame(kData, 0, 1, std::string(8000, 'x'));
  handler.port = net_.Peer([&](http::Stream& s, int) -> Task<> {
                       (void)co_await s.Write(endless);
                       co_await http::testing::ReadAll(s);
                     })
                     .port();
  EXPECT_THAT(Probe(handler), HasSubstr("too large"));
  const std::string goaway = Settings() + H2Frame(kGoaway, 0, 0, std::string(8, '\0'));
  handler.port = net_.Peer([&](http::Stream& s, int) -> Task<> {
                       (void)co_await s.Write(goaway);
                       s.Close();
                       co_return;
                     })
                     .port();
  EXPECT_THAT(Probe(handler), HasSubstr("failure: error: health rpc probe failed"));
  net_.Stop();
}

TEST(GrpcHealth, RequestsAreProtobuf) {
  EXPECT_EQ(GrpcHealthRequest(""), std::string(5, '\0'));
  EXPECT_EQ(GrpcHealthRequest("abc"), std::string("\0\0\0\0\5\x0a\3abc", 10));
  std::string longer = GrpcHealthRequest(std::string(300, 's'));
  EXPECT_EQ(longer.substr(0, 8), std::string("\0\0\0\1\x2f\x0a\xac\x02", 8));
}

TEST(GrpcHealth, AnswersThatCannotBeRead) {
  const http::Headers ok{{"grpc-status", "0"}};
  for (const std::string& body :
       {std::string(), std::string(4, '\0'), std::string("\1\0\0\0\2\x08\1", 7), std::string("\0\0\0\0\3\x08\1", 7),
        std::string("\0\0\0\0\1\x08", 6), std::string("\0\0\0\0\1\x0a", 6), std::string("\0\0\0\0\1\0", 6)}) {
    EXPECT_THAT(std::string(GrpcHealthAnswer(200, {}, ok, body).message()), HasSubstr("code = Internal"));
  }
  EXPECT_TRUE(GrpcHealthAnswer(200, {}, ok, std::string("\0\0\0\0\6\x12\2xx\x08\1", 11)).ok()) << "unknown fields";
  EXPECT_FALSE(GrpcHealthAnswer(200, {}, {}, "").ok());
}

TEST(HttpGet, LocationsAreResolved) {
  const GetTarget from{.host = "10.0.0.1", .port = 8080, .path = "/a/b?q"};
  struct Case {
    std::string_view location, url;
  } cases[] = {
      {"/x", "http://10.0.0.1:8080/x"},
      {"x", "http://10.0.0.1:8080/a/x"},
      {"../x/./y", "http://10.0.0.1:8080/x/y"},
      {"../../..", "http://10.0.0.1:8080/"},
      {"?z", "http://10.0.0.1:8080/a/b?z"},
      {"", "http://10.0.0.1:8080/a/b?q"},
      {"//h/x", "http://h:80/x"},
      {"https://h", "https://h:443/"},
      {"HTTP://u:p@h:81/x y#f", "http://h:81/x%20y"},
      {"http://[fd00::1]:82/", "http://[fd00::1]:82/"},
      {"http://[fd00::1]/", "http://[fd00::1]:80/"},
      {"/a:b", "http://10.0.0.1:8080/a:b"},
  };
  for (const Case& c : cases) {
    auto target = Redirect(from, c.location);
    ASSERT_TRUE(target.ok()) << c.location << target.status();
    EXPECT_EQ(target->Url(), c.url);
  }
  for (std::string_view bad : {"mailto:x", "http:", "http://", "http://h:0/", "http://h:x/", "http://[::1/"}) {
    EXPECT_FALSE(Redirect(from, bad).ok()) << bad;
  }
}

TEST(HttpGet, AddressesOfVersion6AreBracketed) {
  Handler handler{.kind = Handler::Kind::kHttp, .port = 80, .path = ""};
  EXPECT_EQ(TargetOf(handler, "fd00::1").Url(), "http://[fd00::1]:80/");
  handler.host = "[fd00::2]";
  EXPECT_EQ(TargetOf(handler, "fd00::1").host, "fd00::2");
}

}  // namespace
}  // namespace vck::tether
