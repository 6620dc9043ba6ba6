#include "vsphere/rest.h"

#include "async/task_group.h"
#include "fake_vapi.h"
#include "fake_vcenter.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/loop.h"

namespace vck::vsphere {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kCategory = "/com/vmware/cis/tagging/category";

class RestTest : public ::testing::Test {
 protected:
  RestTest() {
    SessionOptions options;
    options.credentials = [this]() -> StatusOr<Credentials> { return credentials_; };
    session_ = std::make_unique<Session>(loop_.clock(), vcenter_, std::move(options));
    session_->OnHealth([this](const Health& health) { refusals_.push_back(!health.refusal.ok()); });
    rest_ = std::make_unique<RestSession>(vapi_.http, *session_);
  }
  StatusOr<json::Value> List() { return loop_.Run(rest_->Call("GET", kCategory, "", {})); }
  Status Soap() {
    return loop_.Run(session_->Invoke(vim::CurrentTime({.type = "ServiceInstance", .value = "ServiceInstance"})))
        .status();
  }
  // As tools of the vCenter's administrator would do it.
  void ChangePassword(const std::string& password) {
    vapi_.password = password;
    vcenter_->password = password;
  }
  [[nodiscard]] int Logins() const {
    return vcenter_->Count("Login") + vapi_.Count("POST /api/session") +
           vapi_.Count("POST /rest/com/vmware/cis/session");
  }

