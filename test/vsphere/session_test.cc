#include "vsphere/session.h"

#include "async/task_group.h"
#include "fake_vcenter.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/loop.h"

namespace vck::vsphere {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SessionTest : public ::testing::Test {
 protected:
  SessionTest() {
    SessionOptions options;
    options.credentials = [this]() -> StatusOr<Credentials> { return credentials_; };
    session_ = std::make_unique<Session>(loop_.clock(), vcenter_, std::move(options));
  }

  Task<StatusOr<std::string>> CurrentTime() {
    return session_->Invoke(vim::CurrentTime({.type = "ServiceInstance", .value = "ServiceInstance"}));
  }
  Task<StatusOr<MoRef>> PowerOn() {
    return session_->Invoke(vim::PowerOnVM_Task({.type = "VirtualMachine", .value = "vm-1"}, std::nullopt));
  }
  // Runs `n` calls at once; all must have ended.
  std::vector<Status> Together(int n) {
    std::vector<Status> all(n, absl::UnknownError("still waits"));
    TaskGroup group(loop_.executor());
    for (int i = 0; i < n; ++i) group.Spawn("call", Keep(&all[i]));
    EXPECT_TRUE(loop_.Run(group.Join()).ok());
    return all;
  }
  Task<> Keep(Status* out) { *out = (co_await CurrentTime()).status(); }

  testing::Loop loop_;
  std::shared_ptr<FakeVcenter> vcenter_ = std::make_shared<FakeVcenter>(loop_.clock());
  Credentials credentials_{.user = "u", .password = "secret"};
  std::unique_ptr<Session> session_;
};

TEST_F(SessionTest, NegotiatesTheNewestVersionThatBothKnow) {
  ASSERT_TRUE(loop_.Run(session_->Connect()).ok());
  EXPECT_EQ(session_->api_version(), "8.0.2.0");
  EXPECT_EQ(vcenter_->requests.back().headers.Get("SOAPAction"), "\"urn:vim25/8.0.2.0\"");
  EXPECT_EQ(session_->content().rootFolder.value, "group-d1");
  EXPECT_EQ(session_->health().state, Health::State::kOk);
}

TEST_F(SessionTest, OneLoginForAllWhoCome) {
  vcenter_->latency = absl::Milliseconds(10);
  for (const Status& status : Together(20)) EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(vcenter_->Count("Login"), 1);
}

TEST_F(SessionTest, OneReloginForAllWhoFindTheSessionGone) {
  ASSERT_TRUE(loop_.Run(session_->Connect()).ok());
  vcenter_->latency = absl::Milliseconds(10);
  vcenter_->EndSession();
  for (const Status& status : Together(20)) EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(vcenter_->Count("Login"), 2);
  EXPECT_EQ(session_->epoch(), 2U);
}

TEST_F(SessionTest, AMutationIsRepeatedAfterNotAuthenticated) {
  ASSERT_TRUE(loop_.Run(session_->Connect()).ok());
  vcenter_->On("PowerOnVM_Task", [](const std::string&) { return FakeVcenter::Ref("Task", "task-1"); });
  vcenter_->EndSession();
  StatusOr<MoRef> task = loop_.Run(PowerOn());
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->value, "task-1");
  EXPECT_EQ(vcenter_->Count("PowerOnVM_Task"), 2);
}

TEST_F(SessionTest, AMutationWhoseAnswerIsLostIsNotRepeated) {
  ASSERT_TRUE(loop_.Run(session_->Connect()).ok());
  vcenter_->On("PowerOnVM_Task", [](const std::string&) { return FakeVcenter::Transport(); });
  Status status = loop_.Run(PowerOn()).status();
  EXPECT_EQ(vcenter_->Count("PowerOnVM_Task"), 1);
  EXPECT_TRUE(status.GetPayload(http::kMaybeSent).has_value());
  EXPECT_EQ(vim::RetryClassOf(status), vim::RetryClass::kReadBack);
}

TEST_F(SessionTest, AReadIsRepeated) {
  ASSERT_TRUE(loop_.Run(session_->Connect()).ok());
  int calls = 0;
  vcenter_->On("CurrentTime", [&calls](const std::string&) {
    return ++calls < 3 ? FakeVcenter::Transport() : std::string("<returnval>now</returnval>");
  });
  StatusOr<std::string> now = loop_.Run(CurrentTime());
  ASSERT_TRUE(now.ok()) << now.status();
  EXPECT_EQ(*now, "now");
  EXPECT_EQ(session_->health().state, Health::State::kOk);
}

