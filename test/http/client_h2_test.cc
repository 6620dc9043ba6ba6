#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "http/client.h"
#include "http/h2_server.h"
#include "http/net.h"

namespace vck::http {
namespace {

using testing::H2Behaviour;
using testing::H2Server;
using testing::Net;
using testing::Pki;
using Answer = H2Server::Answer;
using In = H2Server::Request;

constexpr uint32_t kRefusedStream = 7;  // RFC 9113 §7
constexpr uint32_t kInternalError = 2;

class ClientH2 : public ::testing::Test {
 protected:
  ~ClientH2() override { net_.Stop(); }
  H2Server& Serve(H2Server::Handler handler, H2Behaviour behaviour = {}) {
    server_ = std::make_unique<H2Server>(net_, std::move(handler), behaviour);
    return *server_;
  }
  std::shared_ptr<Client> NewClient(ClientOptions options = {}) {
    options.origin = {.scheme = "https", .host = "127.0.0.1", .port = server_->port()};
    options.tls = Pki::Get().Client();
    return net_.NewClient(std::move(options));
  }
  void Pause(int milliseconds) { net_.Run(net_.clock().Sleep(absl::Milliseconds(milliseconds))); }

  Net net_;
  std::unique_ptr<H2Server> server_;
};

Answer EchoAnswer(const In& in) { return {.body = absl::StrCat(in.method, " ", in.path, " ", in.body)}; }

Task<Status> Expect(Client* client, Request request, std::string body) {
  auto response = co_await client->Do(std::move(request));
  if (!response.ok()) co_return response.status();
  EXPECT_EQ(response->body, body);
  co_return absl::OkStatus();
}

TEST_F(ClientH2, RequestAndResponse) {
  Serve(EchoAnswer);
  auto client = NewClient();
  auto response = net_.Run(client->Do({.method = "POST", .target = "/a?b", .headers = {{"X-A", "b"}}, .body = "hi"}));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, "POST /a?b hi");
  EXPECT_EQ(response->headers.Get("X-Test"), "yes");
  EXPECT_EQ(client->stats().open_connections, 1);
}

TEST_F(ClientH2, ManyStreamsShareAConnection) {
  Serve(EchoAnswer, {.max_concurrent_streams = 1000});
  auto client = NewClient();
  TaskGroup group(net_.executor());
  for (int i = 0; i < 500; ++i) {
    group.Spawn("call", Expect(client.get(), {.target = absl::StrCat("/", i)}, absl::StrCat("GET /", i, " ")));
  }
  EXPECT_EQ(net_.Run(group.Join()), absl::OkStatus());
  // Before the first SETTINGS no more than 100 were risked, so a second connection may have been opened.
  EXPECT_LE(server_->connections(), 5u);
  EXPECT_EQ(server_->requests(), 500);
}

TEST_F(ClientH2, ServersStreamLimitIsRespected) {
  Serve(EchoAnswer, {.max_concurrent_streams = 3});
  auto client = NewClient({.max_connections = 2});
  EXPECT_EQ(net_.Run(Expect(client.get(), {}, "GET / ")), absl::OkStatus());
  TaskGroup group(net_.executor());
  for (int i = 0; i < 60; ++i) group.Spawn("call", Expect(client.get(), {}, "GET / "));
  EXPECT_EQ(net_.Run(group.Join()), absl::OkStatus());
  EXPECT_LE(server_->most_streams(), 3u);
  EXPECT_LE(server_->connections(), 2u);
}

TEST_F(ClientH2, LargeBodiesBothWays) {
  Serve([](const In& in) -> Answer { return {.body = in.body + in.body}; });
  auto client = NewClient();
  std::string body;
  for (int i = 0; body.size() < 2'000'000; ++i) absl::StrAppend(&body, i, ",");
  EXPECT_EQ(net_.Run(Expect(client.get(), {.method = "POST", .body = body}, body + body)), absl::OkStatus());
}

TEST_F(ClientH2, Uploads) {
  Serve([](const In& in) -> Answer { return {.body = absl::StrCat(in.body.size())}; });
  auto client = NewClient();
  auto source = [](int pieces) -> BodySource {
    auto left = std::make_shared<int>(pieces);
    return [left]() -> Task<StatusOr<std::string>> {
      co_return (*left)-- > 0 ? std::string(100'000, 'x') : std::string();
    };
  };
  EXPECT_EQ(net_.Run(client->Upload({.method = "PUT"}, 1'000'000, source(10))).value().body, "1000000");
  EXPECT_EQ(net_.Run(client->Upload({.method = "PUT"}, -1, source(7))).value().body, "700000");
  EXPECT_EQ(net_.Run(client->Upload({.method = "PUT"}, 5, source(1))).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(net_.Run(client->Upload({.method = "PUT"}, -1, source(0))).value().body, "0");
}

TEST_F(ClientH2, SlowReaderHoldsBackItsOwnStreamOnly) {
  Serve([](const In& in) -> Answer {
    if (in.path == "/big") return {.body = std::string(3'000'000, 'x')};
    return EchoAnswer(in);
  });
  auto client = NewClient();
  std::vector<StreamingResponse> slow;
  for (int i = 0; i < 6; ++i) slow.push_back(net_.Run(client->Open({.target = "/big"})).value());
  Pause(100);
  // Each got its stream's window and no more, together more than the connection's.
  EXPECT_LE(server_->body_bytes_sent(), 6 * 256 * 1024);
  EXPECT_GT(server_->body_bytes_sent(), 1024 * 1024);
  EXPECT_EQ(net_.Run(Expect(client.get(), {}, "GET / ")), absl::OkStatus());
  size_t total = 0;
  while (true) {
    std::string piece = net_.Run(slow[0].body->Read()).value();
    if (piece.empty()) break;
    EXPECT_LE(piece.size(), 64u * 1024);
    total += piece.size();
  }
  EXPECT_EQ(total, 3'000'000u);
}

TEST_F(ClientH2, WatchDeliversAsItComes) {
  Serve([](const In&) -> Answer { return {.body = "event", .hold_open = true}; });
  auto client = NewClient();
  auto watch = net_.Run(client->Open({}));
  ASSERT_TRUE(watch.ok()) << watch.status();
  EXPECT_EQ(net_.Run(watch->body->Read()).value(), "event");
  TaskGroup group(net_.executor());
  auto read = [](BodyReader* body) -> Task<Status> { co_return (co_await body->Read()).status(); };
  group.Spawn("read", read(watch->body.get()));
  Pause(10);
  server_->CloseAll();
  EXPECT_EQ(net_.Run(group.Join()).code(), absl::StatusCode::kUnavailable);
  // And the next request gets a new connection.
  EXPECT_TRUE(net_.Run(client->Open({})).ok());
  EXPECT_EQ(server_->connections(), 2u);
}

TEST_F(ClientH2, AbandonedStreamIsReset) {
  Serve([](const In& in) -> Answer {
    return {.body = "x", .hold_open = in.path == "/watch", .never = in.path == "/never"};
  });
  auto client = NewClient();
  auto watch = net_.Run(client->Open({.target = "/watch"}));
  watch->body.reset();
  Pause(20);
  EXPECT_EQ(server_->resets_seen(), 1);
  auto late = net_.Run(client->Do({.target = "/never"}, {.timeout = absl::Milliseconds(30)}));
  EXPECT_EQ(late.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(late.status().GetPayload(kMaybeSent).has_value());
  Pause(20);
  EXPECT_EQ(server_->resets_seen(), 2);
  EXPECT_EQ(net_.Run(Expect(client.get(), {}, "x")), absl::OkStatus());
  EXPECT_EQ(server_->connections(), 1u);
}

TEST_F(ClientH2, RefusedStreamIsRepeatedAlsoForPost) {
  int refused = 0;
  Serve([&refused](const In& in) -> Answer {
    if (refused++ < 2) return {.reset = kRefusedStream};
    return EchoAnswer(in);
  });
  auto client = NewClient();
  EXPECT_EQ(net_.Run(Expect(client.get(), {.method = "POST"}, "POST / ")), absl::OkStatus());
  net_.Stop();
}

TEST_F(ClientH2, AlwaysRefusedIsUnavailableAndNotSent) {
  Serve([](const In&) -> Answer { return {.reset = kRefusedStream}; });
  auto client = NewClient();
  auto status = net_.Run(client->Do({.method = "POST"})).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(status.GetPayload(kMaybeSent).has_value());
}

TEST_F(ClientH2, ResetIsUnavailableAndMaybeSent) {
  Serve([](const In&) -> Answer { return {.reset = kInternalError}; });
  auto client = NewClient();
  auto status = net_.Run(client->Do({.method = "POST"})).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(status.GetPayload(kMaybeSent).has_value());
  EXPECT_EQ(server_->requests(), 1);
}

TEST_F(ClientH2, GoawayMovesNewRequestsAndFinishesOldOnes) {
  Serve([](const In& in) -> Answer {
    Answer answer = EchoAnswer(in);
    answer.last = in.path == "/last";
    answer.hold_open = in.path == "/watch";
    return answer;
  });
  auto client = NewClient();
  auto watch = net_.Run(client->Open({.target = "/watch"}));
  ASSERT_TRUE(watch.ok());
  EXPECT_EQ(net_.Run(Expect(client.get(), {.target = "/last"}, "GET /last ")), absl::OkStatus());
  Pause(10);
  EXPECT_EQ(net_.Run(Expect(client.get(), {}, "GET / ")), absl::OkStatus());
  EXPECT_EQ(server_->connections(), 2u);
  EXPECT_EQ(net_.Run(watch->body->Read()).value(), "GET /watch ");
  EXPECT_EQ(client->stats().open_connections, 2);
  watch->body.reset();
  Pause(20);
  EXPECT_EQ(client->stats().open_connections, 1);
}

TEST_F(ClientH2, RequestPastGoawayIsRepeated) {
  Serve([](const In& in) -> Answer {
    Answer answer = EchoAnswer(in);
    answer.refuse_by_goaway = in.connection == 0 && in.path == "/x";
    return answer;
  });
  auto client = NewClient();
  EXPECT_EQ(net_.Run(Expect(client.get(), {}, "GET / ")), absl::OkStatus());
  EXPECT_EQ(net_.Run(Expect(client.get(), {.method = "POST", .target = "/x"}, "POST /x ")), absl::OkStatus());
  EXPECT_EQ(server_->connections(), 2u);
}

TEST_F(ClientH2, PingFindsADeadConnection) {
  Serve([](const In&) -> Answer { return {.hold_open = true}; }, {.answer_pings = false});
  auto client = NewClient({.ping_interval = absl::Milliseconds(40)});
  auto watch = net_.Run(client->Open({}));
  ASSERT_TRUE(watch.ok()) << watch.status();
  auto piece = net_.Run(watch->body->Read());
  EXPECT_EQ(piece.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(piece.status().message().find("PING"), std::string::npos) << piece.status();
}

TEST_F(ClientH2, AnsweredPingsKeepAQuietConnection) {
  Serve([](const In&) -> Answer { return {.hold_open = true}; });
  auto client = NewClient({.ping_interval = absl::Milliseconds(20)});
  auto watch = net_.Run(client->Open({}));
  Pause(150);
  EXPECT_EQ(client->stats().open_connections, 1);
}

TEST_F(ClientH2, IdleConnectionIsClosed) {
  Serve(EchoAnswer);
  auto client = NewClient({.idle_timeout = absl::Milliseconds(30)});
  EXPECT_EQ(net_.Run(Expect(client.get(), {}, "GET / ")), absl::OkStatus());
  Pause(120);
  EXPECT_EQ(client->stats().open_connections, 0);
  EXPECT_EQ(net_.Run(Expect(client.get(), {}, "GET / ")), absl::OkStatus());
}

TEST_F(ClientH2, InformationalResponsesAndHeaderLimit) {
  Serve([](const In& in) -> Answer {
    Answer answer = EchoAnswer(in);
    answer.informational = true;
    if (in.path == "/long") answer.header_padding = 6000;
    return answer;
  });
  auto client = NewClient({.max_header_bytes = 4096});
  EXPECT_EQ(net_.Run(Expect(client.get(), {}, "GET / ")), absl::OkStatus());
  EXPECT_EQ(net_.Run(client->Do({.target = "/long"})).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(net_.Run(Expect(client.get(), {}, "GET / ")), absl::OkStatus());
}

TEST_F(ClientH2, NewTlsSettingsMeanANewConnection) {
  Serve(EchoAnswer);
  auto client = NewClient();
  EXPECT_EQ(net_.Run(Expect(client.get(), {}, "GET / ")), absl::OkStatus());
  client->SetTls(Pki::Get().Client());
  EXPECT_EQ(net_.Run(Expect(client.get(), {}, "GET / ")), absl::OkStatus());
  EXPECT_EQ(server_->connections(), 2u);
  EXPECT_EQ(client->stats().open_connections, 1);
}

TEST_F(ClientH2, ConnectFailureReachesAllThatWait) {
  Serve(EchoAnswer);
  auto client = net_.NewClient({.origin = {.scheme = "https", .host = "127.0.0.1", .port = server_->port()},
                                .tls = TlsContext::Client({.ca_pem = Pki::Make().ca_cert}).value()});
  TaskGroup group(net_.executor());
  int failed = 0;
  auto call = [](Client* c, int* count) -> Task<Status> {
    auto response = co_await c->Do({});
    if (absl::IsFailedPrecondition(response.status())) ++*count;
    co_return absl::OkStatus();
  };
  for (int i = 0; i < 5; ++i) group.Spawn("call", call(client.get(), &failed));
  EXPECT_EQ(net_.Run(group.Join()), absl::OkStatus());
  EXPECT_EQ(failed, 5);
}

TEST_F(ClientH2, CloseEndsWatches) {
  Serve([](const In&) -> Answer { return {.hold_open = true}; });
  auto client = NewClient();
  auto watch = net_.Run(client->Open({}));
  net_.Run(client->Close());
  EXPECT_EQ(net_.Run(watch->body->Read()).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(net_.Run(client->Do({})).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(client->stats().open_connections, 0);
}

// Client and server of the quiet watches are in this process.
TEST_F(ClientH2, QuietStreamsAreSmall) {
  Serve([](const In&) -> Answer { return {.body = "event", .hold_open = true}; }, {.max_concurrent_streams = 1000});
  auto client = NewClient();
  std::vector<StreamingResponse> watches;
  auto open = [&] {
    watches.push_back(net_.Run(client->Open({.target = "/api/v1/pods?watch=1"})).value());
    EXPECT_EQ(net_.Run(watches.back().body->Read()).value(), "event");
  };
  for (int i = 0; i < 50; ++i) open();
  double before = testing::HeapKiB();
  for (int i = 0; i < 400; ++i) open();
  double each = (testing::HeapKiB() - before) / 400;
  std::printf("heap of a quiet HTTP/2 stream, both ends: %.1f KiB\n", each);
  EXPECT_LT(each, 16);
  EXPECT_EQ(server_->connections(), 1u);
}

}  // namespace
}  // namespace vck::http
