#include <string>

#include "absl/strings/str_cat.h"
#include "async/timeout.h"
#include "async/wait.h"
#include "gtest/gtest.h"
#include "http/client.h"
#include "http/net.h"

namespace vck::http {
namespace {

using testing::Net;
using testing::ReadUntil;
using testing::ScriptedServer;

bool MaybeSent(const Status& status) { return status.GetPayload(kMaybeSent).has_value(); }

// Answers each request on a connection with the same text.
testing::Script Answers(std::string text) {
  return [text](Stream& stream, int) -> Task<> {
    while ((co_await ReadUntil(stream, "\r\n\r\n")).ends_with("\r\n\r\n")) {
      if (!(co_await stream.Write(text)).ok()) co_return;
    }
  };
}

class ClientH1 : public ::testing::Test {
 protected:
  std::shared_ptr<Client> NewClient(const ScriptedServer& peer, ClientOptions options = {}) {
    options.origin = peer.url();
    return net_.NewClient(std::move(options));
  }
  Net net_;
};

TEST_F(ClientH1, KeepsConnectionAlive) {
  auto& peer = net_.Peer(Answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"));
  auto client = NewClient(peer);
  for (int i = 0; i < 3; ++i) {
    auto response = net_.Run(client->Do({.target = "/x?y"}));
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->body, "hi");
  }
  EXPECT_EQ(peer.connections(), 1);
  EXPECT_EQ(client->stats().connections_opened, 1);
  EXPECT_EQ(client->stats().requests, 3);
  EXPECT_EQ(client->stats().open_connections, 1);
}

TEST_F(ClientH1, RequestOnTheWire) {
  std::string seen;
  Net::StopFirst stop{net_};
  auto& peer = net_.Peer([&seen](Stream& stream, int) -> Task<> {
    seen = co_await ReadUntil(stream, "body");
    (void)co_await stream.Write("HTTP/1.1 204 No Content\r\n\r\n");
  });
  auto client = NewClient(peer);
  auto response = net_.Run(client->Do(
      {.method = "POST", .target = "/a?b=c", .headers = {{"X-A", "1"}, {"Content-Length", "999"}}, .body = "body"}));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->status, 204);
  EXPECT_EQ(seen, absl::StrCat("POST /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:", peer.port(),
                               "\r\nX-A: 1\r\nContent-Length: 4\r\n\r\nbody"));
}

TEST_F(ClientH1, RefusesWhatWouldBecomeAnotherRequest) {
  auto& peer = net_.Peer(Answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  auto client = NewClient(peer);
  for (const Request& bad : {Request{.method = "GET X"}, Request{.target = "/a b"}, Request{.target = "/\r\nX: y"},
                             Request{.headers = {{"A", "b\r\nC: d"}}}, Request{.headers = {{"A:", "b"}}}}) {
    EXPECT_EQ(net_.Run(client->Do(bad)).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(peer.connections(), 0);
}

// The response cut in two at every byte, and then byte by byte.
TEST_F(ClientH1, ResponseInAnyPieces) {
  const std::string text =
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n"
      "5;ext=1\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\nTrailer: x\r\n\r\n";
  size_t cut = 0;
  Net::StopFirst stop{net_};
  auto& peer = net_.Peer([&text, &cut](Stream& stream, int) -> Task<> {
    while ((co_await ReadUntil(stream, "\r\n\r\n")).ends_with("\r\n\r\n")) {
      if (cut == text.size()) {
        for (char c : text) {
          (void)co_await stream.Write(std::string_view(&c, 1));
          co_await Yield();
        }
        continue;
      }
      (void)co_await stream.Write(std::string_view(text).substr(0, cut));
      for (int i = 0; i < 3; ++i) co_await Yield();
      (void)co_await stream.Write(std::string_view(text).substr(cut));
    }
  });
  auto client = NewClient(peer);
  for (cut = 0; cut <= text.size(); ++cut) {
    auto response = net_.Run(client->Do({}));
    ASSERT_TRUE(response.ok()) << cut << response.status();
    EXPECT_EQ(response->body, "hello world") << cut;
    EXPECT_EQ(response->headers.Get("X-A"), "b");
  }
  EXPECT_EQ(peer.connections(), 1);
}

// Cut off after every byte: an error, and never a shorter body.
TEST_F(ClientH1, CutAnywhereIsUnavailable) {
  std::string text;
  size_t cut = 0;
  Net::StopFirst stop{net_};
  auto& peer = net_.Peer([&text, &cut](Stream& stream, int) -> Task<> {
    (void)co_await ReadUntil(stream, "\r\n\r\n");
    (void)co_await stream.Write(std::string_view(text).substr(0, cut));
  });
  auto client = NewClient(peer);
  for (const char* whole : {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"}) {
    text = whole;
    for (cut = 0; cut < text.size(); ++cut) {
      auto response = net_.Run(client->Do({}));
      EXPECT_EQ(response.status().code(), absl::StatusCode::kUnavailable) << cut << response.status();
      EXPECT_TRUE(MaybeSent(response.status())) << cut;
    }
  }
}

TEST_F(ClientH1, BodyUntilTheEndOfTheConnection) {
  auto& peer = net_.Peer([](Stream& stream, int) -> Task<> {
    (void)co_await ReadUntil(stream, "\r\n\r\n");
    (void)co_await stream.Write("HTTP/1.0 200 OK\r\n\r\nall of it");
  });
  auto client = NewClient(peer);
  EXPECT_EQ(net_.Run(client->Do({})).value().body, "all of it");
  EXPECT_EQ(net_.Run(client->Do({})).value().body, "all of it");
  EXPECT_EQ(peer.connections(), 2);
}

TEST_F(ClientH1, ConnectionCloseIsHonoured) {
  auto& peer = net_.Peer(Answers("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"));
  auto client = NewClient(peer);
  EXPECT_TRUE(net_.Run(client->Do({})).ok());
  EXPECT_EQ(client->stats().open_connections, 0);
  EXPECT_TRUE(net_.Run(client->Do({})).ok());
  EXPECT_EQ(peer.connections(), 2);
}

TEST_F(ClientH1, HeadHasNoBody) {
  auto& peer = net_.Peer(Answers("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"));
  auto client = NewClient(peer);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(net_.Run(client->Do({.method = "HEAD"})).value().body, "");
  EXPECT_EQ(peer.connections(), 1);
}

// The server closes the idle connection: noticed before a request is risked on it, also for POST.
TEST_F(ClientH1, ClosedIdleConnectionIsNotUsed) {
  auto& peer = net_.Peer([](Stream& stream, int) -> Task<> {
    (void)co_await ReadUntil(stream, "\r\n\r\n");
    (void)co_await stream.Write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  });
  auto client = NewClient(peer);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(net_.Run(client->Do({.method = "POST"})).ok());
    net_.Run(net_.clock().Sleep(absl::Milliseconds(5)));
  }
  EXPECT_EQ(peer.connections(), 3);
}

// The server takes the second request of a connection and closes: repeated only where that is safe.
TEST_F(ClientH1, StaleConnectionIsRetriedWhenIdempotent) {
  auto& peer = net_.Peer([](Stream& stream, int) -> Task<> {
    (void)co_await ReadUntil(stream, "\r\n\r\n");
    (void)co_await stream.Write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    (void)co_await ReadUntil(stream, "\r\n\r\n");
  });
  auto client = NewClient(peer);
  EXPECT_TRUE(net_.Run(client->Do({})).ok());
  EXPECT_TRUE(net_.Run(client->Do({.method = "PUT"})).ok());
  EXPECT_EQ(peer.connections(), 2);
  auto response = net_.Run(client->Do({.method = "POST"}));
  EXPECT_EQ(response.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(MaybeSent(response.status()));
  EXPECT_EQ(peer.connections(), 2);
}

TEST_F(ClientH1, RefusedConnectionIsUnavailableAndNotSent) {
  uint16_t port = 0;
  {
    asio::basic_socket_acceptor<asio::ip::tcp, Executor> taken(net_.executor(),
                                                               {asio::ip::make_address("127.0.0.1"), 0});
    port = taken.local_endpoint().port();
  }
  auto client = net_.NewClient({.origin = {.scheme = "http", .host = "127.0.0.1", .port = port}});
  auto response = net_.Run(client->Do({}));
  EXPECT_EQ(response.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(MaybeSent(response.status()));
}

TEST_F(ClientH1, TimeOutAfterSendingSaysSo) {
  auto& peer = net_.Peer([](Stream& stream, int) -> Task<> { (void)co_await testing::ReadAll(stream); });
  auto client = NewClient(peer);
  auto response = net_.Run(client->Do({.method = "POST"}, {.timeout = absl::Milliseconds(50)}));
  EXPECT_EQ(response.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(MaybeSent(response.status()));
  EXPECT_EQ(client->stats().open_connections, 0);
}

TEST_F(ClientH1, WaitsForAFreeConnection) {
  Event go;
  Net::StopFirst stop{net_};
  auto& peer = net_.Peer([&go](Stream& stream, int) -> Task<> {
    while ((co_await ReadUntil(stream, "\r\n\r\n")).ends_with("\r\n\r\n")) {
      co_await go.Wait();
      (void)co_await stream.Write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
  });
  auto client = NewClient(peer, {.max_connections = 2});
  std::vector<int> order;
  auto call = [](Client* c, std::vector<int>* ended, int i) -> Task<Status> {
    auto response = co_await c->Do({});
    ended->push_back(i);
    co_return response.status();
  };
  TaskGroup group(net_.executor());
  for (int i = 0; i < 6; ++i) group.Spawn("call", call(client.get(), &order, i));
  // One that waits for its turn and runs out of time has sent nothing.
  auto late = net_.Run(client->Do({}, {.timeout = absl::Milliseconds(50)}));
  EXPECT_EQ(late.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(MaybeSent(late.status()));
  go.Set();
  EXPECT_TRUE(net_.Run(group.Join()).ok());
  EXPECT_EQ(order.size(), 6u);
  EXPECT_EQ(peer.connections(), 2);
}

TEST_F(ClientH1, CancelInMidCallFreesItsPlace) {
  auto& peer = net_.Peer([](Stream& stream, int number) -> Task<> {
    (void)co_await ReadUntil(stream, "\r\n\r\n");
    if (number > 0) (void)co_await stream.Write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    (void)co_await testing::ReadAll(stream);
  });
  auto client = NewClient(peer, {.max_connections = 1});
  TaskGroup group(net_.executor());
  auto call = [](Client* c) -> Task<Status> { co_return (co_await c->Do({})).status(); };
  group.Spawn("call", call(client.get()));
  net_.Run(net_.clock().Sleep(absl::Milliseconds(20)));
  EXPECT_EQ(client->stats().open_connections, 1);
  group.Cancel();
  EXPECT_TRUE(net_.Run(group.Join()).ok());
  EXPECT_EQ(client->stats().open_connections, 0);
  EXPECT_TRUE(net_.Run(client->Do({})).ok());
}

TEST_F(ClientH1, BodyLimits) {
  auto& peer = net_.Peer(Answers("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"));
  auto client = NewClient(peer);
  EXPECT_TRUE(net_.Run(client->Do({}, {.max_body_bytes = 10})).ok());
  EXPECT_EQ(net_.Run(client->Do({}, {.max_body_bytes = 9})).status().code(), absl::StatusCode::kResourceExhausted);
  auto& wordy = net_.Peer(Answers("HTTP/1.1 200 OK\r\nX: " + std::string(5000, 'x') + "\r\nContent-Length: 0\r\n\r\n"));
  auto small = NewClient(wordy, {.max_header_bytes = 4096});
  EXPECT_EQ(net_.Run(small->Do({})).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(ClientH1, StreamsAResponse) {
  Event more;
  Net::StopFirst stop{net_};
  auto& peer = net_.Peer([&more](Stream& stream, int) -> Task<> {
    while ((co_await ReadUntil(stream, "\r\n\r\n")).ends_with("\r\n\r\n")) {
      (void)co_await stream.Write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
      co_await more.Wait();
      (void)co_await stream.Write("3\r\ntwo\r\n0\r\n\r\n");
    }
  });
  auto client = NewClient(peer);
  auto response = net_.Run(client->Open({}));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(net_.Run(response->body->Read()).value(), "one");
  more.Set();
  EXPECT_EQ(net_.Run(response->body->Read()).value(), "two");
  EXPECT_EQ(net_.Run(response->body->Read()).value(), "");
  EXPECT_EQ(net_.Run(response->body->Read()).value(), "");
  EXPECT_EQ(client->stats().open_connections, 1);
  auto again = net_.Run(client->Open({}));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(peer.connections(), 1);
  again->body.reset();
  EXPECT_EQ(client->stats().open_connections, 0);
}

TEST_F(ClientH1, UploadsInPieces) {
  std::vector<std::string> seen;
  Net::StopFirst stop{net_};
  auto& peer = net_.Peer([&seen](Stream& stream, int) -> Task<> {
    for (const char* end : {"end", "0\r\n\r\n"}) {
      seen.push_back(co_await ReadUntil(stream, end));
      (void)co_await stream.Write("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    }
  });
  auto client = NewClient(peer);
  auto source = [](std::vector<std::string> pieces) -> BodySource {
    auto left = std::make_shared<std::vector<std::string>>(std::move(pieces));
    return [left]() -> Task<StatusOr<std::string>> {
      if (left->empty()) co_return std::string();
      std::string piece = left->front();
      left->erase(left->begin());
      co_return piece;
    };
  };
  EXPECT_EQ(net_.Run(client->Upload({.method = "PUT"}, 7, source({"some", "end"}))).value().status, 201);
  EXPECT_EQ(net_.Run(client->Upload({.method = "PUT"}, -1, source({"some", "end"}))).value().status, 201);
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_TRUE(seen[0].ends_with("Content-Length: 7\r\n\r\nsomeend")) << seen[0];
  EXPECT_TRUE(seen[1].ends_with("chunked\r\n\r\n4\r\nsome\r\n3\r\nend\r\n0\r\n\r\n")) << seen[1];
  auto wrong = net_.Run(client->Upload({.method = "PUT"}, 9, source({"some", "end"})));
  EXPECT_EQ(wrong.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ClientH1, AnswerBeforeTheEndOfAnUpload) {
  auto& peer = net_.Peer([](Stream& stream, int) -> Task<> {
    (void)co_await ReadUntil(stream, "\r\n\r\n");
    (void)co_await stream.Write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    (void)co_await testing::ReadAll(stream);
  });
  auto client = NewClient(peer);
  Clock* clock = &net_.clock();
  BodySource endless = [clock]() -> Task<StatusOr<std::string>> {
    co_await clock->Sleep(absl::Milliseconds(1));
    co_return std::string(1000, 'x');
  };
  auto response = net_.Run(client->Upload({.method = "PUT"}, -1, endless));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->status, 403);
  EXPECT_EQ(client->stats().open_connections, 0);
}

TEST_F(ClientH1, Gzip) {
  // printf hello | gzip -n
  const std::string packed(
      "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\x48\xcd\xc9\xc9\x07\x00\x86\xa6\x10\x36\x05\x00\x00\x00", 25);
  std::string seen;
  size_t size = packed.size();
  Net::StopFirst stop{net_};
  auto& peer = net_.Peer([&](Stream& stream, int) -> Task<> {
    seen = co_await ReadUntil(stream, "\r\n\r\n");
    std::string head = absl::StrCat("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ", size, "\r\n\r\n");
    (void)co_await stream.Write(head);
    for (char c : packed.substr(0, size)) (void)co_await stream.Write(std::string_view(&c, 1));
  });
  auto client = NewClient(peer, {.accept_gzip = true});
  EXPECT_EQ(net_.Run(client->Do({})).value().body, "hello");
  EXPECT_NE(seen.find("Accept-Encoding: gzip\r\n"), std::string::npos);
  size = 12;
  EXPECT_EQ(net_.Run(client->Do({})).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(net_.Run(NewClient(peer)->Do({})).value().body, packed.substr(0, 12));
  EXPECT_EQ(seen.find("Accept-Encoding"), std::string::npos);
}

TEST_F(ClientH1, IdleConnectionsAreClosedInTime) {
  auto& peer = net_.Peer(Answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  auto client = NewClient(peer, {.idle_timeout = absl::Milliseconds(30)});
  EXPECT_TRUE(net_.Run(client->Do({})).ok());
  EXPECT_EQ(client->stats().open_connections, 1);
  net_.Run(net_.clock().Sleep(absl::Milliseconds(60)));
  EXPECT_EQ(client->stats().open_connections, 0);
}

TEST_F(ClientH1, CloseEndsCallsInFlight) {
  auto& peer = net_.Peer([](Stream& stream, int) -> Task<> { (void)co_await testing::ReadAll(stream); });
  auto client = NewClient(peer);
  TaskGroup group(net_.executor());
  auto call = [](Client* c) -> Task<Status> { co_return (co_await c->Do({})).status(); };
  group.Spawn("call", call(client.get()));
  net_.Run(net_.clock().Sleep(absl::Milliseconds(20)));
  net_.Run(client->Close());
  EXPECT_EQ(net_.Run(group.Join()).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(net_.Run(client->Do({})).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ClientH1, NotHttpIsUnavailable) {
  auto& peer = net_.Peer(Answers("SSH-2.0-OpenSSH\r\n\r\n"));
  EXPECT_EQ(net_.Run(NewClient(peer)->Do({})).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ClientH1, ThroughAProxy) {
  std::string seen;
  Net::StopFirst stop{net_};
  auto& proxy = net_.Peer([&seen](Stream& stream, int number) -> Task<> {
    seen = co_await ReadUntil(stream, "\r\n\r\n");
    if (number > 0) {
      (void)co_await stream.Write("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
      co_return;
    }
    (void)co_await stream.Write("HTTP/1.1 200 Connection established\r\n\r\n");
    (void)co_await ReadUntil(stream, "\r\n\r\n");
    (void)co_await stream.Write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi");
  });
  DialOptions dial{.proxy_url = absl::StrCat("http://u:p@127.0.0.1:", proxy.port())};
  auto client = net_.NewClient({.origin = {.scheme = "http", .host = "elsewhere.test", .port = 81}, .dial = dial});
  EXPECT_EQ(net_.Run(client->Do({})).value().body, "hi");
  EXPECT_EQ(seen,
            "CONNECT elsewhere.test:81 HTTP/1.1\r\nHost: elsewhere.test:81\r\nProxy-Authorization: Basic dTpw\r\n\r\n");
  EXPECT_EQ(net_.Run(client->Do({})).status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace vck::http
