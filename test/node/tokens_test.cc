#include "node/tokens.h"

#include "fake_api.h"
#include "gmock/gmock.h"

namespace vck::node {
namespace {

using ::testing::HasSubstr;
using State = podvm::TokenResult::State;

class TokensTest : public ::testing::Test {
 protected:
  static json::Value PodJson(const std::string& uid) {
    return *json::Parse(absl::StrCat(R"({"metadata":{"name":"p","namespace":"n","uid":")", uid,
                                     R"("},"spec":{"serviceAccountName":"sa"}})"));
  }
  podvm::TokenResult Get(const podvm::TokenRef& ref = {}) { return tokens.Get(kubeapi::PodView(pod), ref); }

  FakeApi api;
  kube::ClientFixture fixture{[this](const http::Request& r) { return api(r); }};
  testing::Loop& loop = fixture.loop;
  std::vector<std::string> changes;
  json::Value pod = PodJson("u1");
  Tokens tokens{loop.executor(), fixture.client, [this](const std::string& uid) { changes.push_back(uid); }};
};

TEST_F(TokensTest, AreBoundToThePodAndAskedForOnce) {
  EXPECT_EQ(Get().state, State::kPending) << "before Run()";
  kube::Background run(loop, tokens.Run());
  loop.RunReady();
  EXPECT_EQ(Get().state, State::kReady);
  EXPECT_EQ(Get().token, "t1");
  EXPECT_EQ(changes, std::vector<std::string>{"u1"});
  ASSERT_EQ(api.token_bodies.size(), 1u);
  auto body = json::Parse(api.token_bodies[0]);
  const json::Value* spec = json::Get(*body, "spec");
  EXPECT_EQ(json::Int(spec, "expirationSeconds"), 3600);
  EXPECT_EQ(json::Get(spec, "audiences"), nullptr);
  EXPECT_EQ(json::String(json::Get(spec, "boundObjectRef"), "uid"), "u1");
  EXPECT_EQ(json::String(json::Get(spec, "boundObjectRef"), "kind"), "Pod");
  Get({"vault", 600});
  loop.RunReady();
  ASSERT_EQ(api.token_bodies.size(), 2u);
  EXPECT_THAT(api.token_bodies[1], HasSubstr(R"("audiences":["vault"])"));
  EXPECT_EQ(Get({"vault", 600}).token, "t2");
  EXPECT_EQ(Get().token, "t1");
}

TEST_F(TokensTest, AreRenewedAtFourFifthsOfTheirLife) {
  kube::Background run(loop, tokens.Run());
  Get();
  loop.Advance(absl::Seconds(3600 * 0.8 - 11));
  EXPECT_EQ(api.token_bodies.size(), 1u);
  loop.Advance(absl::Seconds(12));
  EXPECT_EQ(Get().token, "t2");
  EXPECT_EQ(changes.size(), 2u) << "so that the guest gets it";
  loop.Advance(absl::Hours(24));
  EXPECT_NEAR(static_cast<double>(api.token_bodies.size()), 2 + 24 / 0.8, 1);
}

TEST_F(TokensTest, AreRenewedAfterADayHoweverLongTheyWouldLive) {
  api.token_life = 365 * 24 * 3600;  // what the server grants counts
  kube::Background run(loop, tokens.Run());
  Get();
  loop.Advance(absl::Hours(24) - absl::Seconds(11));
  EXPECT_EQ(api.token_bodies.size(), 1u);
  loop.Advance(absl::Seconds(12));
  EXPECT_EQ(api.token_bodies.size(), 2u);
}

TEST_F(TokensTest, TheOldOneServesWhileItIsValid) {
  kube::Background run(loop, tokens.Run());
  Get();
  loop.RunReady();
  api.token_status = 404;
  loop.Advance(absl::Minutes(55));
  EXPECT_GT(api.token_bodies.size(), 2u) << "tried again and again";
  EXPECT_LT(api.token_bodies.size(), 30u) << "with back-off";
  EXPECT_EQ(Get().token, "t1");
  loop.Advance(absl::Minutes(6));
  EXPECT_EQ(Get().state, State::kFailed);
  EXPECT_EQ(Get().error, "token of service account n/sa expired and refresh failed: not you");
  api.token_status = 201;
  loop.Advance(absl::Minutes(2));
  EXPECT_EQ(Get().state, State::kReady);
}

TEST_F(TokensTest, ARefusalJustAfterBindingIsADelay) {
  api.token_status = 403;
  kube::Background run(loop, tokens.Run());
  Get();
  loop.Advance(absl::Seconds(3));
  EXPECT_EQ(Get().state, State::kPending);
  loop.Advance(absl::Seconds(10));
  EXPECT_EQ(Get().state, State::kFailed);
  EXPECT_EQ(Get().error, "failed to fetch token: not you");
  changes.clear();
  loop.Advance(absl::Minutes(2));
  EXPECT_FALSE(changes.empty()) << "whoever waits looks again";
  api.token_status = 201;
  loop.Advance(absl::Minutes(2));
  EXPECT_EQ(Get().state, State::kReady);
}

TEST_F(TokensTest, AMissingServiceAccountIsToldAtOnce) {
  api.token_status = 404;
  kube::Background run(loop, tokens.Run());
  Get();
  loop.RunReady();
  EXPECT_EQ(Get().state, State::kFailed);
}

TEST_F(TokensTest, AreForgottenWithThePod) {
  kube::Background run(loop, tokens.Run());
  Get();
  loop.RunReady();
  tokens.Release("u1");
  EXPECT_EQ(tokens.size(), 0u);
  loop.Advance(absl::Hours(48));
  EXPECT_EQ(api.token_bodies.size(), 1u);
  // Also one whose answer is still to come.
  pod = PodJson("u2");
  Get();
  tokens.Release("u2");
  loop.RunReady();
  EXPECT_EQ(tokens.size(), 0u);
  EXPECT_EQ(changes, std::vector<std::string>{"u1"});
}

}  // namespace
}  // namespace vck::node
