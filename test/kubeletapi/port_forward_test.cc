// port-forward, over SPDY, WebSocket, and SPDY within WebSocket.
#include "kubeletapi/fixture.h"

namespace vck::kubeletapi {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// Tunnels by port; each request makes another.
class Tunnels {
 public:
  explicit Tunnels(Net* net) : net_(net) {}
  http::Handler handler() {
    return [this](http::Exchange& exchange) -> Task<Status> {
      const std::string target = exchange.request().target;
      if (target == "/v1/portforward?port=81") {
        co_return co_await exchange.Respond(
            {502, {}, R"({"error":{"code":"Refused","message":"connect to port 81: connection refused"}})"});
      }
      auto tunnel = std::make_unique<GuestCommand>(net_);
      tunnel->raw = true;
      tunnel->half_close = true;
      auto* served = tunnel.get();
      tunnels.push_back(std::move(tunnel));
      co_return co_await served->Serve(exchange);
    };
  }
  std::deque<std::unique_ptr<GuestCommand>> tunnels;

 private:
  Net* net_;
};

class PortForwardTest : public ApiTest {
 protected:
  PortForwardTest() { further_ = tunnels_.handler(); }
  ~PortForwardTest() override { net_.Close(); }

  std::unique_ptr<http::Stream> Upgraded(http::Headers headers, std::string target, std::string* leftover) {
    auto stream = Dial(ClientTls(admin_));
    const bool socket = headers.Get("Sec-WebSocket-Key").has_value();
    auto response = net_.Run(http::Upgrade(
        *stream,
        RequestOf({.method = socket ? "GET" : "POST", .target = std::move(target), .headers = std::move(headers)}),
        leftover));
    EXPECT_EQ(response->status, 101) << response->body;
    return stream;
  }
  std::unique_ptr<SpdyClient> Spdy() {
    std::string leftover;
    auto stream = Upgraded(SpdyHeaders("portforward.k8s.io"), "/portForward/default/web", &leftover);
    return std::make_unique<SpdyClient>(&net_, std::move(stream), std::move(leftover));
  }
  // Error and data stream of a connection.
  std::pair<uint32_t, uint32_t> Pair(SpdyClient& client, const std::string& request, const std::string& port = "80") {
    uint32_t error = client.Open({{"streamType", "error"}, {"port", port}, {"requestID", request}});
    uint32_t data = client.Open({{"streamType", "data"}, {"port", port}, {"requestID", request}});
    return {error, data};
  }
  bool UntilTunnels(size_t n) {
    return net_.Until([&] {
      size_t open = 0;
      for (const auto& tunnel : tunnels_.tunnels) open += tunnel->open() ? 1 : 0;
      return open >= n;
    });
  }
  GuestCommand& tunnel(size_t i) { return *tunnels_.tunnels[i]; }

