// The parts of the kubelet API that need no connection.
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "json/json.h"
#include "kubeletapi/attributes.h"
#include "kubeletapi/channel_codec.h"
#include "kubeletapi/container_logs.h"
#include "kubeletapi/log_options.h"
#include "kubeletapi/port_forward.h"
#include "kubeletapi/remote_command.h"
#include "kubeletapi/target.h"

namespace vck::kubeletapi {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// ---- target ----

TEST(Target, PathAndQueryAreDecodedOnce) {
  auto target = ParseTarget("/exec/ns/a%20b/c?command=a%26b&command=c+d&tty=1&empty&%zz=1&x;y=2");
  ASSERT_TRUE(target.ok());
  EXPECT_EQ(target->path, "/exec/ns/a b/c");
  EXPECT_THAT(target->segments, ElementsAre("exec", "ns", "a b", "c"));
  EXPECT_THAT(target->query.All("command"), ElementsAre("a&b", "c d"));
  EXPECT_EQ(target->query.Get("tty"), "1");
  EXPECT_TRUE(target->query.Has("empty"));
  EXPECT_THAT(target->query.All("none"), IsEmpty());
  EXPECT_FALSE(target->devious);
  EXPECT_EQ(ParseTarget("/a%2541")->path, "/a%41");
  EXPECT_THAT(ParseTarget("/pods/")->segments, ElementsAre("pods"));
  EXPECT_THAT(ParseTarget("/")->segments, IsEmpty());
}

TEST(Target, PathsThatCouldBecomeOthers) {
  struct Case {
    std::string_view target, cleaned;
  };
  for (Case c : {Case{"//pods", "/pods"}, Case{"/pods//", "/pods/"}, Case{"/a/../pods?x=1", "/pods?x=1"},
                 Case{"/./pods", "/pods"}, Case{"/pods/.", "/pods"}, Case{"/../..", "/"},
                 Case{"/a/./b/..//c/", "/a/c/"}, Case{"/%2e%2e/pods", ""}, Case{"/pods/%2E", ""},
                 Case{"/exec%2Fns", ""}, Case{"/pods/%00", ""}, Case{"/pods/a%0ab", ""}, Case{"/pods/%7f", ""}}) {
    auto target = ParseTarget(c.target);
    ASSERT_TRUE(target.ok()) << c.target;
    EXPECT_TRUE(target->devious) << c.target;
    EXPECT_EQ(target->cleaned, c.cleaned) << c.target;
    EXPECT_THAT(AttributesOf("GET", *target).subresources, ElementsAre("proxy")) << "the most that there is";
  }
  for (const char* bad : {"", "pods", "http://x/pods", "*", "/a%", "/a%2", "/a%zz"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseTarget(bad).status())) << bad;
  }
}

// ---- attributes ----

TEST(Attributes, AreTheKubelets) {
  struct Case {
    std::string_view method, path, verb, subresources;
  };
  for (Case c : {Case{"GET", "/pods", "get", "pods proxy"},
                 Case{"GET", "/pods/", "get", "pods proxy"},
                 Case{"GET", "/podsx", "get", "proxy"},
                 Case{"GET", "/runningpods/", "get", "pods proxy"},
                 Case{"GET", "/healthz", "get", "healthz proxy"},
                 Case{"GET", "/healthz/ping", "get", "healthz proxy"},
                 Case{"GET", "/configz", "get", "configz proxy"},
                 Case{"GET", "/stats/summary", "get", "stats"},
                 Case{"GET", "/metrics/cadvisor", "get", "metrics"},
                 Case{"GET", "/logs/", "get", "log"},
                 Case{"POST", "/checkpoint/a/b/c", "create", "checkpoint"},
                 Case{"GET", "/statusz", "get", "statusz"},
                 Case{"GET", "/flagz", "get", "configz"},
                 Case{"GET", "/containerLogs/a/b/c", "get", "proxy"},
                 Case{"POST", "/exec/a/b/c", "create", "proxy"},
                 Case{"GET", "/", "get", "proxy"},
                 Case{"PUT", "/x", "update", "proxy"},
                 Case{"PATCH", "/x", "patch", "proxy"},
                 Case{"DELETE", "/x", "delete", "proxy"},
                 Case{"HEAD", "/x", "", "proxy"}}) {
    auto attributes = AttributesOf(c.method, *ParseTarget(c.path));
    EXPECT_EQ(attributes.verb, c.verb) << c.path;
    EXPECT_EQ(absl::StrJoin(attributes.subresources, " "), c.subresources) << c.path;
  }
}

