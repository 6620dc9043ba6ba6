#include <cerrno>
#include <csignal>
#include <filesystem>

#include <sys/mount.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "guestos/crun_pod.h"
#include "guestos/files.h"

namespace vck::guestos {
namespace {

namespace fs = std::filesystem;
using guestapi::ContainerSpec;
using guestapi::VolumeSpec;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using tether::Exited;
using tether::Started;
using tether::StartFailed;

class CrunTest : public CrunPod {};

TEST_F(CrunTest, StartsLogsAndExits) {
  Exited exited = RunToEnd(Shell("echo out; echo err >&2; exit 3"));
  EXPECT_EQ(exited.exit_code, 3);
  EXPECT_EQ(exited.signal, 0);
  EXPECT_EQ(exited.reason, "");
  EXPECT_THAT(Output("main"), HasSubstr("out\n"));
  EXPECT_THAT(Output("main"), HasSubstr("err\n"));
  auto raw = Get("/v1/logfile?container=main&run=current");
  ASSERT_TRUE(raw.ok());
  EXPECT_THAT(raw->body, HasSubstr(" stdout F out\n"));
  EXPECT_THAT(raw->body, HasSubstr(" stderr F err\n"));
}

TEST_F(CrunTest, TheImageSaysWhatToRun) {
  ContainerSpec container = Shell("");
  container.command.clear();
  EXPECT_EQ(RunToEnd(container).exit_code, 0);
  EXPECT_EQ(Output("main"), "default\n");
}

TEST_F(CrunTest, EnvironmentUserAndDirectory) {
  ContainerSpec container = Shell(
      "pwd; id -u; id -G; echo $HOME $FROM $MINE $HOSTNAME; cat /etc/hosts /etc/hostname; "
      "echo to-stdout > /dev/stdout; touch /proc/self/x 2>/dev/null || echo cannot");
  container.env = {{"MINE", "pod"}};
  container.security.user = 33;
  pod_.supplemental_groups = {4444};
  pod_.fs_group = 5555;
  EXPECT_EQ(RunToEnd(container).exit_code, 0);
  EXPECT_EQ(Output("main"),
            "/work/dir\n33\n33 6 4444 5555\n/home/web image pod web-0\n127.0.0.1 localhost\nweb-0\n"
            "to-stdout\ncannot\n");
}

TEST_F(CrunTest, WhatCannotBeMadeOrStarted) {
  ContainerSpec container = Shell("");
  container.command = {"nosuch"};
  auto failed = Await<StartFailed>(Start(container));
  EXPECT_EQ(failed.reason, tether::kStartError);
  EXPECT_THAT(failed.message, EndsWith("exec: \"nosuch\": executable file not found in $PATH"));
  EXPECT_EQ(Output("main"), "");

  container.command = {"/bin/not-executable"};
  failed = Await<StartFailed>(Start(container));
  EXPECT_EQ(failed.reason, tether::kStartError);
  EXPECT_THAT(failed.message, EndsWith("exec: \"/bin/not-executable\": permission denied"));

  container = Shell("true");
  container.security.run_as_non_root = true;
  failed = Await<StartFailed>(Start(container));
  EXPECT_EQ(failed.reason, "CreateContainerConfigError");
  EXPECT_EQ(failed.message,
            "container has runAsNonRoot and image will run as root (pod: \"web_default(uid)\", container: main)");

  container = Shell("true");
  container.image_id = "other";
  failed = Await<StartFailed>(Start(container));
  EXPECT_EQ(failed.reason, "CreateContainerError");
  EXPECT_THAT(failed.message, HasSubstr("no disk of image \"busybox\""));
}

TEST_F(CrunTest, StopSignalAndKill) {
  // The image's: USR1.
  const std::string polite = Start(Shell("trap 'echo bye; exit 7' USR1; echo up; while :; do sleep 0.1; done"));
  Await<Started>(polite);
  AwaitOutput("main", "up\n");
  handle_->Stop(polite);
  Exited exited = Await<Exited>(polite);
  EXPECT_EQ(exited.exit_code, 7);
  EXPECT_THAT(Output("main"), EndsWith("bye\n"));

  const std::string stubborn = Start(Shell("trap '' TERM USR1; sleep 1000"));
  Await<Started>(stubborn);
  handle_->Kill(stubborn);
  exited = Await<Exited>(stubborn);
  EXPECT_EQ(exited.exit_code, 137);
  EXPECT_EQ(exited.signal, SIGKILL);

  // Before it has started.
  const std::string early = Start(Shell("sleep 1000"));
  handle_->Kill(early);
  EXPECT_EQ(Await<Exited>(early).exit_code, 137);
}

TEST_F(CrunTest, EachRunBeginsAnew) {
  EXPECT_EQ(RunToEnd(Shell("touch /tmp/was-here; echo first")).exit_code, 0);
  EXPECT_EQ(RunToEnd(Shell("ls /tmp | wc -l; sleep 0.2")).exit_code, 0);
  EXPECT_EQ(Output("main"), "0\n");
  auto previous = Get("/v1/logfile?container=main&run=previous");
  ASSERT_TRUE(previous.ok());
  EXPECT_THAT(previous->body, HasSubstr(" stdout F first\n")) << "what has ended for good has no next one";
  waits_ = true;
  previous = Get("/v1/logfile?container=main&run=previous");
  ASSERT_TRUE(previous.ok());
  // It waits for its restart: the last run is the previous one.
  EXPECT_THAT(previous->body, HasSubstr(" stdout F 0\n"));
  const std::string third = Start(Shell("echo third; sleep 1000"));
  Await<Started>(third);
  previous = Get("/v1/logs?container=main&previous=1");
  EXPECT_EQ(previous->body, "0\n");
  EXPECT_EQ(ListAttempts(dir_ / "logs/pods/default_web_uid/main"), (std::vector<int>{1, 2}));
}

TEST_F(CrunTest, LogsThatAreNotThere) {
  pod_.containers = {Shell("true")};
  Apply();
  auto response = Get("/v1/logs?container=main");
  EXPECT_EQ(response->status, 400);
  EXPECT_THAT(response->body, HasSubstr("container \\\"main\\\" in pod \\\"web\\\" is waiting to start: "
                                        "ContainerCreating"));
  EXPECT_EQ(Get("/v1/logs?container=main&previous=1")->status, 404);
  EXPECT_EQ(Get("/v1/logfile?container=main")->status, 404);
  EXPECT_EQ(Get("/v1/logs?container=..")->status, 404);
  EXPECT_EQ(Get("/v1/logs?container=main&tailLines=x")->status, 400);
  EXPECT_EQ(Get("/v1/none")->status, 404);
  EXPECT_EQ(Get("/v1/exec?container=main")->status, 405);
}

TEST_F(CrunTest, FollowsALog) {
  const std::string run = Start(Shell("echo 1; sleep 0.3; echo 2; sleep 0.3; echo -n 3"));
  Await<Started>(run);
  EXPECT_EQ(Get("/v1/logs?container=main&follow=1")->body, "1\n2\n3");
  EXPECT_EQ(Get("/v1/logs?container=main&tailLines=2")->body, "2\n3");
  EXPECT_EQ(Get("/v1/logs?container=main&limitBytes=3")->body, "1\n2");
  EXPECT_THAT(Get("/v1/logs?container=main&tailLines=2&timestamps=1")->body,
              ::testing::MatchesRegex("20.*Z 2\n20.*Z 3"));
}

TEST_F(CrunTest, ALotOfOutputIsRotated) {
  pod_.log_max_bytes = 200'000;
  pod_.log_max_files = 3;
  EXPECT_EQ(RunToEnd(Shell("yes 0123456789 | head -n 40000; echo end")).exit_code, 0);
  EXPECT_EQ(Get("/v1/logs?container=main&tailLines=2")->body, "0123456789\nend\n");
  EXPECT_EQ(ListPieces(dir_ / "logs/pods/default_web_uid/main/0.log").size(), 3u);
  EXPECT_LT(Output("main").size(), 440'000u);
}

TEST_F(CrunTest, TerminationMessages) {
  EXPECT_EQ(RunToEnd(Shell("echo -n done > /dev/termination-log")).message, "done");
  ContainerSpec container = Shell("echo oops; exit 1");
  EXPECT_EQ(RunToEnd(container).message, "");
  container.termination_message_from_logs = true;
  EXPECT_EQ(RunToEnd(container).message, "oops\n");
  container = Shell("echo -n there > /tmp/message");
  container.termination_message_path = "/tmp/message";
  container.security.user = 33;
  EXPECT_EQ(RunToEnd(container).message, "there");
  EXPECT_EQ(RunToEnd(Shell("yes | head -c 5000 > /dev/termination-log")).message.size(), 4096u);
}

TEST_F(CrunTest, Volumes) {
  pod_.volumes = {{.name = "cache"},
                  {.name = "ram", .kind = VolumeSpec::Kind::kMemory, .size_limit = 1 << 20},
                  {.name = "conf", .kind = VolumeSpec::Kind::kFiles, .files = {{"key", "1\n"}}}};
  ContainerSpec writer = Shell(
      "echo hello > /cache/file; echo x > /conf/new || echo read-only; cat /conf/key; "
      "mount | grep -c ' /ram type tmpfs'");
  writer.mounts = {
      {.volume = "cache", .path = "/cache"}, {.volume = "conf", .path = "/conf"}, {.volume = "ram", .path = "/ram"}};
  EXPECT_EQ(RunToEnd(writer).exit_code, 0);
  EXPECT_THAT(Output("main"), HasSubstr("read-only\n"));
  EXPECT_THAT(Output("main"), EndsWith("1\n1\n"));

  ContainerSpec reader = Shell("cat /sub/file /one; while grep -q 1 /conf/key; do sleep 0.1; done; cat /conf/key /one");
  reader.name = "reader";
  reader.mounts = {{.volume = "cache", .path = "/sub", .sub_path = "", .read_only = true},
                   {.volume = "conf", .path = "/conf"},
                   {.volume = "conf", .path = "/one", .sub_path = "key"}};
  const std::string run = Start(reader);
  Await<Started>(run);
  pod_.volumes[2].files[0].content = "2\n";
  Apply();
  EXPECT_EQ(Await<Exited>(run).exit_code, 0);
  // What is mounted by subPath stays as it was.
  EXPECT_EQ(Output("reader"), "hello\n1\n2\n1\n");
}

TEST_F(CrunTest, VariablesFromFiles) {
  pod_.volumes = {{.name = "config"}};
  const auto write = [this](std::string_view lines) {
    ContainerSpec writer = Shell(absl::StrCat("cat > /config/app.env <<'END'\n", lines, "\nEND\n"));
    writer.name = "writer";
    writer.mounts = {{.volume = "config", .path = "/config"}};
    EXPECT_EQ(RunToEnd(writer).exit_code, 0);
  };
  const auto from_file = [](std::string name, std::string key, bool optional) {
    return guestapi::LateVariable{
        .name = std::move(name),
        .file =
            guestapi::EnvFileKey{.volume = "config", .path = "app.env", .key = std::move(key), .optional = optional},
        .text = ""};
  };
  // It does not mount the volume.
  ContainerSpec reader = Shell("echo \"$1 $FROM $URL $UNSET\"; while :; do sleep 0.1; done");
  reader.args = {"sh", "$(GREETING) $$(GREETING)"};
  reader.env = {{"UNSET", "before"}};
  reader.late_env = {from_file("GREETING", "HELLO", false),
                     from_file("UNSET", "NONE", true),
                     {.name = "URL", .file = std::nullopt, .text = "http://$(GREETING)/$$"}};
  auto failed = Await<StartFailed>(Start(reader));
  EXPECT_EQ(failed.reason, "CreateContainerConfigError");
  EXPECT_EQ(failed.message,
            "couldn't parse env file \"app.env\" of volume \"config\": open app.env: No such file or directory");
  write("OTHER='x'");
  failed = Await<StartFailed>(Start(reader));
  EXPECT_EQ(failed.reason, "CreateContainerConfigError");
  EXPECT_EQ(failed.message, "environment variable key \"HELLO\" not found in file \"app.env\" of volume \"config\"");

  write("# greets\nHELLO='one $(UNSET)' # so");
  const std::string run = Start(reader);
  Await<Started>(run);
  AwaitOutput("main", "one $(UNSET) $(GREETING) image http://one $(UNSET)/$ before\n");
  // What is exec'd has the same, whatever the file says by now.
  write("HELLO='two'");
  auto result = Session("/v1/exec?container=main&command=sh&command=-c&command=echo%20$GREETING%20$URL&stdout=1", "");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->out, "one $(UNSET) http://one $(UNSET)/$\n");
  handle_->Kill(run);
  Await<Exited>(run);
  const std::string next = Start(reader);
  Await<Started>(next);
  AwaitOutput("main", "two $(GREETING) image http://two/$ before\n");
}

TEST_F(CrunTest, ReadOnlyRootButForVolumesOfTheImage) {
  ContainerSpec container = Shell("touch /tmp/x || echo no; touch /data/x && ls /data");
  container.security.read_only_root = true;
  EXPECT_EQ(RunToEnd(container).exit_code, 0);
  EXPECT_THAT(Output("main"), EndsWith("no\nfrom-image\nx\n"));
}

TEST_F(CrunTest, MountsPropagate) {
  pod_.volumes = {{.name = "shared"}};
  ContainerSpec watcher = Shell("while ! [ -e /shared/in/file ]; do sleep 0.1; done; echo seen");
  watcher.name = "watcher";
  watcher.mounts = {{.volume = "shared", .path = "/shared", .host_to_container = true}};
  const std::string watching = Start(watcher);
  Await<Started>(watching);
  ContainerSpec mounter =
      Shell("mkdir /shared/in && mount -t tmpfs none /shared/in && touch /shared/in/file; sleep 1000");
  mounter.security.privileged = true;
  mounter.mounts = {{.volume = "shared", .path = "/shared", .bidirectional = true}};
  const std::string mounting = Start(mounter);
  Await<Started>(mounting);
  EXPECT_EQ(Await<Exited>(watching).exit_code, 0);
  EXPECT_EQ(Output("watcher"), "seen\n");
  // It came to us as well, over the bind mount that made the volume shared: a directory that is mounted on stays.
  EXPECT_EQ(::umount2((dir_ / "scratch/volumes/shared").c_str(), MNT_DETACH), 0) << errno;
}

TEST_F(CrunTest, RuntimeDefaultSeccompAndNoNewPrivileges) {
  ContainerSpec container = Shell("grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status");
  container.security.seccomp = guestapi::Security::Seccomp::kRuntimeDefault;
  container.security.no_new_privileges = true;
  EXPECT_EQ(RunToEnd(container).exit_code, 0);
  EXPECT_EQ(Output("main"), "NoNewPrivs:\t1\nSeccomp:\t2\n");
}

TEST_F(CrunTest, SharedProcesses) {
  pod_.share_processes = true;
  ContainerSpec first = Shell("sleep 1000");
  first.name = "first";
  const std::string run = Start(first);
  Await<Started>(run);
  EXPECT_EQ(RunToEnd(Shell("ps -o args | grep -c '[s]leep 1000'")).exit_code, 0);
  EXPECT_EQ(Output("main"), "2\n");  // that of the pause, too
  handle_->Kill(run);
  EXPECT_EQ(Await<Exited>(run).exit_code, 137);
}

TEST_F(CrunTest, AnEphemeralContainerSeesItsTarget) {
  ContainerSpec target = Shell("sleep 1001");
  target.name = "target";
  Await<Started>(Start(target));
  ContainerSpec debug = Shell("ps -o args | grep '[s]leep'; exit 0");
  debug.kind = ContainerSpec::Kind::kEphemeral;
  debug.target = "target";
  EXPECT_EQ(RunToEnd(debug).exit_code, 0);
  EXPECT_EQ(Output("main"), "sleep 1001\n");
}

// ---- exec ----

class ExecTest : public CrunPod {
 protected:
  void SetUp() override {
    CrunPod::SetUp();
    if (IsSkipped()) return;
    run_ = Start(Shell("trap 'exit 0' TERM USR1; echo up; while :; do sleep 0.1; done"));
    Await<Started>(run_);
  }
  std::string run_;
};

TEST_F(ExecTest, OutputAndExitCode) {
  auto result = Session(
      "/v1/exec?container=main&command=sh&command=-c&command=echo%20out;echo%20err%20%3E%262;exit%205"
      "&stdout=1&stderr=1",
      "");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->out, "out\n");
  EXPECT_EQ(result->err, "err\n");
  ASSERT_TRUE(result->status.has_value());
  EXPECT_EQ(result->status->exit_code, 5);
  EXPECT_EQ(result->status->error, "");
}

TEST_F(ExecTest, InputToItsEnd) {
  auto result = Session("/v1/exec?container=main&command=wc&command=-c&stdin=1&stdout=1", "");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->out, "0\n");
  auto client = Open("/v1/exec?container=main&command=cat&stdin=1&stdout=1");
  ASSERT_TRUE(client.ok()) << client.status();
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(Send(client->get(), guestapi::StreamChannel::kStdin, std::string(60'000, 'x')).ok());
  }
  ASSERT_TRUE(Send(client->get(), guestapi::StreamChannel::kStdin, "").ok());
  ASSERT_TRUE(ReadUntil(client->get(), "").ok());
  EXPECT_EQ((*client)->seen.out.size(), 300'000u);
  EXPECT_EQ((*client)->seen.status->exit_code, 0);
}

TEST_F(ExecTest, ATerminal) {
  auto client = Open("/v1/exec?container=main&command=sh&stdin=1&stdout=1&tty=1");
  ASSERT_TRUE(client.ok()) << client.status();
  ASSERT_TRUE(Send(client->get(), guestapi::StreamChannel::kResize, R"({"width":91,"height":33})").ok());
  ASSERT_TRUE(Send(client->get(), guestapi::StreamChannel::kStdin, "stty size; echo $TERM\n").ok());
  EXPECT_TRUE(ReadUntil(client->get(), "xterm\r\n").ok());
  EXPECT_THAT((*client)->seen.out, HasSubstr("33 91\r\n"));
  ASSERT_TRUE(Send(client->get(), guestapi::StreamChannel::kStdin, "exit 4\n").ok());
  ASSERT_TRUE(ReadUntil(client->get(), "").ok());
  EXPECT_EQ((*client)->seen.status->exit_code, 4);
}

TEST_F(ExecTest, Refusals) {
  auto missing = Session("/v1/exec?container=main&command=nosuch&stdout=1", "");
  ASSERT_TRUE(missing.ok()) << missing.status();
  EXPECT_THAT(missing->status->error, EndsWith("exec: \"nosuch\": executable file not found in $PATH"));
  EXPECT_THAT(Session("/v1/exec?container=other&command=sh&stdout=1", "").status().message(),
              HasSubstr("404 {\"error\":{\"code\":\"NotFound\",\"message\":\"container not found (\\\"other\\\")"));
  EXPECT_THAT(Session("/v1/exec?container=main&stdout=1", "").status().message(), HasSubstr("400 "));
  EXPECT_THAT(Session("/v1/exec?container=main&command=sh", "").status().message(), HasSubstr("400 "));
}

TEST_F(ExecTest, ItDiesWithItsPeer) {
  auto client = Open("/v1/exec?container=main&command=sh&command=-c&command=echo%20here;sleep%201234&stdout=1");
  ASSERT_TRUE(client.ok()) << client.status();
  ASSERT_TRUE(ReadUntil(client->get(), "here").ok());
  (*client)->stream->Close();
  for (int i = 0;; ++i) {
    auto left = Session("/v1/exec?container=main&command=sh&command=-c&command=ps|grep%20[s]leep%201234&stdout=1", "");
    ASSERT_TRUE(left.ok()) << left.status();
    if (left->out.empty()) break;
    ASSERT_LT(i, 50) << left->out;
  }
}

TEST_F(ExecTest, ItDiesWithItsContainer) {
  auto client = Open("/v1/exec?container=main&command=sh&command=-c&command=echo%20here;sleep%201234&stdout=1");
  ASSERT_TRUE(client.ok()) << client.status();
  ASSERT_TRUE(ReadUntil(client->get(), "here").ok());
  handle_->Kill(run_);
  ASSERT_TRUE(ReadUntil(client->get(), "").ok());
  EXPECT_EQ((*client)->seen.status->exit_code, 137);
  EXPECT_EQ(Await<Exited>(run_).exit_code, 137);
}

// Neither an endless writer nor one that leaves its output to others holds anything up.
TEST_F(ExecTest, BackPressureAndBackground) {
  auto client = Open("/v1/exec?container=main&command=yes&stdout=1");
  ASSERT_TRUE(client.ok()) << client.status();
  ASSERT_TRUE(ReadUntil(client->get(), "y\n").ok());
  // Nobody reads it, and others go on.
  auto other =
      Session("/v1/exec?container=main&command=sh&command=-c&command=sleep%201000%20%26%20echo%20out&stdout=1", "");
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ(other->out, "out\n");
  EXPECT_EQ(other->status->exit_code, 0);
}

TEST_F(ExecTest, Attach) {
  ContainerSpec container = Shell("while read line; do echo got $line; [ $line = end ] && exit 6; done; echo eof");
  container.name = "reader";
  container.stdin = true;
  const std::string run = Start(container);
  Await<Started>(run);
  auto client = Open("/v1/attach?container=reader&stdin=1&stdout=1&stderr=1");
  auto second = Open("/v1/attach?container=reader&stdout=1");
  ASSERT_TRUE(client.ok() && second.ok()) << client.status() << second.status();
  ASSERT_TRUE(Send(client->get(), guestapi::StreamChannel::kStdin, "one\n").ok());
  ASSERT_TRUE(ReadUntil(client->get(), "got one\n").ok());
  // Input goes on after one that leaves.
  (*client)->stream->Close();
  client = Open("/v1/attach?container=reader&stdin=1&stdout=1&stderr=1");
  ASSERT_TRUE(client.ok()) << client.status();
  ASSERT_TRUE(Send(client->get(), guestapi::StreamChannel::kStdin, "end\n").ok());
  ASSERT_TRUE(ReadUntil(client->get(), "").ok());
  EXPECT_EQ((*client)->seen.out, "got end\n");
  ASSERT_TRUE((*client)->seen.status.has_value());
  EXPECT_EQ(Await<Exited>(run).exit_code, 6);
  ASSERT_TRUE(ReadUntil(second->get(), "").ok());
  EXPECT_EQ((*second)->seen.out, "got one\ngot end\n");
  EXPECT_EQ(Output("reader"), "got one\ngot end\n");
}

TEST_F(ExecTest, AttachOnceEndsTheInput) {
  ContainerSpec container = Shell("cat; echo eof");
  container.name = "reader";
  container.stdin = container.stdin_once = true;
  const std::string run = Start(container);
  Await<Started>(run);
  auto result = Session("/v1/attach?container=reader&stdin=1&stdout=1", "text\n");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->out, "text\neof\n");
  EXPECT_EQ(Await<Exited>(run).exit_code, 0);
}

TEST_F(ExecTest, AttachToATerminal) {
  ContainerSpec container = Shell("read line; stty size; exit 2");
  container.name = "reader";
  container.stdin = container.tty = true;
  const std::string run = Start(container);
  Await<Started>(run);
  auto client = Open("/v1/attach?container=reader&stdin=1&stdout=1");
  ASSERT_TRUE(client.ok()) << client.status();
  ASSERT_TRUE(Send(client->get(), guestapi::StreamChannel::kResize, R"({"width":80,"height":20})").ok());
  ASSERT_TRUE(Send(client->get(), guestapi::StreamChannel::kStdin, "go\n").ok());
  ASSERT_TRUE(ReadUntil(client->get(), "").ok());
  EXPECT_THAT((*client)->seen.out, HasSubstr("20 80\r\n"));
  EXPECT_EQ(Await<Exited>(run).exit_code, 2);
}

TEST_F(ExecTest, ProbesAndHooks) {
  auto exec = [&](std::vector<std::string> command, absl::Duration timeout = absl::Seconds(30)) {
    return Run(handle_->Exec(run_, std::move(command), timeout));
  };
  auto result = exec({"sh", "-c", "echo out; echo err >&2; exit 3"});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->exit_code, 3);
  EXPECT_EQ(result->output, "out\nerr\n");
  result = exec({"sh", "-c", "yes | head -c 100000"});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->output.size(), tether::kMaxExecOutput);
  EXPECT_TRUE(absl::IsDeadlineExceeded(exec({"sleep", "4321"}, absl::Milliseconds(300)).status()));
  result = exec({"sh", "-c", "ps | grep -c '[s]leep 4321'"});
  EXPECT_EQ(result->output, "0\n");
  auto missing = exec({"nosuch"});
  EXPECT_TRUE(absl::IsInvalidArgument(missing.status()));
  EXPECT_EQ(missing.status().message(), "exec: \"nosuch\": executable file not found in $PATH");
  EXPECT_TRUE(absl::IsNotFound(Run(handle_->Exec("other", {"true"}, absl::Seconds(1))).status()));
}

TEST_F(ExecTest, PortForward) {
  // The network is the guest's own; what listens here is the server itself.
  auto client = Open(absl::StrCat("/v1/portforward?port=", server_->port()));
  ASSERT_TRUE(client.ok()) << client.status();
  auto answer = Run(Exchange(client->get(), "GET /v1/none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_THAT(*answer, HasSubstr("404"));
  EXPECT_THAT(Open("/v1/portforward?port=1").status().message(), HasSubstr("502 "));
  EXPECT_THAT(Open("/v1/portforward?port=99999").status().message(), HasSubstr("400 "));
}

TEST_F(ExecTest, Stats) {
  auto stats = Get("/v1/stats");
  ASSERT_TRUE(stats.ok());
  EXPECT_EQ(stats->status, 200);
  EXPECT_THAT(stats->body, HasSubstr("\"capacityBytes\":"));
  EXPECT_THAT(stats->body, HasSubstr("\"interfaces\":["));
  EXPECT_THAT(stats->body, HasSubstr("\"guest\":{\"cpuNanos\":"));
}

}  // namespace
}  // namespace vck::guestos
