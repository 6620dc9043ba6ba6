#include "http/server.h"

#include "absl/strings/str_cat.h"
#include "async/timeout.h"
#include "async/wait.h"
#include "gtest/gtest.h"
#include "http/net.h"

namespace vck::http {
namespace {

using testing::Net;
using testing::Pki;
using testing::ReadAll;
using testing::ReadUntil;

Task<Status> Echo(Exchange& exchange) {
  const Request& r = exchange.request();
  std::string body = absl::StrCat(r.method, " ", r.target, " ", r.body, "\n");
  co_return co_await exchange.Respond({200, {}, body});
}

class ServerTest : public ::testing::Test {
 protected:
  // Sends `text` and returns all that comes until the server closes.
  std::string Raw(Server& server, std::string text, bool half_close = true) {
    auto run = [](Clock* clock, uint16_t port, std::string data, bool end) -> Task<std::string> {
      auto stream = (co_await Dial(*clock, "127.0.0.1", port, nullptr, {})).value();
      (void)co_await stream->Write(data);
      if (end) co_await stream->ShutdownWrite();
      co_return co_await ReadAll(*stream);
    };
    return net_.Run(run(&net_.clock(), server.port(), std::move(text), half_close));
  }
  std::unique_ptr<Stream> Connect(Server& server) {
    return net_.Run(Dial(net_.clock(), "127.0.0.1", server.port(), nullptr, {})).value();
  }
  Net net_;
};

TEST_F(ServerTest, PipelinedRequestsAreAnsweredInOrder) {
  auto& server = net_.Serve({}, Echo);
  EXPECT_EQ(Raw(server,
                "GET /a HTTP/1.1\r\nHost: h\r\n\r\nPOST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"
                "PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
            "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nGET /a \n"
            "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nPOST /b hi\n"
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nPUT /c x\n");
}

TEST_F(ServerTest, RequestInAnyPieces) {
  auto& server = net_.Serve({}, Echo);
  const std::string text = "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi";
  auto stream = Connect(server);
  auto exchange = [](Stream* s, std::string a, std::string b) -> Task<std::string> {
    if (!a.empty()) (void)co_await s->Write(a);
    for (int i = 0; i < 4; ++i) co_await Yield();
    (void)co_await s->Write(b);
    co_return co_await ReadUntil(*s, "\n\n");
  };
  for (size_t cut = 0; cut < text.size(); ++cut) {
    std::string answer = net_.Run(exchange(stream.get(), text.substr(0, cut), text.substr(cut) + "GET /\n"));
    ASSERT_NE(answer.find("POST /b hi\n"), std::string::npos) << cut;
    stream = Connect(server);
  }
}

TEST_F(ServerTest, EmptyChunkedBodyByteByByte) {
  auto& server = net_.Serve({}, Echo);
  auto stream = Connect(server);
  auto exchange = [](Stream* s) -> Task<std::string> {
    for (char c :
         std::string_view("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n")) {
      (void)co_await s->Write(std::string_view(&c, 1));
      for (int i = 0; i < 4; ++i) co_await Yield();
    }
    co_return co_await ReadUntil(*s, "PUT / \n");
  };
  EXPECT_TRUE(net_.Run(exchange(stream.get())).starts_with("HTTP/1.1 200 OK"));
}

TEST_F(ServerTest, RefusesBadRequests) {
  auto& server = net_.Serve({.max_header_bytes = 1000, .max_body_bytes = 10}, Echo);
  EXPECT_TRUE(Raw(server, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
  EXPECT_TRUE(Raw(server, "GET / HTTP/1.1\r\nHost: h\r\nbad field\r\n\r\n").starts_with("HTTP/1.1 400 "));
  EXPECT_TRUE(Raw(server, "GET / HTTP/1.1\r\nX: " + std::string(2000, 'x') + "\r\n\r\n").starts_with("HTTP/1.1 431 "));
  EXPECT_TRUE(Raw(server, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n").starts_with("HTTP/1.1 413 "));
  EXPECT_TRUE(
      Raw(server, "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n")
          .starts_with("HTTP/1.1 413 "));
  // Two lengths are how requests are smuggled.
  EXPECT_TRUE(
      Raw(server, "PUT / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab").starts_with("HTTP/1.1 400 "));
}

TEST_F(ServerTest, LargeRefusedBodyStillGetsItsAnswer) {
  auto& server = net_.Serve({.max_body_bytes = 1000}, Echo);
  auto client = net_.NewClient({.origin = {.scheme = "http", .host = "127.0.0.1", .port = server.port()}});
  auto response = net_.Run(client->Do({.method = "POST", .body = std::string(8'000'000, 'x')}));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->status, 413);
}

TEST_F(ServerTest, ClosesWhatIsTooSlow) {
  auto& server = net_.Serve({.header_timeout = absl::Milliseconds(40), .idle_timeout = absl::Milliseconds(40)}, Echo);
  EXPECT_EQ(Raw(server, "", false), "");
  EXPECT_EQ(Raw(server, "GET / HT", false), "");
  EXPECT_EQ(Raw(server, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n1", false), "");
}

TEST_F(ServerTest, ConnectionCloseAndHttp10) {
  auto& server = net_.Serve({}, Echo);
  EXPECT_EQ(Raw(server, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false),
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 7\r\n\r\nGET / \n");
  EXPECT_EQ(Raw(server, "GET / HTTP/1.0\r\n\r\n", false),
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 7\r\n\r\nGET / \n");
}

TEST_F(ServerTest, ExpectContinue) {
  auto& server = net_.Serve({}, Echo);
  EXPECT_TRUE(Raw(server, "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", true)
                  .starts_with("HTTP/1.1 100 Continue\r\n\r\n"));
}

Task<Status> Stream3(Exchange& exchange) {
  CO_RETURN_IF_ERROR(co_await exchange.Begin(200, {{"X-A", "b"}}));
  for (const char* piece : {"one", "", "two"}) CO_RETURN_IF_ERROR(co_await exchange.WriteSome(piece));
  if (exchange.request().target == "/unfinished") co_return absl::OkStatus();
  co_return co_await exchange.Finish();
}

TEST_F(ServerTest, StreamedResponses) {
  auto& server = net_.Serve({}, Stream3);
  EXPECT_EQ(Raw(server, "GET / HTTP/1.1\r\nHost: h\r\n\r\nHEAD / HTTP/1.1\r\nHost: h\r\n\r\n"),
            "HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
            "HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n");
  EXPECT_TRUE(Raw(server, "GET / HTTP/1.0\r\n\r\n", false).ends_with("\r\n\r\nonetwo"));
  EXPECT_TRUE(Raw(server, "GET /unfinished HTTP/1.1\r\nHost: h\r\n\r\n", false).ends_with("two\r\n"));
}

TEST_F(ServerTest, NoAnswerIs500AndTwoAreRefused) {
  auto& server = net_.Serve({}, [](Exchange& exchange) -> Task<Status> {
    if (exchange.request().target == "/none") co_return absl::InternalError("secret");
    CO_RETURN_IF_ERROR(co_await exchange.Respond({204, {}, ""}));
    EXPECT_EQ((co_await exchange.Respond({200, {}, ""})).code(), absl::StatusCode::kFailedPrecondition);
    co_return absl::OkStatus();
  });
  std::string answer = Raw(server, "GET /none HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 500 ")) << answer;
  EXPECT_EQ(answer.find("secret"), std::string::npos);
  EXPECT_EQ(Raw(server, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"), "HTTP/1.1 204 No Content\r\n\r\n");
}

TEST_F(ServerTest, UpgradeHandsOverTheStream) {
  auto& server = net_.Serve({}, [](Exchange& exchange) -> Task<Status> {
    if (!exchange.request().headers.Get("Upgrade")) co_return co_await exchange.Respond({426, {}, "upgrade!"});
    std::string leftover;
    CO_ASSIGN_OR_RETURN(auto stream, co_await exchange.Upgrade({{"Upgrade", "x"}}, &leftover));
    std::string all = leftover;
    if (!all.ends_with("bye")) all += co_await ReadUntil(*stream, "bye");
    std::string answer = "got " + all;
    co_return co_await stream->Write(answer);
  });
  auto stream = Connect(server);
  std::string leftover;
  auto response = net_.Run(Upgrade(*stream, {.headers = {{"Host", "h"}}}, &leftover));
  EXPECT_EQ(response.value().status, 426);
  EXPECT_EQ(response.value().body, "upgrade!");
  response =
      net_.Run(Upgrade(*stream, {.headers = {{"Host", "h"}, {"Connection", "Upgrade"}, {"Upgrade", "x"}}}, &leftover));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->status, 101);
  EXPECT_TRUE(net_.Run(stream->Write("hello bye")).ok());
  EXPECT_EQ(leftover + net_.Run(ReadAll(*stream)), "got hello bye");
}

TEST_F(ServerTest, HandlerLearnsThatTheClientHasGone) {
  Event gone;
  Net::StopFirst stop{net_};
  auto& server = net_.Serve({}, [&gone](Exchange& exchange) -> Task<Status> {
    CO_RETURN_IF_ERROR(co_await exchange.Begin(200, {}));
    co_await exchange.WaitClosed();
    gone.Set();
    co_return absl::OkStatus();
  });
  auto stream = Connect(server);
  EXPECT_TRUE(net_.Run(stream->Write("GET / HTTP/1.1\r\nHost: h\r\n\r\n")).ok());
  (void)net_.Run(ReadUntil(*stream, "\r\n\r\n"));
  EXPECT_FALSE(gone.IsSet());
  stream.reset();
  net_.Run(gone.Wait());
}

TEST_F(ServerTest, CancelEndsConnectionsAndHandlers) {
  TaskGroup group(net_.executor());
  int unwound = 0;
  auto server = Server::Listen(net_.executor(), net_.clock(), {}, [&](Exchange&) -> Task<Status> {
                  try {
                    co_await net_.clock().Sleep(absl::Hours(1));
                  } catch (const boost::system::system_error&) {
                    ++unwound;
                    throw;
                  }
                  co_return absl::OkStatus();
                }).value();
  group.Spawn("server", server->Run());
  auto busy = Connect(*server);
  auto idle = Connect(*server);
  EXPECT_TRUE(net_.Run(busy->Write("GET / HTTP/1.1\r\nHost: h\r\n\r\n")).ok());
  net_.Run(net_.clock().Sleep(absl::Milliseconds(20)));
  group.Cancel();
  EXPECT_TRUE(net_.Run(group.Join()).ok());
  EXPECT_EQ(unwound, 1);
  EXPECT_EQ(net_.Run(ReadAll(*busy)), "");
  EXPECT_EQ(net_.Run(ReadAll(*idle)), "");
}

TEST_F(ServerTest, TooManyConnectionsAreClosed) {
  auto& server = net_.Serve({.max_connections = 1}, Echo);
  auto first = Connect(server);
  net_.Run(net_.clock().Sleep(absl::Milliseconds(10)));
  EXPECT_EQ(Raw(server, "", false), "");
  first.reset();
  net_.Run(net_.clock().Sleep(absl::Milliseconds(10)));
  EXPECT_NE(Raw(server, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"), "");
}

TEST_F(ServerTest, ListenErrors) {
  auto& server = net_.Serve({}, Echo);
  auto listen = [&](ServerOptions options) {
    return Server::Listen(net_.executor(), net_.clock(), std::move(options), Echo).status().code();
  };
  EXPECT_EQ(listen({.port = server.port()}), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(listen({.address = "localhost"}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(listen({.address = "203.0.113.1"}), absl::StatusCode::kInvalidArgument);
}

TEST_F(ServerTest, ManyListenersOnOnePort) {
  auto& first = net_.Serve({.address = "127.1.0.1"}, Echo);
  for (int i = 2; i < 200; ++i) net_.Serve({.address = absl::StrCat("127.1.0.", i), .port = first.port()}, Echo);
  for (int i = 1; i < 200; i += 66) {
    auto client =
        net_.NewClient({.origin = {.scheme = "http", .host = absl::StrCat("127.1.0.", i), .port = first.port()}});
    EXPECT_EQ(net_.Run(client->Do({})).value().body, "GET / \n");
  }
}

// Both ends, with client certificates, are in this process.
TEST_F(ServerTest, IdleTlsConnectionsAreSmall) {
  const Pki& pki = Pki::Get();
  auto& server = net_.Serve({.tls = pki.Server(true)}, Echo);
  auto tls = pki.Client({.client_cert_pem = pki.client_cert, .client_key_pem = pki.client_key});
  auto talk = [](Clock* clock, uint16_t port, std::shared_ptr<TlsContext> context) -> Task<std::unique_ptr<Stream>> {
    auto stream = (co_await Dial(*clock, "127.0.0.1", port, context, {})).value();
    (void)co_await stream->Write("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    (void)co_await ReadUntil(*stream, "GET / \n");
    co_return std::move(stream);
  };
  constexpr int kCount = 50;
  std::vector<std::unique_ptr<Stream>> streams;
  for (int i = 0; i < 20; ++i) streams.push_back(net_.Run(talk(&net_.clock(), server.port(), tls)));
  double before = testing::HeapKiB();
  for (int i = 0; i < kCount; ++i) streams.push_back(net_.Run(talk(&net_.clock(), server.port(), tls)));
  double both = (testing::HeapKiB() - before) / kCount;
  // Dropping the client's streams leaves the server's ends, which are gone once their coroutines have run.
  before = testing::HeapKiB();
  streams.clear();
  double client = (before - testing::HeapKiB()) / (kCount + 20);
  std::printf("heap of an idle TLS connection: client %.1f KiB, server %.1f KiB\n", client, both - client);
  EXPECT_LT(both, 60);
}

TEST_F(ServerTest, ListenersAndTlsSettingsAreSmall) {
  const Pki& pki = Pki::Get();
  auto tls = pki.Server(true);
  constexpr int kCount = 50;
  double before = testing::HeapKiB();
  for (int i = 0; i < kCount; ++i) net_.Serve({.tls = tls}, Echo);
  net_.Run(net_.clock().Sleep(absl::Milliseconds(10)));
  double listener = (testing::HeapKiB() - before) / kCount;
  std::vector<std::shared_ptr<TlsContext>> contexts;
  before = testing::HeapKiB();
  for (int i = 0; i < kCount; ++i) contexts.push_back(pki.Server(true));
  std::printf("heap of a listener: %.1f KiB, of a server's TLS settings: %.1f KiB\n", listener,
              (testing::HeapKiB() - before) / kCount);
  EXPECT_LT(listener, 8);
}

// The name has addresses of both families here or only one; the server listens on one of them.
TEST_F(ServerTest, NamesAreResolvedAndAllTheirAddressesTried) {
  auto& server = net_.Serve({}, Echo);
  auto client = net_.NewClient({.origin = {.scheme = "http", .host = "localhost", .port = server.port()}});
  EXPECT_EQ(net_.Run(client->Do({})).value().body, "GET / \n");
  auto nowhere = net_.NewClient({.origin = {.scheme = "http", .host = "name.invalid", .port = 1}});
  auto status = net_.Run(nowhere->Do({}, {.timeout = absl::Milliseconds(500)})).status();
  EXPECT_TRUE(absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) << status;
  EXPECT_FALSE(status.GetPayload(kMaybeSent).has_value());
}

}  // namespace
}  // namespace vck::http