  vck::testing::Loop loop_;
  std::shared_ptr<FakeVcenter> vcenter_ = std::make_shared<FakeVcenter>(loop_.clock());
  FakeVapi vapi_{loop_.clock()};
  Credentials credentials_{"u", "secret"};
  std::unique_ptr<Session> session_;
  std::unique_ptr<RestSession> rest_;
  std::vector<bool> refusals_;
};

TEST_F(RestTest, SpeaksApiWhereItIsThere) {
  StatusOr<json::Value> ids = List();
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_TRUE(ids->is_array());
  EXPECT_THAT(vapi_.calls, ElementsAre("POST /api/session", "GET /api/cis/tagging/category"));
  EXPECT_EQ(rest_->Id("urn:x"), "urn%3Ax");
  EXPECT_EQ(json::Serialize(rest_->Wrap("create_spec", {{"name", "n"}})), R"({"name":"n"})");
  EXPECT_EQ(vapi_.http->requests().back().headers.Get("vmware-api-session-id"), "token-1");
}

TEST_F(RestTest, FallsBackToRest) {
  vapi_.api = false;
  for (int status : {404, 405, 501}) {
    vapi_.unknown_api_status = status;
    vapi_.calls.clear();
    RestSession rest(vapi_.http, *session_);
    StatusOr<json::Value> ids = loop_.Run(rest.Call("GET", kCategory, "", {}));
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_TRUE(ids->is_array()) << "without its {value: …}";
    EXPECT_THAT(vapi_.calls, ElementsAre("POST /api/session", "POST /rest/com/vmware/cis/session",
                                         "GET /rest/com/vmware/cis/tagging/category"));
    EXPECT_EQ(rest.Id("urn:x"), "id:urn%3Ax");
    EXPECT_EQ(json::Serialize(rest.Wrap("create_spec", {{"name", "n"}})), R"({"create_spec":{"name":"n"}})");
  }
}

TEST_F(RestTest, AServerWithNeither) {
  vapi_.api = vapi_.rest = false;
  EXPECT_EQ(List().status().code(), absl::StatusCode::kNotFound);
}

TEST_F(RestTest, BothWriteErrorsInTheirOwnWay) {
  for (bool api : {true, false}) {
    vapi_.api = api;
    RestSession rest(vapi_.http, *session_);
    ASSERT_TRUE(loop_.Run(rest.SpeaksApi()).ok());
    auto create = [&] {
      return loop_.Run(rest.Call("POST", kCategory, "", rest.Wrap("create_spec", {{"name", api ? "a" : "b"}})));
    };
    StatusOr<json::Value> created = create();
    ASSERT_TRUE(created.ok()) << created.status();
    EXPECT_THAT(json::AsString(*created), HasSubstr("category-"));
    EXPECT_TRUE(absl::IsAlreadyExists(create().status())) << "a 400 by its status alone";
    EXPECT_TRUE(
        absl::IsNotFound(loop_.Run(rest.Call("GET", absl::StrCat(kCategory, "/", rest.Id("none")), "", {})).status()));
  }
}

TEST_F(RestTest, AnExpiredSessionIsMadeAnewOnceForAll) {
  ASSERT_TRUE(List().ok());
  vapi_.EndSessions();
  EXPECT_TRUE(List().ok());
  EXPECT_EQ(vapi_.Count("POST /api/session"), 2);
  // A server that takes every login and no session is not asked for ever.
  vapi_.http->Handle([](const http::Request& request) {
    if (request.target == "/api/session") return vck::testing::FakeReply{.body = "\"t\""};
    return vck::testing::FakeReply{.status = 401};
  });
  EXPECT_TRUE(absl::IsUnauthenticated(List().status()));
}

TEST_F(RestTest, LogoutEndsTheSession) {
  loop_.Run(rest_->Logout());
  EXPECT_TRUE(vapi_.calls.empty()) << "there was none";
  for (bool api : {true, false}) {
    vapi_.api = api;
    RestSession rest(vapi_.http, *session_);
    ASSERT_TRUE(loop_.Run(rest.SpeaksApi()).ok());
    loop_.Run(rest.Logout());
    EXPECT_TRUE(vapi_.sessions.empty());
    EXPECT_TRUE(loop_.Run(rest.Call("GET", kCategory, "", {})).ok()) << "and a later call logs in";
    EXPECT_EQ(vapi_.sessions.size(), 1U);
    vapi_.EndSessions();
  }
}

// A password is changed in vCenter while the SOAP session lives: only REST logs in, and must not lock the account.
TEST_F(RestTest, RefusedCredentialsAreTriedMinutesApart) {
  ASSERT_TRUE(Soap().ok());
  ChangePassword("rotated");
  const int before = Logins();
  for (int i = 0; i < 60; ++i) {  // a minute of eager callers
    EXPECT_TRUE(absl::IsUnauthenticated(List().status()));
    loop_.Advance(absl::Seconds(1));
  }
  EXPECT_EQ(Logins() - before, 1);
  EXPECT_TRUE(Soap().ok()) << "the session that there is goes on";
  EXPECT_EQ(session_->health().state, Health::State::kOk);
  EXPECT_TRUE(absl::IsUnauthenticated(session_->health().refusal));
  EXPECT_THAT(refusals_, ElementsAre(false, true));
  loop_.Advance(absl::Minutes(2));
  (void)List();
  EXPECT_EQ(Logins() - before, 2);
  // Corrected credentials are taken at once.
  credentials_.password = "rotated";
  EXPECT_TRUE(List().ok());
  EXPECT_TRUE(session_->health().refusal.ok());
  EXPECT_THAT(refusals_, ElementsAre(false, true, false));
}

TEST_F(RestTest, WhatOneApiRefusedTheOtherDoesNotTry) {
  ASSERT_TRUE(Soap().ok());
  ChangePassword("rotated");
  (void)List();
  vcenter_->EndSession();
  int before = Logins();
  EXPECT_TRUE(absl::IsUnauthenticated(Soap()));
  EXPECT_EQ(session_->health().state, Health::State::kInvalidLogin);
  EXPECT_EQ(Logins(), before);
  // It is SOAP's turn, and REST's waiting begins anew.
  loop_.Advance(absl::Minutes(3));
  EXPECT_TRUE(absl::IsUnauthenticated(Soap()));
  EXPECT_TRUE(absl::IsUnauthenticated(List().status()));
  EXPECT_EQ(Logins(), before + 1);
  // REST finds out that they are good again, and SOAP need not wait.
  ChangePassword("secret");
  loop_.Advance(absl::Minutes(5));
  EXPECT_TRUE(List().ok());
  EXPECT_TRUE(Soap().ok());
  EXPECT_EQ(session_->health().state, Health::State::kOk);
}

TEST_F(RestTest, LoginsOfBothApisGoOneAfterTheOther) {
  ChangePassword("rotated");
  vcenter_->latency = absl::Milliseconds(50);
  TaskGroup group(loop_.executor());
  Status soap, rest;
  group.Spawn("soap", [](Session& s, Status& out) -> Task<> { out = co_await s.Connect(); }(*session_, soap));
  group.Spawn("rest",
              [](RestSession& s, Status& out) -> Task<> { out = (co_await s.SpeaksApi()).status(); }(*rest_, rest));
  (void)loop_.Run(group.Join());
  EXPECT_TRUE(absl::IsUnauthenticated(soap));
  EXPECT_TRUE(absl::IsUnauthenticated(rest));
  EXPECT_EQ(Logins(), 1);
}

TEST_F(RestTest, AFailureThatIsNoRefusalIsTriedAgain) {
  vapi_.session_status = 503;
  EXPECT_TRUE(absl::IsUnavailable(List().status()));
  vapi_.session_status = 0;
  EXPECT_TRUE(List().ok());
  EXPECT_TRUE(session_->health().refusal.ok());
}

TEST_F(RestTest, ThePasswordIsInNoError) {
  credentials_.password = "hunter2";
  Status status = List().status();
  EXPECT_THAT(status.ToString(), Not(HasSubstr("hunter2")));
  EXPECT_THAT(status.ToString(), HasSubstr("401"));
  EXPECT_THAT(vapi_.calls, Each(HasSubstr("session")));
}

}  // namespace
}  // namespace vck::vsphere
