#include "tether/script.h"

#include "async/clock.h"
#include "gtest/gtest.h"
#include "tether/fake_runtime.h"

namespace vck::tether {
namespace {

// Runs a command line: "<exit code>@<second>", or "runs". It is stopped, or killed, at `term`.
std::string Play(std::vector<std::string> words, absl::Duration term = absl::InfiniteDuration(), bool kill = false) {
  FakeClock clock;
  std::string out = "runs";
  FakeRuntime runtime(clock, [&](Event event) {
    if (auto* exited = std::get_if<Exited>(&event)) {
      out = absl::StrCat(exited->exit_code, "@", absl::ToDoubleSeconds(clock.Now().since_start));
    }
  });
  guestapi::ContainerSpec spec;
  spec.command = std::move(words);
  runtime.Start("r", 0, spec);
  if (term < absl::InfiniteDuration()) {
    clock.Advance(term);
    kill ? runtime.Kill("r") : runtime.Stop("r");
  }
  clock.Advance(absl::Hours(48));
  return out;
}

TEST(Script, VariablesFromFilesAreLeftOut) {
  FakeClock clock;
  std::optional<int> code;
  FakeRuntime runtime(clock, [&](Event event) {
    if (auto* exited = std::get_if<Exited>(&event)) code = exited->exit_code;
  });
  guestapi::ContainerSpec spec;
  spec.command = {"sh", "-c", "exit $(N)"};
  spec.late_env = {
      {.name = "N", .file = guestapi::EnvFileKey{.volume = "v", .path = "p", .key = "k"}, .text = ""},
      {.name = "N", .file = std::nullopt, .text = "7"},
  };
  runtime.Start("r", 0, spec);
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(code, 7);
}

TEST(Script, CommandsEndAsWritten) {
  struct Case {
    std::vector<std::string> words;
    std::string result;
  } cases[] = {
      {{}, "runs"},
      {{"sleep 5; exit 3"}, "3@5"},
      {{"sleep", "5;", "exit", "3"}, "3@5"},
      {{"/bin/sh", "-c", "sleep 5; exit 3"}, "3@5"},
      {{"bash", "-ec", "sleep 1m\nexit 258"}, "2@60"},
      {{"sleep", "5"}, "0@5"},
      {{"/usr/bin/sleep", "0.5", "1s"}, "0@1.5"},
      {{"sleep", "infinity"}, "runs"},
      {{"sleep x"}, "1@0"},
      {{"false"}, "1@0"},
      {{"false; exit"}, "1@0"},
      {{"false && sleep 9 || exit 4"}, "4@0"},
      {{"true || exit 4"}, "0@0"},
      {{"echo \"a; b\"; exit 2"}, "2@0"},
      {{"nginx", "-g", "daemon off;"}, "runs"},
      {{"while true; do sleep 1; done"}, "runs"},
      {{"sleep 1 & wait"}, "runs"},
      {{"exec sleep 2"}, "0@2"},
      {{";;"}, "0@0"},
      {{"'unclosed"}, "runs"},
  };
  for (const Case& c : cases) EXPECT_EQ(Play(c.words), c.result) << (c.words.empty() ? "" : c.words[0]);
}

TEST(Script, TermEndsWhatDoesNotTrapIt) {
  EXPECT_EQ(Play({}, absl::Seconds(3)), "143@3");
  EXPECT_EQ(Play({"sleep 10"}, absl::Seconds(3)), "143@3");
  EXPECT_EQ(Play({"sleep 10"}, absl::Seconds(3), true), "137@3");
  EXPECT_EQ(Play({"ignore-term; sleep 10"}, absl::Seconds(3)), "0@10");
  EXPECT_EQ(Play({"trap '' TERM; sleep 10"}, absl::Seconds(3)), "0@10");
  EXPECT_EQ(Play({"ignore-term; sleep 10"}, absl::Seconds(3), true), "137@3");
  EXPECT_EQ(Play({"on-term exit 0; sleep 10"}, absl::Seconds(3)), "0@3");
  EXPECT_EQ(Play({"sh", "-c", "trap 'sleep 2; exit 5' INT TERM; sleep 10"}, absl::Seconds(3)), "5@5");
}

TEST(Script, SignalsBeforeTheStartCount) {
  EXPECT_EQ(Play({"ignore-term; sleep 10"}, absl::ZeroDuration(), true), "137@0");
}

}  // namespace
}  // namespace vck::tether
