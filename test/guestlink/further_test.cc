// Further connections to a tether: exec, logs and their like.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "guestlink/net.h"
#include "guestlink/scripted_tether.h"

namespace vck::guestlink {
namespace {

using ::testing::HasSubstr;

http::Request UpgradeTo(std::string protocol, std::string target = "/v1/exec?container=c") {
  http::Request request{.method = "POST", .target = std::move(target)};
  request.headers.Set("Upgrade", std::move(protocol));
  return request;
}

class FurtherTest : public ::testing::Test {
 protected:
  FurtherTest() {
    tether_.Say(HelloOf("b1"));
    tether_.Say(StateOf("b1", 1));
  }
  ~FurtherTest() override { net_.Close(); }
  void Connect() {
    kubelet_->Connect("uid-1", tether_.endpoint());
    ASSERT_TRUE(kubelet_.UntilConnected("uid-1"));
  }
  StatusOr<OpenedStream> Open(http::Request request, const std::string& uid = "uid-1") {
    return net_.Run(kubelet_->Open(uid, std::move(request)));
  }
  StatusOr<std::string> Get(std::string target) {
    auto response = net_.Run(kubelet_->Get("uid-1", std::move(target)));
    if (!response.ok()) return response.status();
    std::string all;
    while (true) {
      auto piece = net_.Run(response->body->Read());
      if (!piece.ok()) return piece.status();
      if (piece->empty()) return all;
      EXPECT_LE(piece->size(), 64u * 1024);
      all += *piece;
    }
  }
  std::string Read(http::Stream& stream, size_t bytes) {
    std::string all;
    while (all.size() < bytes) {
      char buffer[100];
      auto n = net_.Run(stream.ReadSome(buffer));
      EXPECT_TRUE(n.ok()) << n.status();
      if (!n.ok() || *n == 0) break;
      all.append(buffer, *n);
    }
    return all;
  }