  Tunnels tunnels_{&net_};
};

TEST_F(PortForwardTest, SeveralConnectionsOverSpdy) {
  Connect();
  auto client = Spdy();
  auto [error0, data0] = Pair(*client, "0");
  client->Send(data0, "GET / HTTP/1.0\r\n\r\n");
  ASSERT_TRUE(UntilTunnels(1));
  ASSERT_TRUE(net_.Until([&] { return tunnel(0).input == "GET / HTTP/1.0\r\n\r\n"; }));
  EXPECT_EQ(tunnel(0).target, "/v1/portforward?port=80");
  EXPECT_EQ(tunnel(0).protocol, "vch-tunnel/1");
  auto [error1, data1] = Pair(*client, "1", "8080");
  ASSERT_TRUE(UntilTunnels(2));
  tunnel(1).Write("one");
  tunnel(0).Write("zero");
  ASSERT_TRUE(net_.Until([&] { return client->data[data0] == "zero" && client->data[data1] == "one"; }));
  // The pod closes.
  tunnel(0).Drop();
  ASSERT_TRUE(client->UntilEnded(data0) && client->UntilEnded(error0));
  EXPECT_EQ(client->data[error0], "");
  // The client half-closes; what the pod still says arrives.
  client->Send(data1, "bye", true);
  ASSERT_TRUE(net_.Until([&] { return tunnel(1).closed; }));
  EXPECT_EQ(tunnel(1).input, "bye");
  tunnel(1).Write(" and more");
  tunnel(1).Drop();
  ASSERT_TRUE(client->UntilEnded(data1));
  EXPECT_EQ(client->data[data1], "one and more");
  EXPECT_FALSE(client->done()) << "the next connection may come";
}

TEST_F(PortForwardTest, WhatCannotBeForwardedIsSaid) {
  Connect();
  auto client = Spdy();
  auto [error, data] = Pair(*client, "0", "81");
  ASSERT_TRUE(client->UntilEnded(error));
  EXPECT_EQ(client->data[error],
            "error forwarding port 81 to pod web_default, uid uid-1: connect to port 81: connection refused");
  ASSERT_TRUE(net_.Until([&] { return client->resets.contains(data); }));
  auto [error1, data1] = Pair(*client, "1");
  ASSERT_TRUE(UntilTunnels(1));
  tunnel(0).Write("fine");
  ASSERT_TRUE(net_.Until([&] { return client->data[data1] == "fine"; }));
}

TEST_F(PortForwardTest, StreamsThatMakeNoConnection) {
  Connect();
  auto client = Spdy();
  const uint32_t no_port = client->Open({{"streamType", "data"}});
  const uint32_t zero = client->Open({{"streamType", "data"}, {"port", "0"}});
  const uint32_t type = client->Open({{"streamType", "stdin"}, {"port", "80"}});
  const uint32_t alone = client->Open({{"streamType", "error"}, {"port", "80"}, {"requestID", "x"}});
  const uint32_t twice = client->Open({{"streamType", "error"}, {"port", "80"}, {"requestID", "x"}});
  ASSERT_TRUE(net_.Until([&] { return client->resets.size() == 4; }));
  for (uint32_t id : {no_port, zero, type, twice}) EXPECT_TRUE(client->resets.contains(id));
  ASSERT_TRUE(client->UntilEnded(alone)) << "creation_timeout";
  EXPECT_THAT(client->data[alone], HasSubstr("timed out waiting for streams"));
}

TEST_F(PortForwardTest, OldClientsGiveNoRequestId) {
  Connect();
  auto client = Spdy();
  client->Open({{"streamType", "error"}, {"port", "80"}});
  const uint32_t data = client->Open({{"streamType", "data"}, {"port", "80"}});
  ASSERT_TRUE(UntilTunnels(1));
  tunnel(0).Write("x");
  ASSERT_TRUE(net_.Until([&] { return client->data[data] == "x"; }));
}

TEST_F(PortForwardTest, AConnectionThatStandsStillLetsOthersGoOn) {
  Connect();
  auto client = Spdy();
  auto [error0, data0] = Pair(*client, "0");
  auto [error1, data1] = Pair(*client, "1");
  ASSERT_TRUE(UntilTunnels(2));
  tunnel(0).hold = true;
  client->Send(data0, std::string(50'000, 'x'));
  client->Send(data1, "moves");
  ASSERT_TRUE(net_.Until([&] { return tunnel(1).input == "moves"; }));
  client->session().Reset(data0, spdy::ResetStatus::kCancel);
  client->Flush();
  tunnel(0).hold = false;
  ASSERT_TRUE(net_.Until([&] { return tunnel(0).closed; })) << "one that is given up is closed";
}

TEST_F(PortForwardTest, AllEndWithTheClient) {
  Connect();
  auto client = Spdy();
  Pair(*client, "0");
  Pair(*client, "1");
  ASSERT_TRUE(UntilTunnels(2));
  client->Close();
  ASSERT_TRUE(net_.Until([&] { return tunnel(0).closed && tunnel(1).closed; }));
}

TEST_F(PortForwardTest, PortsOverWebSocket) {
  Connect();
  for (const char* protocol : {"", "v4.channel.k8s.io"}) {
    tunnels_.tunnels.clear();
    std::string leftover;
    auto stream = Upgraded(WebSocketHeaders(protocol), "/portForward/default/web?port=80&port=81,8080", &leftover);
    WebSocketClient client(&net_, std::move(stream), std::move(leftover));
    ASSERT_TRUE(UntilTunnels(2));
    ASSERT_TRUE(net_.Until([&] { return client.messages.size() >= 7; }));
    EXPECT_THAT(client.On(0), StartsWith(std::string("P\0", 2))) << "80, little-endian";
    EXPECT_THAT(client.On(5), StartsWith("\x90\x1f"));
    EXPECT_THAT(client.On(3), HasSubstr("error forwarding port 81 to pod web_default"));
    GuestCommand* web = nullptr;
    for (auto& one : tunnels_.tunnels) {
      if (one->target == "/v1/portforward?port=80") web = one.get();
    }
    ASSERT_NE(web, nullptr);
    client.Send(std::string("\0GET", 4));
    ASSERT_TRUE(net_.Until([&] { return web->input == "GET"; }));
    web->Write("answer");
    ASSERT_TRUE(net_.Until([&] { return client.On(0).size() == 8; }));
    EXPECT_EQ(client.On(0).substr(2), "answer");
    for (auto& one : tunnels_.tunnels) one->Drop();
    ASSERT_TRUE(client.UntilClosed()) << "with the last port";
    EXPECT_EQ(client.close_code, 1000);
  }
}

TEST_F(PortForwardTest, SpdyWithinWebSocket) {
  Connect();
  std::string leftover;
  auto stream = Upgraded(WebSocketHeaders("SPDY/3.1+portforward.k8s.io"), "/portForward/default/web", &leftover);
  WebSocketClient client(&net_, std::move(stream), std::move(leftover));
  spdy::Session session({.role = spdy::Role::kClient});
  const http::Headers ids{{"port", "80"}, {"requestID", "0"}};
  http::Headers error = ids, data = ids;
  error.Add("streamType", "error");
  data.Add("streamType", "data");
  session.Open(error);
  const uint32_t id = session.Open(data);
  session.Send(id, "through");
  // Messages have no meaning: cut anywhere.
  std::string bytes = std::exchange(session.output(), {});
  client.Send(bytes.substr(0, 20));
  client.Send(bytes.substr(20));
  ASSERT_TRUE(UntilTunnels(1));
  ASSERT_TRUE(net_.Until([&] { return tunnel(0).input == "through"; }));
  tunnel(0).Write("and back");
  ASSERT_TRUE(net_.Until([&] {
    return std::any_of(client.messages.begin(), client.messages.end(),
                       [](const std::string& m) { return m.find("and back") != std::string::npos; });
  }));
}

TEST_F(PortForwardTest, Refusals) {
  struct Case {
    std::string target;
    http::Headers headers;
    int status;
    std::string body;
  };
  const http::Headers spdy = SpdyHeaders("portforward.k8s.io");
  for (const Case& c :
       {Case{"/portForward/default/none", spdy, 404, "pod does not exist"},
        Case{"/portForward/default/web/uid-2", spdy, 404, "pod not found"},
        Case{"/portForward/default/web", spdy, 500, "its VM is not connected"},
        Case{"/portForward/default/web", WebSocketHeaders(""), 400, "query parameter \"port\" is required"},
        Case{"/portForward/default/web?port=0", WebSocketHeaders(""), 400, "unable to parse \"0\" as a port"}}) {
    auto response = Fetch({.target = c.target, .headers = c.headers});
    EXPECT_EQ(response.status, c.status) << c.target;
    EXPECT_THAT(response.body, HasSubstr(c.body));
  }
  Connect();
  EXPECT_EQ(Fetch({.target = "/portForward/default/web"}).status, 400);
  EXPECT_EQ(Fetch({.target = "/portForward/default/web", .headers = SpdyHeaders("x")}).status, 403);
  EXPECT_EQ(Fetch({.target = "/portForward/default/web?port=80", .headers = WebSocketHeaders("x")}).status, 403);
}

}  // namespace
}  // namespace vck::kubeletapi
