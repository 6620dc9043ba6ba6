// How streams end: clients that take their time, those that hang up, and idleness. On fake time.
#include <algorithm>
#include <map>
#include <set>

#include "absl/functional/function_ref.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "guestapi/stream.h"
#include "http/websocket.h"
#include "kubeletapi/command_session.h"
#include "kubeletapi/liveness.h"
#include "kubeletapi/port_forward.h"
#include "spdy/session.h"
#include "support/loop.h"
#include "support/memory_stream.h"

namespace vck::kubeletapi {
namespace {

using guestapi::StreamChannel;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using testing::MemoryStream;
using testing::Wire;

constexpr const char* kSuccess = R"({"metadata":{},"status":"Success"})";

// A client's, masked with zeros.
std::string Frame(http::WebSocketOp op, std::string_view payload) {
  std::string out;
  http::AppendWebSocketHeader(&out, op, payload.size());
  out[1] = static_cast<char>(out[1] | 0x80);
  out += std::string(4, '\0');
  out += payload;
  return out;
}
// The kubelet's last one.
std::string CloseFrame() {
  std::string out;
  http::AppendWebSocketFrame(&out, http::WebSocketOp::kClose, http::WebSocketClosePayload(http::kCloseNormal, ""));
  return out;
}

class SpdySide : public spdy::Events {
 public:
  explicit SpdySide(Wire* wire) : wire_(wire) {}
  uint32_t Open(const http::Headers& headers) {
    const uint32_t id = session.Open(headers);
    Flush();
    return id;
  }
  void Send(uint32_t id, std::string_view text) {
    session.Send(id, text);
    Flush();
  }
  void Flush() { wire_->Say(std::exchange(session.output(), {})); }
  // Takes what the kubelet has written.
  void Take() { EXPECT_TRUE(session.Feed(std::exchange(wire_->out, {}), *this).ok()); }

  void OnStream(uint32_t, http::Headers) override { ADD_FAILURE() << "the kubelet opens no streams"; }
  void OnData(uint32_t id, std::string_view piece) override { data[id].append(piece); }
  void OnEnd(uint32_t id) override { ended.insert(id); }
  void OnReset(uint32_t id, spdy::ResetStatus) override { resets.insert(id); }
  void OnPong(uint32_t) override { ++pongs; }

  spdy::Session session{{.role = spdy::Role::kClient}};
  std::map<uint32_t, std::string> data;
  std::set<uint32_t> ended, resets;
  int pongs = 0;

 private:
  Wire* wire_;
};

class EndsTest : public ::testing::Test {
 protected:
  ~EndsTest() override {
    client_->End();
    guest_->End();
    client_->Take(true);
    guest_->Take(true);
    loop_.RunReady();
    EXPECT_TRUE(done_) << "the client's end is the session's";
  }
  void Start(Task<> session) {
    asio::co_spawn(loop_.context(), std::move(session), [this](std::exception_ptr e) {
      EXPECT_FALSE(e);
      done_ = true;
    });
    loop_.RunReady();
  }
  std::unique_ptr<http::Stream> ClientStream() { return std::make_unique<MemoryStream>(client_); }
  std::unique_ptr<http::Stream> GuestStream() { return std::make_unique<MemoryStream>(guest_); }

