// exec, attach and run, over SPDY and WebSocket, with the bytes that clients send.
#include "kubeletapi/fixture.h"

namespace vck::kubeletapi {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kSuccess = R"({"metadata":{},"status":"Success"})";

class CommandTest : public ApiTest {
 protected:
  CommandTest() { further_ = guest_.handler(); }
  ~CommandTest() override { net_.Close(); }

  std::unique_ptr<SpdyClient> Spdy(std::string target, std::string protocol = "v4.channel.k8s.io") {
    auto stream = Dial(ClientTls(admin_));
    std::string leftover;
    auto response = net_.Run(http::Upgrade(
        *stream, RequestOf({.method = "POST", .target = std::move(target), .headers = SpdyHeaders(protocol)}),
        &leftover));
    EXPECT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->status, 101) << response->body;
    EXPECT_EQ(response->headers.Get("Upgrade"), "SPDY/3.1");
    EXPECT_EQ(response->headers.Get("X-Stream-Protocol-Version"), protocol);
    return std::make_unique<SpdyClient>(&net_, std::move(stream), std::move(leftover));
  }
  std::unique_ptr<WebSocketClient> Socket(std::string target, std::string protocol) {
    auto stream = Dial(ClientTls(admin_));
    std::string leftover;
    auto response = net_.Run(http::Upgrade(
        *stream, RequestOf({.target = std::move(target), .headers = WebSocketHeaders(protocol)}), &leftover));
    EXPECT_EQ(response->status, 101) << response->body;
    EXPECT_EQ(response->headers.Get("Sec-WebSocket-Protocol").value_or(""), protocol);
    return std::make_unique<WebSocketClient>(&net_, std::move(stream), std::move(leftover));
  }
  bool UntilInput(const std::string& text) {
    return net_.Until([&] { return guest_.input == text; });
  }

  GuestCommand guest_{&net_};
};

TEST_F(CommandTest, ExecOverSpdyWithAllStreams) {
  Connect();
  auto client = Spdy("/exec/default/web/c?command=sh&command=-c&command=exit+42&input=1&output=1&error=1");
  const uint32_t error = client->Open({{"streamType", "error"}});
  const uint32_t in = client->Open({{"streamType", "stdin"}});
  const uint32_t out = client->Open({{"streamType", "stdout"}});
  const uint32_t err = client->Open({{"streamType", "stderr"}});
  ASSERT_TRUE(net_.Until([&] { return client->replied.size() == 4; }));
  EXPECT_EQ(guest_.target, "/v1/exec?container=c&command=sh&command=-c&command=exit%2042&stdin=1&stdout=1&stderr=1");
  EXPECT_EQ(guest_.method, "POST");
  EXPECT_EQ(guest_.protocol, "vch-stream/1");
  client->Send(in, "hello ");
  client->Send(in, "world", true);
  ASSERT_TRUE(UntilInput("hello world"));
  ASSERT_TRUE(net_.Until([&] { return guest_.stdin_ended; })) << "half-close";
  guest_.Say(StreamChannel::kStdout, "out");
  guest_.Say(StreamChannel::kStderr, "err");
  guest_.Say(StreamChannel::kStdout, " more");
  guest_.End({.exit_code = 42, .error = ""});
  ASSERT_TRUE(client->UntilEnded(error));
  EXPECT_EQ(client->data[out], "out more");
  EXPECT_EQ(client->data[err], "err");
  EXPECT_EQ(
      client->data[error],
      R"({"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: exit status 42",)"
      R"("reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"42"}]}})");
  ASSERT_TRUE(net_.Until([&] { return client->gone_away; }));
  EXPECT_THAT(client->order, ElementsAre(out, err, error, in)) << "outputs end before the verdict";
  ASSERT_TRUE(net_.Until([&] { return client->done(); })) << "the kubelet ends its side";
}