// ---- log options ----

StatusOr<LogOptions> Logs(std::string_view query) {
  return ParseLogOptions(ParseTarget(absl::StrCat("/?", query))->query);
}

TEST(LogOptionsTest, AllOfThem) {
  auto options = Logs("follow=true&previous=1&timestamps&limitBytes=10&tailLines=0&sinceTime=2026-01-02T03:04:05Z");
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_TRUE(options->follow && options->previous && options->timestamps);
  EXPECT_EQ(options->limit_bytes, 10);
  EXPECT_EQ(options->tail_lines, 0);
  EXPECT_EQ(TetherLogsTarget("a b", *options, absl::UnixEpoch()),
            "/v1/logs?container=a%20b&follow=1&previous=1&timestamps=1&tailLines=0&limitBytes=10&sinceTime="
            "1767323045000000000");
  options = Logs("follow=false&timestamps=0&sinceSeconds=60&stream=Stderr");
  ASSERT_TRUE(options.ok());
  EXPECT_FALSE(options->follow || options->timestamps);
  EXPECT_EQ(TetherLogsTarget("c", *options, absl::FromUnixSeconds(100)),
            "/v1/logs?container=c&sinceTime=40000000000&stream=Stderr");
  EXPECT_EQ(TetherLogsTarget("c", *Logs("stream=All&sinceTime="), absl::UnixEpoch()), "/v1/logs?container=c");
  EXPECT_EQ(Logs("tail=5&tailLines=7")->tail_lines, 5);
  EXPECT_EQ(Logs("tail=all&tailLines=7")->tail_lines, std::nullopt);
}

TEST(LogOptionsTest, MistakesInTheKubeletsWords) {
  for (const char* query : {"tailLines=x", "limitBytes=", "sinceSeconds=1.5", "sinceTime=yesterday", "tail=x",
                            "tailLines=99999999999999999999", "limitBytes=+ 1"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Logs(query).status())) << query;
    EXPECT_EQ(Logs(query).status().message(), R"({"message": "Unable to decode query."})");
  }
  for (const char* query :
       {"tailLines=-1", "limitBytes=0", "sinceSeconds=0", "sinceSeconds=5&sinceTime=2026-01-02T03:04:05Z",
        "stream=stdout", "stream=Stdout&tailLines=1"}) {
    EXPECT_TRUE(absl::IsFailedPrecondition(Logs(query).status())) << query;
    EXPECT_EQ(Logs(query).status().message(), R"({"message": "Invalid request."})");
  }
}

