#include "http/websocket.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "http/net.h"

namespace vck::http {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Net;

// ---- handshake ----

Request Handshake() {
  return {.method = "GET",
          .target = "/",
          .headers = {{"Connection", "keep-alive, Upgrade"},
                      {"Upgrade", "WebSocket"},
                      {"Sec-WebSocket-Version", "13"},
                      {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
                      {"Sec-WebSocket-Protocol", "v4.channel.k8s.io, channel.k8s.io"},
                      {"Sec-WebSocket-Protocol", "x"}}};
}

TEST(WebSocketHandshake, TheExampleOfTheRfc) {
  EXPECT_TRUE(IsWebSocketRequest(Handshake()));
  EXPECT_THAT(WebSocketProtocols(Handshake()), ElementsAre("v4.channel.k8s.io", "channel.k8s.io", "x"));
  auto headers = AcceptWebSocket(Handshake(), "channel.k8s.io");
  ASSERT_TRUE(headers.ok()) << headers.status();
  EXPECT_EQ(headers->Get("Sec-WebSocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  EXPECT_EQ(headers->Get("Sec-WebSocket-Protocol"), "channel.k8s.io");
  EXPECT_EQ(headers->Get("Upgrade"), "websocket");
  EXPECT_EQ(AcceptWebSocket(Handshake(), "")->Get("Sec-WebSocket-Protocol"), std::nullopt);
}

TEST(WebSocketHandshake, WhatIsNone) {
  auto request = Handshake();
  request.headers.Set("Connection", "keep-alive");
  EXPECT_FALSE(IsWebSocketRequest(request));
  request = Handshake();
  request.headers.Set("Upgrade", "SPDY/3.1");
  EXPECT_FALSE(IsWebSocketRequest(request));
  EXPECT_FALSE(AcceptWebSocket(request, "").ok());
  request = Handshake();
  request.method = "POST";
  EXPECT_TRUE(absl::IsInvalidArgument(AcceptWebSocket(request, "").status()));
  request = Handshake();
  request.headers.Set("Sec-WebSocket-Version", "8");
  EXPECT_TRUE(absl::IsFailedPrecondition(AcceptWebSocket(request, "").status()));
  for (const char* key : {"", "dGhlIHNhbXBsZSBub25j", "not base64 at all!!!!!!!"}) {
    request = Handshake();
    request.headers.Set("Sec-WebSocket-Key", key);
    EXPECT_TRUE(absl::IsInvalidArgument(AcceptWebSocket(request, "").status())) << key;
  }
}

// ---- frames ----

class Log : public WebSocketEvents {
 public:
  void OnMessage(WebSocketOp kind, std::string_view piece, bool begin, bool end) override {
    if (begin) {
      EXPECT_FALSE(open_);
      messages.emplace_back(kind == WebSocketOp::kText ? "t:" : "b:");
    }
    open_ = !end;
    messages.back().append(piece);
    if (end) messages.back() += ".";
  }
  void OnPing(std::string_view payload) override { control.push_back(absl::StrCat("ping ", payload)); }
  void OnPong(std::string_view payload) override { control.push_back(absl::StrCat("pong ", payload)); }
  void OnClose(uint16_t code, std::string_view reason) override {
    control.push_back(absl::StrCat("close ", code, " ", reason));
  }
  std::vector<std::string> messages, control;

 private:
  bool open_ = false;
};

// A client's frame.
std::string Masked(int first, std::string_view payload, std::string_view mask = "\x37\xfa\x21\x3d") {
  std::string out;
  AppendWebSocketHeader(&out, static_cast<WebSocketOp>(first & 15), payload.size());
  out[0] = static_cast<char>(first);
  out[1] = static_cast<char>(out[1] | 0x80);
  out.append(mask);
  for (size_t i = 0; i < payload.size(); ++i) out.push_back(static_cast<char>(payload[i] ^ mask[i % 4]));
  return out;
}
constexpr int kFin = 0x80;
constexpr int kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10;

Status Feed(WebSocketReceiver& receiver, std::string text, Log& log, size_t piece = SIZE_MAX) {
  for (size_t at = 0; at < text.size(); at += std::min(piece, text.size() - at)) {
    RETURN_IF_ERROR(receiver.Feed(std::span<char>(text).subspan(at, std::min(piece, text.size() - at)), log));
  }
  return absl::OkStatus();
}

TEST(WebSocketFrames, TheExamplesOfTheRfc) {
  WebSocketReceiver receiver;
  Log log;
  std::string hello;
  ASSERT_TRUE(absl::HexStringToBytes("818537fa213d7f9f4d5158", &hello));
  ASSERT_TRUE(Feed(receiver, hello, log).ok());
  EXPECT_THAT(log.messages, ElementsAre("t:Hello."));
  EXPECT_EQ(Masked(kFin | kText, "Hello"), hello);
  std::string out;
  AppendWebSocketFrame(&out, WebSocketOp::kText, "Hello");
  EXPECT_EQ(absl::BytesToHexString(out), "810548656c6c6f");
  out.clear();
  AppendWebSocketHeader(&out, WebSocketOp::kBinary, 256);
  AppendWebSocketHeader(&out, WebSocketOp::kBinary, 65536);
  EXPECT_EQ(absl::BytesToHexString(out), "827e0100827f0000000000010000");
}

TEST(WebSocketFrames, FragmentsWithAPingBetweenThemWhereverTheyAreCut) {
  const std::string big(70'000, 'x');
  const std::string all = Masked(kBinary, "a") + Masked(kFin | kPing, "p") + Masked(0, "") + Masked(kFin, "b") +
                          Masked(kFin | kBinary, "") + Masked(kFin | kPong, "") + Masked(kFin | kBinary, big) +
                          Masked(kFin | kText, "\xe2\x82\xac") +
                          Masked(kFin | kClose,
                                 "\x03\xe8"
                                 "bye") +
                          "ignored";
  for (size_t piece : {size_t{1}, size_t{2}, size_t{13}, size_t{4096}, all.size()}) {
    WebSocketReceiver receiver;
    Log log;
    ASSERT_TRUE(Feed(receiver, all, log, piece).ok()) << piece;
    // Not as matchers: these would print all of it.
    EXPECT_TRUE(log.messages ==
                (std::vector<std::string>{"b:ab.", "b:.", absl::StrCat("b:", big, "."), "t:\xe2\x82\xac."}))
        << piece;
    EXPECT_THAT(log.control, ElementsAre("ping p", "pong ", "close 1000 bye"));
    EXPECT_TRUE(receiver.closed());
  }
}

TEST(WebSocketFrames, Mistakes) {
  struct Case {
    std::string bytes;
    uint16_t code;
    std::string_view why;
  };
  std::string unmasked;
  AppendWebSocketFrame(&unmasked, WebSocketOp::kText, "x");
  const std::string mask("\1\1\1\1");
  const Case cases[] = {
      {unmasked, 1002, "not masked"},
      {Masked(kFin | 0x40 | kText, ""), 1002, "reserved bit"},
      {Masked(kFin | 3, ""), 1002, "unknown opcode 3"},
      {Masked(kFin | 11, ""), 1002, "unknown opcode 11"},
      {Masked(kPing, ""), 1002, "control frame"},
      {Masked(kFin | kPing, std::string(126, 'x')), 1002, "control frame"},
      {Masked(kFin, "x"), 1002, "continuation of nothing"},
      {Masked(kText, "x") + Masked(kFin | kText, "y"), 1002, "within another"},
      {std::string("\x82\xff\x80", 3) + std::string(7, '\0') + mask, 1002, "highest bit"},
      {Masked(kFin | kClose, "x"), 1002, "half a close code"},
      {Masked(kFin | kClose, std::string("\0\1", 2)), 1002, "close code 1"},
      {Masked(kFin | kClose, "\x03\xed"), 1002, "close code 1005"},
      {Masked(kFin | kClose, "\x03\xe8\xff"), 1007, "not UTF-8"},
      {Masked(kFin | kText, "\xc3"), 1007, "not UTF-8"},
      {Masked(kFin | kText, "\xc0\x80"), 1007, "not UTF-8"},
      {Masked(kFin | kText, "\xed\xa0\x80"), 1007, "not UTF-8"},
      {Masked(kFin | kText, "\xf4\x90\x80\x80"), 1007, "not UTF-8"},
      {Masked(kFin | kText, "\x80"), 1007, "not UTF-8"},
      {Masked(kFin | kBinary, std::string(101, 'x')), 1009, "more than 100 bytes"},
      {Masked(kBinary, std::string(60, 'x')) + Masked(kFin, std::string(41, 'x')), 1009, "more than 100 bytes"},
  };
  for (const Case& c : cases) {
    WebSocketReceiver receiver(100);
    Log log;
    Status status = Feed(receiver, c.bytes, log);
    EXPECT_FALSE(status.ok()) << c.why;
    EXPECT_THAT(status.message(), HasSubstr(c.why));
    EXPECT_EQ(receiver.close_code(), c.code) << c.why;
    EXPECT_EQ(absl::IsResourceExhausted(status), c.code == 1009);
    EXPECT_TRUE(receiver.closed());
  }
}

TEST(WebSocketFrames, CloseWithoutACode) {
  WebSocketReceiver receiver;
  Log log;
  ASSERT_TRUE(Feed(receiver, Masked(kFin | kClose, ""), log).ok());
  EXPECT_THAT(log.control, ElementsAre("close 1005 "));
}

// ---- on a stream ----

class WebSocketStream : public ::testing::Test {
 protected:
  // Sends `in`, and returns all that the server says until it closes.
  std::string Talk(std::string in) {
    auto& server = net_.Serve({}, [this](Exchange& exchange) { return Serve(exchange); });
    auto stream = net_.Run(Dial(net_.clock(), "127.0.0.1", server.port(), nullptr, {})).value();
    Request request = Handshake();
    std::string leftover;
    auto response = net_.Run(Upgrade(*stream, request, &leftover));
    EXPECT_EQ(response->status, 101);
    EXPECT_TRUE(net_.Run(stream->Write(in)).ok());
    return leftover + net_.Run(testing::ReadAll(*stream));
  }
  Task<Status> Serve(Exchange& exchange) {
    std::string leftover;
    CO_ASSIGN_OR_RETURN(auto stream, co_await exchange.Upgrade(*AcceptWebSocket(exchange.request(), ""), &leftover));
    WebSocket socket(std::move(stream), std::move(leftover));
    CO_RETURN_IF_ERROR(co_await socket.Send(WebSocketOp::kText, "hi"));
    while (true) {
      auto more = co_await socket.Receive(log_);
      end_ = more.status();
      if (!more.ok() || !*more) break;
    }
    late_ = co_await socket.Send(WebSocketOp::kText, "late");
    co_return absl::OkStatus();
  }

  Log log_;
  Status end_, late_;
  Net net_;
};

TEST_F(WebSocketStream, AnswersPingsAndCloses) {
  EXPECT_EQ(Talk(Masked(kFin | kPing, "p") + Masked(kFin | kBinary, "x") + Masked(kFin | kClose, "\x03\xe9")),
            "\x81\x02hi\x8a\x01p\x88\x02\x03\xe9");
  EXPECT_THAT(log_.messages, ElementsAre("b:x."));
  EXPECT_THAT(log_.control, ElementsAre("ping p", "close 1001 "));
  EXPECT_TRUE(end_.ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(late_));
}

TEST_F(WebSocketStream, SaysWhyItCloses) {
  EXPECT_EQ(Talk(Masked(kFin, "x")),
            "\x81\x02hi\x88\x26\x03\xea"
            "WebSocket: a continuation of nothing");
  EXPECT_TRUE(absl::IsInvalidArgument(end_));
}

}  // namespace
}  // namespace vck::http