TEST_F(SessionTest, RefusedCredentialsAreTriedMinutesApart) {
  std::vector<Health::State> states;
  session_->OnHealth([&states](const Health& health) { states.push_back(health.state); });
  credentials_.password = "wrong";
  Status status = loop_.Run(CurrentTime()).status();
  EXPECT_TRUE(absl::IsUnauthenticated(status));
  EXPECT_EQ(vim::FaultType(status), "InvalidLogin");
  EXPECT_EQ(vim::RetryClassOf(status), vim::RetryClass::kLongBackoff);
  EXPECT_EQ(session_->health().state, Health::State::kInvalidLogin);
  for (int i = 0; i < 60; ++i) {  // a minute of eager callers
    EXPECT_EQ(vim::FaultType(loop_.Run(CurrentTime()).status()), "InvalidLogin");
    loop_.Advance(absl::Seconds(1));
  }
  EXPECT_EQ(vcenter_->Count("Login"), 1);
  loop_.Advance(absl::Minutes(2));
  (void)loop_.Run(CurrentTime());
  EXPECT_EQ(vcenter_->Count("Login"), 2);
  // Corrected credentials are taken at once.
  credentials_.password = "secret";
  EXPECT_TRUE(loop_.Run(CurrentTime()).ok());
  EXPECT_THAT(states, ElementsAre(Health::State::kInvalidLogin, Health::State::kOk));
}

TEST_F(SessionTest, AnUnreachableServerIsTriedWithBackoff) {
  vcenter_->versions_status = 503;
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(absl::IsUnavailable(loop_.Run(CurrentTime()).status()));
    loop_.Advance(absl::Milliseconds(100));
  }
  EXPECT_LE(vcenter_->requests.size(), 6U);
  EXPECT_EQ(session_->health().state, Health::State::kUnreachable);
  vcenter_->versions_status = 200;
  loop_.Advance(absl::Minutes(2));
  EXPECT_TRUE(loop_.Run(CurrentTime()).ok());
  EXPECT_EQ(session_->health().state, Health::State::kOk);
}

TEST_F(SessionTest, KeepsTheSessionAliveOnlyWhenNothingElseGoesOut) {
  ASSERT_TRUE(loop_.Run(session_->Connect()).ok());
  TaskGroup group(loop_.executor());
  group.Spawn("run", session_->Run());
  loop_.Advance(absl::Minutes(9));
  ASSERT_TRUE(loop_.Run(CurrentTime(), absl::ZeroDuration()).ok());
  loop_.Advance(absl::Minutes(9));
  EXPECT_EQ(vcenter_->Count("CurrentTime"), 1);
  loop_.Advance(absl::Minutes(2));
  EXPECT_EQ(vcenter_->Count("CurrentTime"), 2);
  group.Cancel();
  (void)loop_.Run(group.Join());
}

TEST_F(SessionTest, ThePasswordIsEscapedAndNeverInAnError) {
  vcenter_->password = "a&amp;b&lt;c";
  credentials_.password = "a&b<c";
  EXPECT_TRUE(loop_.Run(session_->Connect()).ok());
  vcenter_->EndSession();
  vcenter_->password = "changed";
  Status status = loop_.Run(CurrentTime()).status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(status.ToString(), ::testing::Not(HasSubstr("a&b")));
}

TEST_F(SessionTest, WhatIsNoSoapIsAnError) {
  ASSERT_TRUE(loop_.Run(session_->Connect()).ok());
  vcenter_->On("PowerOnVM_Task", [](const std::string&) { return std::string("<returnval"); });
  Status status = loop_.Run(PowerOn()).status();
  EXPECT_EQ(vim::RetryClassOf(status), vim::RetryClass::kReadBack) << status;
}

TEST_F(SessionTest, LogoutEndsTheSession) {
  ASSERT_TRUE(loop_.Run(session_->Connect()).ok());
  loop_.Run(session_->Logout());
  EXPECT_EQ(vcenter_->calls.back(), "Logout");
  EXPECT_TRUE(loop_.Run(CurrentTime()).ok());
  EXPECT_EQ(vcenter_->Count("Login"), 2);
}

}  // namespace
}  // namespace vck::vsphere