TEST_F(CommandTest, SuccessAndFailureInEachVersion) {
  Connect();
  struct Case {
    std::string protocol;
    guestapi::StreamStatus status;
    std::string said;
  };
  for (const Case& c : {Case{"v4.channel.k8s.io", {}, kSuccess}, Case{"v3.channel.k8s.io", {}, ""},
                        Case{"v2.channel.k8s.io",
                             {.exit_code = 3, .error = ""},
                             "command terminated with non-zero exit code: exit status 3"},
                        Case{"v3.channel.k8s.io",
                             {.exit_code = 0, .error = "no such file"},
                             "Internal error occurred: error executing command in container: no such file"}}) {
    auto client = Spdy("/exec/default/web/c?command=x&output=1", c.protocol);
    const uint32_t error = client->Open({{"streamtype", "error"}});
    const uint32_t out = client->Open({{"streamtype", "stdout"}});
    ASSERT_TRUE(net_.Until([&] { return client->replied.size() == 2; }));
    guest_.Say(StreamChannel::kStdout, "x");
    guest_.End(c.status);
    ASSERT_TRUE(client->UntilEnded(error));
    EXPECT_EQ(client->data[error], c.said) << c.protocol;
    EXPECT_EQ(client->data[out], "x");
  }
  // v1 ends its error stream at once, and says nothing there.
  auto client = Spdy("/exec/default/web/c?command=x&output=1&input=1", "channel.k8s.io");
  const uint32_t error = client->Open({{"streamtype", "error"}});
  const uint32_t in = client->Open({{"streamtype", "stdin"}});
  client->Open({{"streamtype", "stdout"}});
  EXPECT_TRUE(client->UntilEnded(error) && client->UntilEnded(in));
  client->Send(in, "still", true);
  EXPECT_TRUE(UntilInput("still"));
}

TEST_F(CommandTest, ATerminalIsResized) {
  Connect();
  auto client = Spdy("/exec/default/web/uid-1/c?command=sh&input=1&output=1&error=1&tty=1");
  client->Open({{"streamtype", "error"}});
  const uint32_t in = client->Open({{"streamtype", "stdin"}});
  const uint32_t out = client->Open({{"streamtype", "stdout"}});
  const uint32_t resize = client->Open({{"streamtype", "resize"}});
  ASSERT_TRUE(net_.Until([&] { return client->replied.size() == 4; }));
  EXPECT_THAT(guest_.target, HasSubstr("&stdin=1&stdout=1&tty=1"));
  client->Send(resize, "{\"Width\":80,\"Height\":24}\n{\"Width\":100,");
  client->Send(resize, "\"Height\":30}\n");
  client->Send(in, "x");
  ASSERT_TRUE(UntilInput("x"));
  EXPECT_THAT(guest_.resizes, ElementsAre(R"({"width":80,"height":24})", R"({"width":100,"height":30})"));
  guest_.Say(StreamChannel::kStdout, "prompt");
  ASSERT_TRUE(net_.Until([&] { return client->data[out] == "prompt"; }));
}

TEST_F(CommandTest, ExecOverWebSocketInEachProtocol) {
  Connect();
  struct Case {
    std::string protocol, in, out, err, status;
    char digits;
  };
  for (const Case& c :
       {Case{"", std::string("\0hi", 3), "\1out", "\2err", "", 0},
        Case{"channel.k8s.io", std::string("\0hi", 3), "\1out", "\2err", "", 0},
        Case{"v4.channel.k8s.io", std::string("\0hi", 3), "\1out", "\2err", std::string("\3") + kSuccess, 0},
        Case{"v5.channel.k8s.io", std::string("\0hi", 3), "\1out", "\2err", std::string("\3") + kSuccess, 0},
        Case{"base64.channel.k8s.io", "0aGk=", "1b3V0", "2ZXJy", "", '0'},
        Case{"v4.base64.channel.k8s.io", "0aGk=", "1b3V0", "2ZXJy",
             "3eyJtZXRhZGF0YSI6e30sInN0YXR1cyI6IlN1Y2Nlc3MifQ==", '0'}}) {
    guest_.input.clear();
    auto client = Socket("/exec/default/web/c?command=x&input=1&output=1&error=1", c.protocol);
    client->Send(c.in, c.digits != 0 ? http::WebSocketOp::kText : http::WebSocketOp::kBinary);
    ASSERT_TRUE(UntilInput("hi")) << c.protocol;
    guest_.Say(StreamChannel::kStdout, "out");
    guest_.Say(StreamChannel::kStderr, "err");
    guest_.End({});
    ASSERT_TRUE(client->UntilClosed());
    EXPECT_EQ(client->close_code, 1000);
    std::vector<std::string> expected = {std::string(1, static_cast<char>(c.digits + 1)), c.out, c.err};
    if (!c.status.empty()) expected.push_back(c.status);
    EXPECT_EQ(client->messages, expected) << c.protocol << ": an empty message says that it is connected";
  }
}