  Net net_;
  Kubelet kubelet_{&net_, NewKey()};
  ScriptedTether tether_{&net_, kubelet_->ca_pem()};
};

Task<Status> Echo(http::Exchange& exchange) {
  std::string leftover;
  EXPECT_EQ(exchange.request().method, "POST");
  EXPECT_EQ(exchange.request().headers.Get("Host"), "tether.vch");
  EXPECT_EQ(exchange.request().headers.Get("Upgrade"), "vch-stream/1");
  CO_ASSIGN_OR_RETURN(auto stream, co_await exchange.Upgrade({{"Upgrade", "vch-stream/1"}}, &leftover));
  CO_RETURN_IF_ERROR(co_await stream->Write("first"));
  while (true) {
    char buffer[100];
    CO_ASSIGN_OR_RETURN(size_t n, co_await stream->ReadSome(buffer));
    if (n == 0) co_return absl::OkStatus();
    CO_RETURN_IF_ERROR(co_await stream->Write({buffer, n}));
  }
}

TEST_F(FurtherTest, AStreamIsOpened) {
  tether_.Further(Echo);
  Connect();
  auto opened = Open(UpgradeTo("vch-stream/1"));
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->leftover + Read(*opened->stream, 5 - opened->leftover.size()), "first");
  ASSERT_TRUE(net_.Run(opened->stream->Write("hello")).ok());
  EXPECT_EQ(Read(*opened->stream, 5), "hello");
}

TEST_F(FurtherTest, ABodyIsReadAsItComes) {
  tether_.Further([](http::Exchange& exchange) -> Task<Status> {
    EXPECT_EQ(exchange.request().target, "/v1/logs?container=c");
    CO_RETURN_IF_ERROR(co_await exchange.Begin(200, {}));
    std::string piece(100'000, 'x');
    for (int i = 0; i < 10; ++i) CO_RETURN_IF_ERROR(co_await exchange.WriteSome(piece));
    co_return co_await exchange.Finish();
  });
  Connect();
  auto body = Get("/v1/logs?container=c");
  ASSERT_TRUE(body.ok()) << body.status();
  EXPECT_EQ(body->size(), 1'000'000u);
}

TEST_F(FurtherTest, AnEndBeforeTheEndIsAnError) {
  tether_.Further([](http::Exchange& exchange) -> Task<Status> {
    CO_RETURN_IF_ERROR(co_await exchange.Begin(200, {}));
    CO_RETURN_IF_ERROR(co_await exchange.WriteSome("half"));
    co_return absl::InternalError("dropped");
  });
  Connect();
  EXPECT_TRUE(absl::IsUnavailable(Get("/v1/logs?container=c").status()));
}

TEST_F(FurtherTest, ErrorsAreTheTethers) {
  struct Case {
    int status;
    absl::StatusCode code;
  } cases[] = {{400, absl::StatusCode::kInvalidArgument}, {403, absl::StatusCode::kPermissionDenied},
               {404, absl::StatusCode::kNotFound},        {409, absl::StatusCode::kFailedPrecondition},
               {500, absl::StatusCode::kInternal},        {501, absl::StatusCode::kUnimplemented},
               {502, absl::StatusCode::kUnavailable}};
  int status = 0;
  tether_.Further([&status](http::Exchange& exchange) {
    return exchange.Respond({status, {}, R"({"error":{"code":"SomeCode","message":"no container \"x\""}})"});
  });
  Connect();
  for (const Case& c : cases) {
    status = c.status;
    for (const Status& error : {Open(UpgradeTo("vch-stream/1")).status(), Get("/v1/logs").status()}) {
      EXPECT_EQ(error.code(), c.code);
      EXPECT_EQ(error.message(), "no container \"x\"");
      auto tether = GetTetherError(error);
      ASSERT_TRUE(tether.has_value());
      EXPECT_EQ(tether->http_status, c.status);
      EXPECT_EQ(tether->code, "SomeCode");
    }
  }
}

TEST_F(FurtherTest, AnAnswerWithoutWordsStillSaysSomething) {
  tether_.Further([](http::Exchange& exchange) { return exchange.Respond({500, {}, "oops"}); });
  Connect();
  EXPECT_EQ(Get("/v1/logs").status().message(), "the guest answered 500");
}

TEST_F(FurtherTest, WhatIsNotThereOrNotConnected) {
  EXPECT_TRUE(absl::IsNotFound(Open(UpgradeTo("vch-stream/1"), "uid-9").status()));
  EXPECT_FALSE(GetTetherError(Open(UpgradeTo("vch-stream/1"), "uid-9").status()).has_value());
  auto elsewhere = tether_.endpoint();
  elsewhere.port = 1;  // nobody listens there
  kubelet_->Connect("uid-1", elsewhere);
  ASSERT_NE(kubelet_.UntilError("uid-1"), "");
  Status error = Open(UpgradeTo("vch-stream/1")).status();
  EXPECT_TRUE(absl::IsUnavailable(error));
  EXPECT_THAT(error.message(), HasSubstr("is not connected: "));
  kubelet_->Forget("uid-1");
  EXPECT_TRUE(absl::IsNotFound(Get("/v1/logs").status()));
}

TEST_F(FurtherTest, AnotherKeyIsNotTrusted) {
  tether_.Further(Echo);
  Connect();
  // The tether on the same address has another key now, and no certificate of this VCH.
  tether_.ChangeKey(NewKey(), kubelet_->ca_pem());
  Status error = Open(UpgradeTo("vch-stream/1")).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(error)) << error;
}

TEST_F(FurtherTest, ADisconnectClosesTheStreams) {
  tether_.Further(Echo);
  Connect();
  auto opened = Open(UpgradeTo("vch-stream/1"));
  ASSERT_TRUE(opened.ok()) << opened.status();
  (void)Read(*opened->stream, 5 - opened->leftover.size());
  kubelet_->Disconnect("uid-1");
  char buffer[10];
  EXPECT_TRUE(absl::IsUnavailable(net_.Run(opened->stream->ReadSome(buffer)).status()));
}

TEST_F(FurtherTest, ATetherThatDoesNotAnswerIsNotWaitedForForever) {
  Kubelet impatient(&net_, NewKey(), absl::Milliseconds(300));
  ScriptedTether tether(&net_, impatient->ca_pem(), 201);
  tether.Say(HelloOf("b1"));
  tether.Say(StateOf("b1", 1));
  tether.Further([](http::Exchange& exchange) -> Task<Status> {
    co_await exchange.WaitClosed();
    co_return absl::OkStatus();
  });
  impatient->Connect("uid-1", tether.endpoint());
  ASSERT_TRUE(impatient.UntilConnected("uid-1"));
  EXPECT_TRUE(absl::IsDeadlineExceeded(net_.Run(impatient->Get("uid-1", "/v1/logs")).status()));
  EXPECT_TRUE(absl::IsDeadlineExceeded(net_.Run(impatient->Open("uid-1", UpgradeTo("x"))).status()));
}

}  // namespace
}  // namespace vck::guestlink
