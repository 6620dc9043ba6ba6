// /containerLogs, /pods and /healthz.
#include "kubeletapi/fixture.h"

namespace vck::kubeletapi {
namespace {

using ::testing::HasSubstr;

constexpr const char* kRaw =
    "2026-10-06T00:17:09.1Z stdout F one\n"
    "2026-10-06T00:17:10Z stderr F two\n"
    "2026-10-06T00:17:11Z stdout F three\n";

class LogsTest : public ApiTest {};

TEST_F(LogsTest, OptionsGoToTheTetherAndTextComesBack) {
  std::string asked;
  further_ = [&](http::Exchange& exchange) -> Task<Status> {
    asked = exchange.request().target;
    CO_RETURN_IF_ERROR(co_await exchange.Begin(200, {{"Content-Type", "text/plain"}}));
    for (int i = 0; i < 100; ++i) CO_RETURN_IF_ERROR(co_await exchange.WriteSome(std::string(10'000, 'x')));
    co_return co_await exchange.Finish();
  };
  Connect();
  auto response = Get("/containerLogs/default/web/c?timestamps=true&tailLines=5&limitBytes=100");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body.size(), 1'000'000u);
  EXPECT_EQ(response.headers.Get("Content-Type"), "text/plain; charset=utf-8");
  EXPECT_EQ(asked, "/v1/logs?container=c&timestamps=1&tailLines=5&limitBytes=100");
}

TEST_F(LogsTest, SecondsAgoAreByTheGuestsClock) {
  std::string asked;
  further_ = [&](http::Exchange& exchange) {
    asked = exchange.request().target;
    return exchange.Respond({200, {}, "x"});
  };
  Connect();  // the guest's clock is an hour behind
  Get("/containerLogs/default/web/c?sinceSeconds=60");
  int64_t since = 0;
  ASSERT_TRUE(absl::SimpleAtoi(asked.substr(asked.rfind('=') + 1), &since)) << asked;
  EXPECT_NEAR(absl::ToDoubleSeconds(absl::Now() - absl::FromUnixNanos(since)), 3660, 30);
}

TEST_F(LogsTest, AFollowedLogComesLineByLineAndEndsWithItsReader) {
  http::Exchange* tether = nullptr;
  bool gone = false;
  further_ = [&](http::Exchange& exchange) -> Task<Status> {
    CO_RETURN_IF_ERROR(co_await exchange.Begin(200, {}));
    tether = &exchange;
    co_await exchange.WaitClosed();
    tether = nullptr;
    gone = true;
    co_return absl::OkStatus();
  };
  Connect();
  auto stream = Dial(ClientTls(admin_));
  auto response =
      net_.Run(http::FetchOn(std::move(stream), RequestOf({.target = "/containerLogs/default/web/c?follow=true"})));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->status, 200) << "before the first line is there";
  ASSERT_TRUE(net_.Until([&] { return tether != nullptr; }));
  for (const char* line : {"one\n", "two\n"}) {
    ASSERT_TRUE(net_.Run(tether->WriteSome(line)).ok());
    EXPECT_EQ(*net_.Run(response->body->Read()), line);
  }
  response->body.reset();
  ASSERT_TRUE(net_.Until([&] { return gone; })) << "a silent log must not be followed for nobody";
}

TEST_F(LogsTest, ALogThatIsCutIsNotAWholeOne) {
  further_ = [&](http::Exchange& exchange) -> Task<Status> {
    CO_RETURN_IF_ERROR(co_await exchange.Begin(200, {}));
    CO_RETURN_IF_ERROR(co_await exchange.WriteSome("half"));
    co_return absl::InternalError("dropped");
  };
  Connect();
  std::string leftover;
  auto stream = Dial(ClientTls(admin_));
  EXPECT_FALSE(net_.Run(http::Upgrade(*stream, RequestOf({.target = "/containerLogs/default/web/c"}), &leftover)).ok());
}

TEST_F(LogsTest, AGuestThatPowersOffBeforeItsAnswerLeavesItToTheArchive) {
  archive_["uid-1/c/current"] = kRaw;
  further_ = [&](http::Exchange& exchange) -> Task<Status> {
    CO_RETURN_IF_ERROR(co_await exchange.Begin(200, {}));
    co_return absl::InternalError("dropped");
  };
  Connect();
  EXPECT_EQ(Get("/containerLogs/default/web/c").body, "one\ntwo\nthree\n");
}

TEST_F(LogsTest, OfAFinishedPodFromTheArchive) {
  archive_["uid-1/c/current"] = kRaw;
  archive_["uid-1/c/previous"] = "2026-10-06T00:00:00Z stdout F before\n";
  EXPECT_EQ(Get("/containerLogs/default/web/c").body, "one\ntwo\nthree\n");
  EXPECT_EQ(Get("/containerLogs/default/web/c?previous=true").body, "before\n");
  EXPECT_EQ(Get("/containerLogs/default/web/c?timestamps=true&tailLines=1").body,
            "2026-10-06T00:17:11.000000000Z three\n");
  EXPECT_EQ(Get("/containerLogs/default/web/c?tailLines=0").body, "");
  EXPECT_EQ(Get("/containerLogs/default/web/c?tailLines=2&limitBytes=6").body, "two\nth");
  EXPECT_EQ(Get("/containerLogs/default/web/c?stream=Stderr").body, "two\n");
  EXPECT_EQ(Get("/containerLogs/default/web/c?sinceTime=2026-10-06T00:17:10Z").body, "two\nthree\n");
  EXPECT_EQ(Get("/containerLogs/default/web/c?follow=true").body, "one\ntwo\nthree\n") << "it ends";
  EXPECT_EQ(Get("/containerLogs/default/web/c?sinceSeconds=5").body, "");
}

TEST_F(LogsTest, AGuestThatHasNoneDoesNotHideTheArchive) {
  archive_["uid-1/c/previous"] = kRaw;
  Connect();
  EXPECT_EQ(Get("/containerLogs/default/web/c?previous=true").body, "one\ntwo\nthree\n");
}

TEST_F(LogsTest, Refusals) {
  Connect();
  struct Case {
    std::string target;
    int status;
    std::string body;
  };
  for (const Case& c : {
           Case{"/containerLogs/default/none/c", 404, R"(pod "none" does not exist)"},
           Case{"/containerLogs/default/web/none", 404, R"(container "none" not found in pod "web")"},
           Case{"/containerLogs/default/web/c?tailLines=x", 400, R"({"message": "Unable to decode query."})"},
           Case{"/containerLogs/default/web/c?tailLines=-1", 422, R"({"message": "Invalid request."})"},
           Case{"/containerLogs/default/web", 404, "404: Page Not Found"},
       }) {
    auto response = Get(c.target);
    EXPECT_EQ(response.status, c.status) << c.target;
    EXPECT_EQ(response.body, c.body);
  }
  EXPECT_EQ(Fetch({.method = "POST", .target = "/containerLogs/default/web/c"}).status, 405);
}

TEST_F(LogsTest, WhyThereIsNoLog) {
  // Nothing anywhere: the API's status tells.
  pods_.Put("uid-1",
            PodObject("web", "uid-1",
                      R"({"containerStatuses":[{"name":"c","state":{"waiting":{"reason":"ContainerCreating"}}}]})"));
  auto response = Get("/containerLogs/default/web/c");
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.body, R"(container "c" in pod "web" is waiting to start: ContainerCreating)");
  EXPECT_EQ(Get("/containerLogs/default/web/c?previous=true").body,
            R"(previous terminated container "c" in pod "web" not found)");
  // It runs, but its guest cannot be reached.
  pods_.Put("uid-1", PodObject("web", "uid-1", R"({"containerStatuses":[{"name":"c","state":{"running":{}}}]})"));
  response = Get("/containerLogs/default/web/c");
  EXPECT_EQ(response.status, 400);
  EXPECT_THAT(response.body, HasSubstr("the guest of pod uid-1"));
  // The tether says why.
  further_ = [&](http::Exchange& exchange) {
    return exchange.Respond(
        {400, {}, R"({"error":{"code":"Waiting","message":"container \"c\" is waiting to start"}})"});
  };
  Connect();
  response = Get("/containerLogs/default/web/c");
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.body, R"(container "c" is waiting to start)");
}