TEST(LogStatus, SaysWhyThereIsNoLogYet) {
  const auto check = [](std::string_view status, bool previous = false) {
    auto pod = json::Document::Parse(
        absl::StrCat(R"({"metadata":{"name":"p"},"status":{"containerStatuses":[{"name":"c",)", status, "}]}}"));
    EXPECT_TRUE(pod.ok()) << status;
    return std::string(internal::CheckLogStatus(kubeapi::PodView(pod->root()), "c", previous).message());
  };
  EXPECT_EQ(check(R"("state":{"running":{}})"), "");
  EXPECT_EQ(check(R"("state":{"running":{}})", true), "previous terminated container \"c\" in pod \"p\" not found");
  EXPECT_EQ(check(R"("lastState":{"terminated":{"containerID":"vch://x"}})", true), "");
  EXPECT_EQ(check(R"("state":{"terminated":{"containerID":"vch://x"}})"), "");
  EXPECT_EQ(check(R"("state":{"terminated":{}})"), "container \"c\" in pod \"p\" is terminated");
  EXPECT_EQ(
      check(R"("state":{"waiting":{"reason":"CrashLoopBackOff"}},"lastState":{"terminated":{"containerID":"x"}})"), "");
  EXPECT_EQ(check(R"("state":{"waiting":{"reason":"ContainerCreating"}})"),
            "container \"c\" in pod \"p\" is waiting to start: ContainerCreating");
  EXPECT_EQ(check(R"("state":{"waiting":{"reason":"ErrImagePull"}})"),
            "container \"c\" in pod \"p\" is waiting to start: image can't be pulled");
  EXPECT_EQ(check(R"("state":{"waiting":{"reason":"ImagePullBackOff"}})"),
            "container \"c\" in pod \"p\" is waiting to start: trying and failing to pull image");
  auto pod = json::Document::Parse(R"({"metadata":{"name":"p"}})");
  EXPECT_EQ(internal::CheckLogStatus(kubeapi::PodView(pod->root()), "c", false).message(),
            "container \"c\" in pod \"p\" is not available");
}

// ---- remote command ----

TEST(RemoteCommand, Streams) {
  const auto parse = [](std::string_view query) {
    return ParseCommandStreams(ParseTarget(absl::StrCat("/?", query))->query);
  };
  auto streams = parse("input=1&output=1&error=1&tty=1");
  EXPECT_TRUE(streams->in && streams->out && streams->tty);
  EXPECT_FALSE(streams->err) << "a terminal has none";
  EXPECT_EQ(TetherExecTarget("c", {"sh", "-c", "echo $X & exit"}, *streams),
            "/v1/exec?container=c&command=sh&command=-c&command=echo%20%24X%20%26%20exit&stdin=1&stdout=1&tty=1");
  EXPECT_EQ(TetherAttachTarget("c", *parse("error=1")), "/v1/attach?container=c&stderr=1");
  for (const char* none : {"", "tty=1", "input=true", "error=1&tty=1"}) {
    EXPECT_THAT(parse(none).status().message(), HasSubstr("at least 1 of stdin, stdout, stderr")) << none;
  }
}

TEST(RemoteCommand, Protocols) {
  http::Request request;
  auto none = Negotiate(request, CommandProtocols());
  EXPECT_EQ(none.status, 400);
  request.headers.Add("X-Stream-Protocol-Version", "v9.channel.k8s.io");
  auto other = Negotiate(request, CommandProtocols());
  EXPECT_EQ(other.status, 403);
  EXPECT_THAT(other.error, HasSubstr("client supports [v9.channel.k8s.io], server accepts [v4.channel.k8s.io "));
  EXPECT_EQ(other.headers.fields().size(), 4u);
  request.headers.Add("x-stream-protocol-version", "v3.channel.k8s.io, v4.channel.k8s.io");
  auto chosen = Negotiate(request, CommandProtocols());
  EXPECT_EQ(chosen.protocol, "v3.channel.k8s.io") << "the client's order counts";
  EXPECT_EQ(chosen.headers.Get("X-Stream-Protocol-Version"), "v3.channel.k8s.io");

  const auto choose = [](std::string protocols) {
    http::Request ws;
    if (!protocols.empty()) ws.headers.Add("Sec-WebSocket-Protocol", std::move(protocols));
    return ChooseCommandProtocol(ws);
  };
  EXPECT_EQ(choose("")->protocol, "");
  EXPECT_FALSE(choose("")->json_status);
  EXPECT_EQ(choose("x, v5.channel.k8s.io")->protocol, "v5.channel.k8s.io");
  EXPECT_TRUE(choose("v5.channel.k8s.io")->channels.close_signal);
  EXPECT_TRUE(choose("v4.base64.channel.k8s.io")->channels.base64);
  EXPECT_TRUE(choose("v4.channel.k8s.io")->json_status);
  EXPECT_FALSE(choose("base64.channel.k8s.io")->json_status);
  EXPECT_FALSE(choose("binary.k8s.io").has_value());
}

TEST(RemoteCommand, Verdicts) {
  EXPECT_EQ(CommandStatusJson({}, "w"), R"({"metadata":{},"status":"Success"})");
  EXPECT_EQ(CommandStatusText({}, "w"), "");
  EXPECT_EQ(
      CommandStatusJson({.exit_code = 42, .error = ""}, "w"),
      R"({"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: exit status 42",)"
      R"("reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"42"}]}})");
  EXPECT_EQ(CommandStatusText({.exit_code = 42, .error = ""}, "w"),
            "command terminated with non-zero exit code: exit status 42");
  EXPECT_EQ(
      CommandStatusJson({.exit_code = 0, .error = "no such file"}, "error executing command in container"),
      R"({"metadata":{},"status":"Failure","message":"Internal error occurred: error executing command in container: no such file",)"
      R"("reason":"InternalError","details":{"causes":[{"message":"error executing command in container: no such file"}]},"code":500})");
}