  void StartWebSocketCommand(CommandSessionOptions options = {}) {
    auto client = MakeWebSocketCommandClient(ClientStream(), "",
                                             {.protocol = "v5.channel.k8s.io", .channels = {}, .json_status = true},
                                             {.streams = {.in = true, .out = true}, .what = "error"});
    Start(RunCommandSession(loop_.clock(), std::move(client), {GuestStream(), ""}, options));
  }
  void StartSpdyCommand() {
    auto client =
        MakeSpdyCommandClient(ClientStream(), "", CommandVersion::kV4, {.streams = {.out = true}, .what = "error"});
    Start(RunCommandSession(loop_.clock(), std::move(client), {GuestStream(), ""}, {}));
  }
  PortForwardOptions ForwardOptions(absl::Duration idle = absl::Hours(4)) {
    return {
        .open = [this](uint16_t) { return OpenGuest(this); }, .pod = "web_default", .uid = "u", .idle_timeout = idle};
  }
  void StartWebSocketForward(absl::Duration idle = absl::Hours(4)) {
    Start(RunWebSocketPortForward(loop_.clock(), ClientStream(), "", {}, {80}, ForwardOptions(idle)));
  }
  void StartSpdyForward(absl::Duration idle = absl::Hours(4)) {
    Start(RunSpdyPortForward(loop_.clock(), ClientStream(), "", ForwardOptions(idle)));
  }
  // The guest says so much, and that it went well.
  void Output(const std::string& text) {
    for (size_t at = 0; at < text.size(); at += 50'000) {
      guest_->Say(guestapi::EncodeStreamFrame(StreamChannel::kStdout, std::string_view(text).substr(at, 50'000)));
    }
    guest_->Say(guestapi::EncodeStreamFrame(StreamChannel::kStatus, Encode(guestapi::StreamStatus{})));
    loop_.RunReady();
  }
  // What comes from either side keeps a stream that may be idle for a minute.
  void EndsAMinuteAfterBothHaveSpoken(absl::FunctionRef<void()> client_speaks, absl::FunctionRef<void()> guest_speaks) {
    loop_.Advance(absl::Seconds(50));
    client_speaks();
    loop_.Advance(absl::Seconds(50));
    guest_speaks();
    loop_.Advance(absl::Seconds(50));
    EXPECT_FALSE(done_);
    loop_.Advance(absl::Seconds(14));
    EXPECT_TRUE(done_);
    EXPECT_TRUE(client_->closed && guest_->closed);
  }

  testing::Loop loop_;
  std::shared_ptr<Wire> client_ = std::make_shared<Wire>(), guest_ = std::make_shared<Wire>();
  bool done_ = false;

 private:
  static Task<StatusOr<guestlink::OpenedStream>> OpenGuest(EndsTest* self) {
    co_return guestlink::OpenedStream{self->GuestStream(), ""};
  }
};

// What has been written may lie in buffers on the way for as long as the client does not read.
TEST_F(EndsTest, AWebSocketStaysUntilItsClientHasTakenTheEnd) {
  StartWebSocketCommand();
  Output(std::string(200'000, 'x'));
  const std::string written = client_->out;
  EXPECT_EQ(std::count(written.begin(), written.end(), 'x'), 200'000);
  EXPECT_THAT(written, HasSubstr(kSuccess));
  EXPECT_THAT(written, EndsWith(CloseFrame()));
  EXPECT_TRUE(client_->half_closed);
  EXPECT_TRUE(guest_->destroyed) << "a pod that has finished is not kept for it";
  for (int i = 0; i < 14; ++i) {
    loop_.Advance(absl::Minutes(1));
    client_->Say(Frame(http::WebSocketOp::kPing, "alive"));
    loop_.RunReady();
    ASSERT_FALSE(client_->closed) << "a reset would destroy what is on its way";
  }
  EXPECT_EQ(client_->out, written) << "nothing follows a close frame";
  client_->Say(Frame(http::WebSocketOp::kClose, http::WebSocketClosePayload(http::kCloseNormal, "")));
  loop_.RunReady();
  EXPECT_TRUE(done_) << "the client's answer ends it at once";
}

TEST_F(EndsTest, SpdyStaysUntilItsClientHasTakenTheEnd) {
  StartSpdyCommand();
  SpdySide side(client_.get());
  const uint32_t error = side.Open({{"streamtype", "error"}}), out = side.Open({{"streamtype", "stdout"}});
  loop_.RunReady();
  Output(std::string(200'000, 'x'));
  EXPECT_TRUE(client_->half_closed);
  for (int i = 0; i < 14; ++i) {
    loop_.Advance(absl::Minutes(1));
    side.session.Ping();
    side.Flush();
    loop_.RunReady();
    ASSERT_FALSE(client_->closed);
  }
  side.Take();
  EXPECT_EQ(side.data[out].size(), 200'000u);
  EXPECT_EQ(side.data[error], kSuccess);
  EXPECT_EQ(side.pongs, 0) << "the stream is half-closed";
  client_->End();
  loop_.RunReady();
  EXPECT_TRUE(done_);
}

TEST_F(EndsTest, AClientThatNeverClosesIsNotWaitedForForEver) {
  StartWebSocketCommand();
  Output("x");
  loop_.Advance(absl::Minutes(14));
  EXPECT_FALSE(done_);
  loop_.Advance(absl::Minutes(2));
  EXPECT_TRUE(done_);
}

TEST_F(EndsTest, WhatAGuestThatIsGoneHasSaidWaitsForTheClient) {
  StartWebSocketCommand();
  client_->Take(false);
  Output(std::string(200'000, 'x'));
  guest_->End();
  loop_.Advance(absl::Minutes(30));
  ASSERT_FALSE(done_);
  client_->Take(true);
  loop_.RunReady();
  EXPECT_EQ(std::count(client_->out.begin(), client_->out.end(), 'x'), 200'000);
  EXPECT_THAT(client_->out, HasSubstr(kSuccess));
}

TEST_F(EndsTest, AClientThatHangsUpUnreadIsFound) {
  StartWebSocketCommand();
  guest_->Take(false);
  client_->Say(Frame(http::WebSocketOp::kBinary, std::string("\0input", 6)));
  loop_.Advance(absl::Minutes(1));
  EXPECT_FALSE(done_);
  client_->hung_up = true;
  loop_.Advance(absl::Seconds(4));
  EXPECT_TRUE(done_) << "nothing has moved for a while";
}

TEST_F(EndsTest, AForwardedPortStaysUntilTheClientHasTakenTheEnd) {
  StartWebSocketForward();
  guest_->Say(std::string(200'000, 'x'));
  guest_->End();
  loop_.RunReady();
  const std::string written = client_->out;
  EXPECT_EQ(std::count(written.begin(), written.end(), 'x'), 200'000);
  EXPECT_THAT(written, EndsWith(CloseFrame()));
  EXPECT_TRUE(guest_->destroyed);
  for (int i = 0; i < 14; ++i) {
    loop_.Advance(absl::Minutes(1));
    client_->Say(Frame(http::WebSocketOp::kPing, "alive"));
    client_->Say(Frame(http::WebSocketOp::kBinary, std::string("\0more", 5)));
    loop_.RunReady();
    ASSERT_FALSE(client_->closed);
  }
  EXPECT_EQ(client_->out, written);
  loop_.Advance(absl::Minutes(2));
  EXPECT_TRUE(done_) << "but not for ever";
}

// ---- idleness ----

TEST(Liveness, EndsWhatHasNoMoreUse) {
  using Seconds = int;
  constexpr Seconds kNever = 1'000'000'000;
  struct Case {
    const char* what;
    Seconds idle, moves_until, hangs_up_at, ends_at;
  };
  for (const Case& c : {Case{"moves", 60, kNever, kNever, kNever}, Case{"stands still", 60, 0, kNever, 60},
                        Case{"stands still after a while", 60, 100, kNever, 160}, Case{"hung up", 60, 0, 0, 10},
                        Case{"hung up, and something is under way", 60, 100, 0, 110},
                        Case{"hung up when it stood still already", 60, 0, 50, 50},
                        Case{"without a limit", 0, 0, kNever, kNever}, Case{"without a limit, hung up", 0, 0, 0, 10}}) {
    FakeClock clock;
    const auto now = [&] { return static_cast<Seconds>(absl::ToInt64Seconds(clock.Now().since_start)); };
    int ended = 0;
    Liveness liveness(clock, absl::Seconds(c.idle),
                      {.moved = [&] { return static_cast<uint64_t>(std::min(now(), c.moves_until)); },
                       .hung_up = [&] { return now() >= c.hangs_up_at; },
                       .end = [&] { ++ended; }});
    const Seconds end = std::min<Seconds>(c.ends_at, 4 * 3600);
    clock.Advance(absl::Seconds(end) - absl::Milliseconds(1));
    EXPECT_EQ(ended, 0) << c.what;
    clock.Advance(absl::Seconds(c.ends_at == kNever ? 0 : 2));
    EXPECT_EQ(ended, c.ends_at == kNever ? 0 : 1) << c.what;
    if (ended > 0) EXPECT_EQ(clock.UntilNext(), absl::InfiniteDuration()) << c.what << ": once";
  }
}

TEST_F(EndsTest, AnIdleCommandEnds) {
  StartWebSocketCommand({.idle_timeout = absl::Minutes(1)});
  EndsAMinuteAfterBothHaveSpoken(
      [this] { client_->Say(Frame(http::WebSocketOp::kBinary, std::string("\0input", 6))); },
      [this] { guest_->Say(guestapi::EncodeStreamFrame(StreamChannel::kStdout, "output")); });
}

TEST_F(EndsTest, AnIdleForwardOverSpdyEnds) {
  StartSpdyForward(absl::Minutes(1));
  SpdySide side(client_.get());
  side.Open({{"streamtype", "error"}, {"port", "80"}, {"requestid", "0"}});
  const uint32_t data = side.Open({{"streamtype", "data"}, {"port", "80"}, {"requestid", "0"}});
  EndsAMinuteAfterBothHaveSpoken([&] { side.Send(data, "request"); }, [this] { guest_->Say("answer"); });
  EXPECT_EQ(guest_->out, "request");
}

TEST_F(EndsTest, AnIdleForwardOverWebSocketEnds) {
  StartWebSocketForward(absl::Minutes(1));
  EndsAMinuteAfterBothHaveSpoken(
      [this] { client_->Say(Frame(http::WebSocketOp::kBinary, std::string("\0request", 8))); },
      [this] { guest_->Say("answer"); });
  EXPECT_EQ(guest_->out, "request");
}

TEST_F(EndsTest, WithoutALimitNothingIsTooIdle) {
  StartWebSocketCommand({.idle_timeout = absl::ZeroDuration()});
  loop_.Advance(absl::Hours(10));
  EXPECT_FALSE(done_);
}

// ---- forwarded connections without their second stream ----

TEST_F(EndsTest, DataWithoutAnErrorStreamStopTheClientOnlyUntilTheyExpire) {
  StartSpdyForward();
  SpdySide side(client_.get());
  const uint32_t lone = side.Open({{"streamtype", "data"}, {"port", "80"}, {"requestid", "lone"}});
  loop_.RunReady();
  side.Send(lone, std::string(100'000, 'x'));
  loop_.RunReady();
  EXPECT_TRUE(client_->in.empty());
  side.Open({{"streamtype", "error"}, {"port", "80"}, {"requestid", "0"}});
  const uint32_t data = side.Open({{"streamtype", "data"}, {"port", "80"}, {"requestid", "0"}});
  side.Send(data, "request");
  loop_.Advance(absl::Seconds(29));
  EXPECT_EQ(guest_->out, "") << "more waits for the pod than is held";
  loop_.Advance(absl::Seconds(2));
  EXPECT_EQ(guest_->out, "request") << "and the session goes on";
  side.Take();
  EXPECT_TRUE(side.resets.contains(lone));
}

}  // namespace
}  // namespace vck::kubeletapi
