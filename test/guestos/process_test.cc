#include "guestos/process.h"

#include <array>
#include <csignal>
#include <optional>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <fcntl.h>
#include <unistd.h>

#include "absl/status/status.h"
#include "async/timeout.h"
#include "gtest/gtest.h"

namespace vck::guestos {
namespace {

// Real processes on real time: every wait has an end.
class ProcessTest : public ::testing::Test {
 protected:
  template <class T>
  T Run(Task<T> task) {
    std::optional<T> out;
    std::exception_ptr exception;
    asio::co_spawn(context_, std::move(task), [&](std::exception_ptr e, T value) {
      exception = e;
      if (!e) out.emplace(std::move(value));
      context_.stop();
    });
    context_.restart();
    context_.run_for(std::chrono::seconds(60));
    if (exception) std::rethrow_exception(exception);
    if (!out) throw std::runtime_error("no end within a minute");
    return std::move(*out);
  }
  StatusOr<RunResult> Shell(std::string script, RunOptions options = {}) {
    return Run(reaper_.Run({.argv = {"/bin/sh", "-c", std::move(script)}, .env = {"A=b"}}, std::move(options)));
  }
  static Task<StatusOr<ExitStatus>> Wait(ChildPtr child, Clock* clock) {
    co_return co_await WithTimeout(*clock, absl::Seconds(30), "the child", Ended(child));
  }
  static Task<StatusOr<ExitStatus>> Ended(ChildPtr child) { co_return co_await child->Wait(); }

  asio::io_context context_{1};
  RealClock clock_{context_.get_executor()};
  Reaper reaper_{context_.get_executor(), clock_};
};

TEST_F(ProcessTest, OutputInputAndExitStatus) {
  auto result = Shell("cat; echo $A; echo oops >&2; exit 3", {.input = "hello "});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->exit, (ExitStatus{.code = 3}));
  EXPECT_EQ(result->out, "hello b\n");
  EXPECT_EQ(result->err, "oops\n");
  EXPECT_FALSE(result->truncated);
}

TEST_F(ProcessTest, ASignalIsNoExitCode) {
  auto result = Shell("kill -9 $$");
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->exit, (ExitStatus{.signal = SIGKILL}));
  EXPECT_EQ(result->exit.shell_code(), 137);
  EXPECT_EQ(ToString(result->exit), "signal 9 (Killed)");
}

TEST_F(ProcessTest, LongOutputIsReadAndCut) {
  auto result = Shell("head -c 1000000 /dev/zero; echo end >&2", {.max_output = 1000});
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result->exit.ok());
  EXPECT_EQ(result->out.size(), 1000u);
  EXPECT_TRUE(result->truncated);
  EXPECT_EQ(result->err, "end\n");
}

TEST_F(ProcessTest, InputThatNobodyReads) {
  auto result = Shell("exit 0", {.input = std::string(1 << 20, 'x')});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->exit.ok());
}

TEST_F(ProcessTest, ADaemonThatKeepsThePipesIsNotWaitedFor) {
  Instant start = clock_.Now();
  auto result = Shell("sleep 20 & echo started");
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->out, "started\n");
  EXPECT_LT(clock_.Now() - start, absl::Seconds(15));
}

TEST_F(ProcessTest, TimeoutKills) {
  auto result = Shell("sleep 1000", {.timeout = absl::Milliseconds(50)});
  EXPECT_EQ(result.status().code(), absl::StatusCode::kDeadlineExceeded) << result.status();
}

TEST_F(ProcessTest, NoSuchProgramOrDirectory) {
  EXPECT_EQ(reaper_.Spawn({.argv = {"/no/such/program"}}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(reaper_.Spawn({.argv = {"/bin/true"}, .working_dir = "/no/such"}).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(reaper_.Spawn({}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ProcessTest, NothingOfOursIsInherited) {
  int secret = ::open("/dev/zero", O_RDONLY);  // without O_CLOEXEC
  std::signal(SIGPIPE, SIG_IGN);
  auto result = Shell("ls /proc/$$/fd; grep SigIgn /proc/$$/status; cat /proc/$$/oom_score_adj; umask");
  ::close(secret);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->out, "0\n1\n2\nSigIgn:\t0000000000000000\n0\n0022\n");
}

TEST_F(ProcessTest, DescriptorsGoWhereTheyAreWanted) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  auto child = reaper_.Spawn({.argv = {"/bin/sh", "-c", "echo three >&3; echo one"},
                              .files = {{pipe[1], 3}, {pipe[1], 1}, {pipe[1], pipe[1]}}});
  ASSERT_TRUE(child.ok()) << child.status();
  ::close(pipe[1]);
  EXPECT_TRUE(Run(Wait(*child, &clock_)).ok());
  std::array<char, 64> buffer{};
  EXPECT_EQ(std::string(buffer.data(), static_cast<size_t>(::read(pipe[0], buffer.data(), buffer.size()))),
            "three\none\n");
  ::close(pipe[0]);
}

TEST_F(ProcessTest, OrphansAreAdopted) {
  // The shell ends, and its children become ours.
  auto result = Shell("(sleep 0.3; exit 5) >/dev/null 2>&1 & echo $!; exit 0");
  ASSERT_TRUE(result.ok());
  auto orphan = reaper_.Adopt(std::stoi(result->out));
  ASSERT_TRUE(orphan.ok()) << orphan.status();
  auto exit = Run(Wait(*orphan, &clock_));
  ASSERT_TRUE(exit.ok());
  EXPECT_EQ(exit->code, 5);
  EXPECT_TRUE((*orphan)->exited());
  EXPECT_LT(absl::AbsDuration((*orphan)->exited_at() - absl::Now()), absl::Seconds(10));
}

TEST_F(ProcessTest, OneThatHasExitedBeforeItIsAdopted) {
  auto result = Shell("(sleep 0.1; exit 6) >/dev/null 2>&1 & echo $!; exec sleep 0.5");
  ASSERT_TRUE(result.ok());
  auto orphan = reaper_.Adopt(std::stoi(result->out));
  ASSERT_TRUE(orphan.ok()) << orphan.status();
  auto exit = Run(Wait(*orphan, &clock_));
  ASSERT_TRUE(exit.ok());
  EXPECT_EQ(exit->code, 6);
}

TEST_F(ProcessTest, StrangersAreNotAdopted) {
  EXPECT_EQ(reaper_.Adopt(::getppid()).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ProcessTest, KillAfterTheEndHitsNobody) {
  auto child = reaper_.Spawn({.argv = {"/bin/true"}});
  ASSERT_TRUE(child.ok());
  EXPECT_TRUE(Run(Wait(*child, &clock_)).ok());
  (*child)->Kill(SIGKILL);
  EXPECT_TRUE((*child)->status().ok());
}

}  // namespace
}  // namespace vck::guestos