TEST_F(CommandTest, V5SaysWhereInputEnds) {
  Connect();
  auto client = Socket("/exec/default/web/c?command=cat&input=1&output=1", "v5.channel.k8s.io");
  client->Send(std::string("\0abc", 4));
  client->Send(std::string("\xff\0", 2));
  ASSERT_TRUE(net_.Until([&] { return guest_.stdin_ended; }));
  EXPECT_EQ(guest_.input, "abc");
  guest_.Say(StreamChannel::kStdout, "abc");
  guest_.End({});
  ASSERT_TRUE(client->UntilClosed());
  EXPECT_EQ(client->On(1), "abc");
}

TEST_F(CommandTest, AttachTakesTheTerminalFromThePod) {
  Connect();
  auto client = Spdy("/attach/default/web/term?input=1&output=1&error=1");
  client->Open({{"streamtype", "error"}});
  client->Open({{"streamtype", "stdin"}});
  client->Open({{"streamtype", "stdout"}});
  client->Open({{"streamtype", "resize"}});
  ASSERT_TRUE(net_.Until([&] { return client->replied.size() == 4; }));
  EXPECT_EQ(guest_.target, "/v1/attach?container=term&stdin=1&stdout=1&tty=1");
  guest_.End({.exit_code = 0, .error = "it went away"});
  ASSERT_TRUE(client->UntilEnded(1));
  EXPECT_THAT(client->data[1], HasSubstr("error attaching to container: it went away"));
}