TEST(RemoteCommand, Resize) {
  ResizeDecoder decoder;
  EXPECT_EQ(*decoder.Feed("{\"Width\":80,"), std::nullopt);
  auto size = decoder.Feed("\"Height\":24}\n{\"width\":1");
  ASSERT_TRUE(size.ok() && size->has_value());
  EXPECT_EQ((*size)->width, 80);
  EXPECT_EQ((*size)->height, 24);
  size = decoder.Feed("00,\"height\":99999} {}");
  EXPECT_EQ((*size)->height, 0) << "the last one counts";
  for (const char* bad : {"x", "[]", "{x}", "{\"Width\":{}}"}) {
    ResizeDecoder other;
    EXPECT_FALSE(other.Feed(bad).ok()) << bad;
  }
  ResizeDecoder endless;
  EXPECT_FALSE(endless.Feed("{" + std::string(2000, ' ')).ok());
}

TEST(PortForward, Ports) {
  EXPECT_EQ(ParsePort("80"), 80);
  EXPECT_EQ(ParsePort("65535"), 65535);
  for (const char* bad : {"", "0", "65536", "-1", "+1", "80 ", "8a", "0x50", "000080"}) {
    EXPECT_EQ(ParsePort(bad), std::nullopt) << bad;
  }
}

// ---- channels ----

class ChannelLog : public ChannelEvents {
 public:
  void OnChannel(uint8_t channel, std::string_view piece) override {
    if (log.empty() || log.back().rfind(absl::StrCat(channel, ":"), 0) != 0) log.push_back(absl::StrCat(channel, ":"));
    log.back().append(piece);
  }
  void OnChannelEnd(uint8_t channel) override { log.push_back(absl::StrCat("end ", channel)); }
  std::vector<std::string> log;
};

// Messages in pieces of `size`.
StatusOr<std::vector<std::string>> Decode(ChannelProtocol protocol, std::vector<std::string> messages, size_t size) {
  ChannelDecoder decoder(protocol);
  ChannelLog log;
  for (const std::string& message : messages) {
    size_t at = 0;
    do {
      const std::string_view piece = std::string_view(message).substr(at, size);
      RETURN_IF_ERROR(decoder.Feed(piece, at == 0, at + piece.size() == message.size(), log));
      at += piece.size();
    } while (at < message.size());
  }
  return log.log;
}

TEST(Channels, BytesAndCloseSignals) {
  for (size_t size : {1, 2, 100}) {
    EXPECT_THAT(*Decode({},
                        {std::string("\0ls", 3), "", "\4{}",
                         "\xff"
                         "x"},
                        size),
                ElementsAre("0:ls", "4:{}", "255:x"));
    EXPECT_THAT(*Decode({.close_signal = true}, {std::string("\0ls", 3), std::string("\xff\0", 2)}, size),
                ElementsAre("0:ls", "end 0"));
    EXPECT_FALSE(Decode({.close_signal = true}, {"\xff"}, size).ok());
    EXPECT_FALSE(Decode({.close_signal = true},
                        {"\xff"
                         "12"},
                        size)
                     .ok());
  }
}

TEST(Channels, Base64) {
  for (size_t size : {1, 2, 3, 5, 100}) {
    EXPECT_THAT(*Decode({.base64 = true}, {"0Zm9vCg==", "4eyJXaWR0aCI6MX0="}, size),
                ElementsAre("0:foo\n", "4:{\"Width\":1}"));
    for (const char* bad : {"0Zm9", "0Zm9vCg==Zm9v", "0****", "0Zm9vC"}) {
      EXPECT_FALSE(Decode({.base64 = true}, {bad}, size).ok()) << bad << " " << size;
    }
  }
  std::string out;
  AppendChannelMessage(&out, {.base64 = true}, 1, "\n");
  AppendChannelMessage(&out, {}, 2, "x");
  EXPECT_EQ(absl::BytesToHexString(out),
            "81053143673d3d"
            "82020278");
}

}  // namespace
}  // namespace vck::kubeletapi