TEST_F(LogsTest, Pods) {
  pods_.Put("uid-2", PodObject("other", "uid-2"));
  Connect();
  auto response = Get("/pods");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.headers.Get("Content-Type"), "application/json");
  auto list = json::Document::Parse(response.body);
  ASSERT_TRUE(list.ok()) << response.body;
  EXPECT_EQ(json::String(list->root(), "kind"), "PodList");
  EXPECT_EQ(json::Items(list->root(), "items").size(), 2u);
  EXPECT_EQ(Get("/pods/").body.size(), response.body.size());
  auto running = Get("/runningpods/");
  EXPECT_THAT(
      running.body,
      HasSubstr(R"("items":[{"metadata":{"name":"web","namespace":"default","uid":"uid-1"},"spec":{"containers":[)"
                R"({"name":"c","image":"img@sha256:1"}]},"status":{}}])"));
  for (int i = 0; i < 300; ++i) pods_.Put(absl::StrCat("n", i), PodObject(absl::StrCat("n", i), absl::StrCat("n", i)));
  auto many = json::Document::Parse(Get("/pods").body);
  ASSERT_TRUE(many.ok());
  EXPECT_EQ(json::Items(many->root(), "items").size(), 302u);
}

TEST_F(LogsTest, Healthz) {
  EXPECT_EQ(Get("/healthz").body, "ok");
  EXPECT_EQ(Get("/healthz/ping").body, "ok");
  EXPECT_EQ(Get("/healthz/other").status, 404);
  health_ = absl::UnavailableError("no pods yet");
  EXPECT_EQ(Get("/healthz").status, 500);
  EXPECT_THAT(Get("/healthz").body, HasSubstr("no pods yet"));
}

}  // namespace
}  // namespace vck::kubeletapi