TEST_F(CommandTest, MegabytesBothWaysAtOnce) {
  Connect();
  auto client = Spdy("/exec/default/web/c?command=cat&input=1&output=1");
  const uint32_t error = client->Open({{"streamtype", "error"}});
  const uint32_t in = client->Open({{"streamtype", "stdin"}});
  const uint32_t out = client->Open({{"streamtype", "stdout"}});
  std::string up, down;
  for (int i = 0; i < 3'000'000; ++i) up.push_back(static_cast<char>(i * 7 % 251));
  for (int i = 0; i < 3'000'000; ++i) down.push_back(static_cast<char>(i * 11 % 253));
  ASSERT_TRUE(net_.Until([&] { return guest_.open(); }));
  bool said = false;
  auto say = [](GuestCommand* guest, const std::string* text, bool* done) -> Task<Status> {
    for (size_t at = 0; at < text->size(); at += 65'536) {
      CO_RETURN_IF_ERROR(co_await guest->stream().Write(
          guestapi::EncodeStreamFrame(StreamChannel::kStdout, std::string_view(*text).substr(at, 65'536))));
    }
    *done = true;
    co_return absl::OkStatus();
  };
  net_.Spawn(say(&guest_, &down, &said));
  for (size_t at = 0; at < up.size(); at += 50'000) client->Send(in, std::string_view(up).substr(at, 50'000));
  client->Send(in, "", true);
  ASSERT_TRUE(net_.Until([&] { return guest_.stdin_ended && said; }));
  EXPECT_TRUE(guest_.input == up);
  guest_.End({});
  ASSERT_TRUE(client->UntilEnded(error));
  EXPECT_TRUE(client->data[out] == down);
}

TEST_F(CommandTest, AGuestThatDoesNotReadStopsTheClient) {
  Connect();
  guest_.hold = true;
  auto client = Spdy("/exec/default/web/c?command=cat&input=1&output=1");
  client->Open({{"streamtype", "error"}});
  const uint32_t in = client->Open({{"streamtype", "stdin"}});
  client->Open({{"streamtype", "stdout"}});
  ASSERT_TRUE(net_.Until([&] { return client->replied.size() == 3; }));
  // Sockets hold some megabytes; then nothing moves any more, and nothing grows.
  auto pour = [](SpdyClient* from, uint32_t id, size_t* sent) -> Task<Status> {
    const std::string piece(100'000, 'x');
    while (*sent < 100'000'000) {
      from->session().Send(id, piece);
      std::string text = std::exchange(from->session().output(), {});
      if (!(co_await from->stream().Write(text)).ok()) break;
      *sent += piece.size();
    }
    co_return absl::OkStatus();
  };
  size_t sent = 0, before = 1;
  net_.Spawn(pour(client.get(), in, &sent));
  while (before != sent) {
    before = sent;
    net_.Pass(absl::Milliseconds(200));
  }
  EXPECT_LT(sent, 40'000'000u);
  guest_.hold = false;
  size_t so_far = guest_.input.size();
  ASSERT_TRUE(net_.Until([&] { return guest_.input.size() > so_far + 10'000'000; })) << "and it goes on";
  client->Close();
  guest_.hold = false;
  ASSERT_TRUE(net_.Until([&] { return guest_.closed; }));
}

TEST_F(CommandTest, WhenTheClientGoesTheCommandIsLetGo) {
  Connect();
  auto client = Spdy("/exec/default/web/c?command=sleep&output=1");
  client->Open({{"streamtype", "error"}});
  client->Open({{"streamtype", "stdout"}});
  ASSERT_TRUE(net_.Until([&] { return client->replied.size() == 2; }));
  client->Close();
  ASSERT_TRUE(net_.Until([&] { return guest_.closed; }));
}

TEST_F(CommandTest, WhenTheGuestGoesTheClientIsTold) {
  Connect();
  for (const char* protocol : {"v4.channel.k8s.io", "v5.channel.k8s.io"}) {
    guest_.closed = false;
    auto client = Socket("/exec/default/web/c?command=sleep&output=1", protocol);
    ASSERT_TRUE(net_.Until([&] { return guest_.open(); }));
    guest_.Say(StreamChannel::kStdout, "half");
    guest_.Drop();
    ASSERT_TRUE(client->UntilClosed());
    EXPECT_EQ(client->On(1), "half");
    EXPECT_THAT(client->On(3), HasSubstr("the connection to the pod's VM was lost"));
  }
}

TEST_F(CommandTest, AGuestThatIsSwitchedOffEndsItsCommands) {
  Connect();
  auto client = Socket("/exec/default/web/c?command=sleep&output=1", "v4.channel.k8s.io");
  ASSERT_TRUE(net_.Until([&] { return guest_.open(); }));
  kubelet_->Disconnect("uid-1");
  ASSERT_TRUE(client->UntilClosed());
  EXPECT_THAT(client->On(3), HasSubstr("InternalError"));
}

TEST_F(CommandTest, AClientThatOpensNoStreamsIsNotWaitedFor) {
  Connect();
  auto client = Spdy("/exec/default/web/c?command=x&output=1&input=1");
  client->Open({{"streamtype", "error"}});
  ASSERT_TRUE(net_.Until([&] { return client->done(); })) << "creation_timeout";
  ASSERT_TRUE(net_.Until([&] { return guest_.closed; }));
}

TEST_F(CommandTest, StreamsThatNobodyAskedForAreRefused) {
  Connect();
  auto client = Spdy("/exec/default/web/c?command=x&output=1");
  client->Open({{"streamtype", "error"}});
  const uint32_t twice = client->Open({{"streamtype", "error"}});
  const uint32_t odd = client->Open({{"streamtype", "data"}});
  const uint32_t out = client->Open({{"streamtype", "stdout"}});
  ASSERT_TRUE(net_.Until([&] { return client->replied.contains(out) && client->resets.size() == 2; }));
  EXPECT_TRUE(client->resets.contains(twice) && client->resets.contains(odd));
  client->session().Ping();
  client->Flush();
  ASSERT_TRUE(net_.Until([&] { return client->pongs == 1; }));
  guest_.Say(StreamChannel::kStdout, "fine");
  ASSERT_TRUE(net_.Until([&] { return client->data[out] == "fine"; }));
}

TEST_F(CommandTest, NonsenseEndsTheConnection) {
  Connect();
  auto client = Socket("/exec/default/web/c?command=x&output=1&input=1", "base64.channel.k8s.io");
  client->Send("0***", http::WebSocketOp::kText);
  ASSERT_TRUE(client->UntilClosed());
  EXPECT_EQ(client->close_code, 1002);
  ASSERT_TRUE(net_.Until([&] { return guest_.closed; }));
  guest_.closed = false;
  auto other = Spdy("/exec/default/web/c?command=x&output=1");
  EXPECT_TRUE(net_.Run(other->stream().Write("GET / HTTP/1.1\r\n\r\n")).ok());
  ASSERT_TRUE(net_.Until([&] { return other->done(); }));
  ASSERT_TRUE(net_.Until([&] { return guest_.closed; }));
}

TEST_F(CommandTest, AnswersBeforeAnythingIsStarted) {
  Connect();
  struct Case {
    std::string target;
    http::Headers headers;
    int status;
    std::string body;
  };
  const std::string good = "/exec/default/web/c?command=x&output=1";
  for (const Case& c : {
           Case{"/exec/default/web/c?command=x", SpdyHeaders(), 400,
                "you must specify at least 1 of stdin, stdout, stderr"},
           Case{"/exec/default/web/c?output=1", SpdyHeaders(), 400,
                "you must specify at least one command for the container"},
           Case{"/exec/default/none/c?command=x&output=1", SpdyHeaders(), 404, "pod does not exist"},
           Case{"/exec/other/web/c?command=x&output=1", SpdyHeaders(), 404, "pod does not exist"},
           Case{"/exec/default/web/none?command=x&output=1", SpdyHeaders(), 500, R"(container not found ("none"))"},
           Case{"/exec/default/web/uid-2/c?command=x&output=1", SpdyHeaders(), 500, R"(container not found ("c"))"},
           Case{"/attach/default/web/none?output=1", SpdyHeaders(), 500, "container none not found in pod web_default"},
           Case{good, {}, 400, "Upgrade request required"},
           Case{good, SpdyHeaders("v9.channel.k8s.io"), 403, "unable to upgrade: unable to negotiate protocol"},
           Case{good, {{"Connection", "Upgrade"}, {"Upgrade", "SPDY/3.1"}}, 400, "does not exist in request"},
           Case{good, WebSocketHeaders("binary.k8s.io"), 403,
                "requested protocol(s) are not supported: [binary.k8s.io]"},
       }) {
    auto response = Fetch({.target = c.target, .headers = c.headers});
    EXPECT_EQ(response.status, c.status) << c.target;
    EXPECT_THAT(response.body, HasSubstr(c.body));
  }
  EXPECT_EQ(guest_.target, "") << "nobody was asked";
}

TEST_F(CommandTest, WhatTheTetherRefuses) {
  Connect();
  std::string answer;
  int status = 0;
  further_ = [&](http::Exchange& exchange) { return exchange.Respond({status, {}, answer}); };
  const Ask ask{.target = "/exec/default/web/c?command=x&output=1", .headers = SpdyHeaders()};
  status = 404;
  answer = R"({"error":{"code":"NotFound","message":"c is not running"}})";
  EXPECT_EQ(Fetch(ask).status, 500);
  EXPECT_EQ(Fetch(ask).body, R"(container not found ("c"))");
  status = 400;
  answer = R"({"error":{"code":"Invalid","message":"command is missing"}})";
  EXPECT_EQ(Fetch(ask).status, 400);
  EXPECT_EQ(Fetch(ask).body, "command is missing");
  kubelet_->Forget("uid-1");
  EXPECT_EQ(Fetch(ask).status, 500);
}

TEST_F(CommandTest, Run) {
  Connect();
  auto stream = Dial(ClientTls(admin_));
  std::optional<StatusOr<http::Response>> response;
  auto ask = [](ApiTest*, http::Stream* to, http::Request request,
                std::optional<StatusOr<http::Response>>* out) -> Task<Status> {
    std::string leftover;
    out->emplace(co_await http::Upgrade(*to, std::move(request), &leftover));
    co_return absl::OkStatus();
  };
  net_.Spawn(ask(this, stream.get(),
                 RequestOf({.method = "POST",
                            .target = "/run/default/web/c",
                            .headers = {{"Content-Type", "application/x-www-form-urlencoded"}},
                            .body = "cmd=ls+-l"}),
                 &response));
  ASSERT_TRUE(net_.Until([&] { return guest_.open(); }));
  EXPECT_EQ(guest_.target, "/v1/exec?container=c&command=ls&command=-l&stdout=1&stderr=1");
  guest_.Say(StreamChannel::kStdout, "out ");
  guest_.Say(StreamChannel::kStderr, "err");
  guest_.End({});
  ASSERT_TRUE(net_.Until([&] { return response.has_value(); }));
  EXPECT_EQ((*response)->status, 200);
  EXPECT_EQ((*response)->body, "out err");
  EXPECT_EQ(Get("/run/default/web/c?cmd=x").status, 405);
  EXPECT_EQ(Fetch({.method = "POST", .target = "/run/default/none/c?cmd=x"}).status, 404);
}

}  // namespace
}  // namespace vck::kubeletapi
