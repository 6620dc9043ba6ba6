// What a reboot of the guest leaves of a pod.
#include "tether/journal.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <sys/stat.h>
#include <unistd.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/pool_loop.h"
#include "tether/journal_file.h"
#include "tether/pod.h"

namespace vck::tether {
namespace {

using guestapi::ContainerSpec;
using guestapi::GuestSpec;
using guestapi::RestartPolicy;
using guestapi::VolumeSpec;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kAlways = RestartPolicy::kAlways;
constexpr auto kOnFailure = RestartPolicy::kOnFailure;
constexpr auto kNever = RestartPolicy::kNever;

GuestSpec WithSecret(GuestSpec spec) {
  spec.volumes.push_back(
      {.name = "token", .kind = VolumeSpec::Kind::kFiles, .files = {{.path = "t", .content = "hush"}}});
  spec.volumes.push_back({.name = "data"});
  return spec;
}

TEST(Journal, SurvivesTheDiskWithoutWhatIsConfidential) {
  GuestSpec spec = WithSecret(PodSpec(kAlways, {Container("open", "sleep 5; exit 2"), Container("c", "sleep hush2")}));
  spec.containers[0].env = {{"A", "public"}};
  spec.containers[1].env = {{"P", "hush"}};
  spec.containers[1].args = {"hush"};
  spec.containers[1].late_env = {{.name = "L", .file = std::nullopt, .text = "hush $(M)"}};
  spec.containers[1].mounts = {{.volume = "data", .path = "/d", .sub_path = "hush"}};
  spec.containers[1].confidential = true;
  Pod pod(spec);
  pod.Pass(absl::Seconds(6));
  std::string text = Encode(pod.lifecycle().ToJournal(pod.Now()));
  EXPECT_THAT(text, Not(HasSubstr("hush")));
  EXPECT_THAT(text, HasSubstr("public"));
  auto back = DecodeJournal(text);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(Encode(*back), text);
  EXPECT_EQ(back->state.containers[0].restart_count, 1);
  EXPECT_EQ(back->state.containers[0].last->exit_code, 2);
  EXPECT_EQ(back->begun, absl::FromUnixSeconds(1767225600));
  EXPECT_FALSE(NeedsSecrets(back->spec, back->spec.containers[0]));
  EXPECT_TRUE(NeedsSecrets(back->spec, back->spec.containers[1]));
}

TEST(Journal, MistakesAreErrors) {
  for (std::string_view text : {"", "{}", R"({"version":2})", R"({"version":1})", R"({"version":1,"begun":1})",
                                R"({"version":1,"begun":1,"spec":{},"state":{}})"}) {
    EXPECT_FALSE(DecodeJournal(text).ok()) << text;
  }
}

TEST(Reboot, RunningContainersAreLostAndRestartedWithTheirCounts) {
  Pod pod(PodSpec(kAlways, {Container("c", "sleep 5; exit 1"), Container("d", "")}));
  pod.Pass(absl::Seconds(8));
  EXPECT_EQ(pod.View(), "c=Running/ready*1 d=Running/ready");
  pod.TakeLog();
  pod.Reboot();
  auto state = pod.State();
  EXPECT_EQ(state.boot_id, "boot1");
  EXPECT_EQ(state.history(), "boot");
  EXPECT_EQ(state.spec_revision, 0) << "what the kubelet wants is not applied yet";
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(pod.TakeLog(), "c@8 d@8");
  EXPECT_EQ(pod.View(), "c=Running/ready*2 d=Running/ready*1");
  state = pod.State();
  EXPECT_EQ(state.containers[0].last->exit_code, 137);
  EXPECT_EQ(state.containers[0].last->reason, "ContainerStatusUnknown");
  EXPECT_EQ(state.containers[0].last->id, "run-3");
  EXPECT_EQ(state.containers[0].id, "run-4");
  EXPECT_THAT(pod.TakeEvents(), Contains("SandboxChanged: Pod sandbox changed, it will be killed and re-created."));
  pod.Reboot();
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(pod.View(), "c=Running/ready*3 d=Running/ready*2");
  EXPECT_EQ(pod.State().history(), "boot");
}

TEST(Reboot, ObeysTheRestartPolicy) {
  struct Case {
    RestartPolicy policy;
    std::string view;
    bool finished;
  } cases[] = {
      {kNever, "done=Completed(0) c=ContainerStatusUnknown(137)", true},
      {kOnFailure, "done=Completed(0) c=Running/ready*1", false},
      {kAlways, "done=CrashLoopBackOff*2 c=Running/ready*1", false},
  };
  for (const Case& c : cases) {
    Pod pod(PodSpec(c.policy, {Container("done", "exit 0"), Container("c", "")}));
    pod.Pass(absl::Seconds(1));
    pod.Reboot();
    pod.Pass(absl::Seconds(1));
    EXPECT_EQ(pod.View(), c.view);
    EXPECT_EQ(pod.finished(), c.finished);
  }
}

TEST(Reboot, AFinishedPodStaysFinished) {
  Pod pod(PodSpec(kNever, {Container("c", "exit 3")}));
  pod.Pass(absl::Seconds(1));
  EXPECT_TRUE(pod.finished());
  pod.TakeLog();
  pod.Reboot();
  pod.Pass(absl::Seconds(60));
  EXPECT_TRUE(pod.finished());
  EXPECT_EQ(pod.View(), "c=Error(3)");
  EXPECT_EQ(pod.TakeLog(), "");
  EXPECT_EQ(pod.State().containers[0].id, "run-1");
}

TEST(Reboot, APodThatWasBeingStoppedIsOver) {
  Pod pod(PodSpec(kAlways, {Container("c", "ignore-term; sleep infinity")}));
  pod.Pass(absl::Seconds(1));
  pod.Stop(30);
  pod.Pass(absl::Seconds(1));
  pod.TakeLog();
  pod.Reboot();
  EXPECT_TRUE(pod.finished());
  EXPECT_TRUE(pod.State().stopping);
  EXPECT_EQ(pod.View(), "c=ContainerStatusUnknown(137)");
  EXPECT_EQ(pod.TakeLog(), "");
}

TEST(Reboot, AllMainsDoneMeansFinishedWhateverTheSidecarsDid) {
  Pod pod(PodSpec(kOnFailure, {Sidecar("s", "ignore-term; sleep infinity"), Container("c", "sleep 1")}));
  pod.Pass(absl::Seconds(2));
  EXPECT_FALSE(pod.finished());
  pod.TakeLog();
  pod.Reboot();
  EXPECT_TRUE(pod.finished());
  EXPECT_EQ(pod.TakeLog(), "");
}

TEST(Reboot, BeginsWithTheInitContainersAgain) {
  Pod pod(PodSpec(kAlways, {Init("i", "sleep 2"), Sidecar("s", ""), Container("c", "")}));
  pod.Pass(absl::Seconds(5));
  EXPECT_EQ(pod.TakeLog(), "i@0 s@2 c@2");
  pod.Reboot();
  EXPECT_EQ(pod.View(), "i=PodInitializing s=ContainerStatusUnknown(137) c=ContainerStatusUnknown(137)");
  pod.Pass(absl::Seconds(5));
  EXPECT_EQ(pod.TakeLog(), "i@5 s@7 c@7");
  EXPECT_EQ(pod.View(), "i=Completed(0)*1 s=Running/ready*1 c=Running/ready*1");
}

TEST(Reboot, WhatNeedsSecretsWaitsForTheKubelet) {
  GuestSpec spec = WithSecret(PodSpec(kAlways, {Container("a", ""), Container("b", ""), Container("c", "")}));
  spec.containers[0].mounts = {{.volume = "token", .path = "/t"}};
  spec.containers[1].confidential = true;
  spec.containers[2].mounts = {{.volume = "data", .path = "/d"}};
  spec.revision = 7;
  Pod pod(spec);
  pod.Pass(absl::Seconds(1));
  pod.TakeLog();
  pod.Reboot();
  pod.Pass(absl::Seconds(9));
  EXPECT_EQ(pod.TakeLog(), "c@1");
  EXPECT_EQ(pod.View(), "a=ContainerCreating b=ContainerCreating c=Running/ready*1");
  EXPECT_THAT(pod.State().containers[0].message, HasSubstr("waiting for the kubelet"));
  EXPECT_EQ(pod.State().containers[0].last->reason, "ContainerStatusUnknown");
  // A kubelet that was restarted, too, counts revisions from 1.
  spec.revision = 1;
  pod.Apply(spec);
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(pod.TakeLog(), "a@10 b@10");
  EXPECT_EQ(pod.State().spec_revision, 1);
  EXPECT_EQ(pod.View(), "a=Running/ready*1 b=Running/ready*1 c=Running/ready*1");
}

TEST(Reboot, ARunThatWasBeingStartedCounts) {
  Pod pod(PodSpec(kAlways, {Container("c", "sleep 2; exit 1")}));
  pod.Pass(absl::Seconds(1));
  // As if the power went between the start and its report.
  Journal journal = pod.lifecycle().ToJournal(pod.Now());
  Pod starting;
  starting.Apply(PodSpec(kAlways, {Container("c", "")}));
  Journal at_start = starting.lifecycle().ToJournal(starting.Now());
  EXPECT_EQ(at_start.state.containers[0].phase, guestapi::ContainerState::Phase::kRunning);
  EXPECT_EQ(at_start.state.containers[0].id, "run-1");
  starting.Reboot();
  starting.Pass(absl::Seconds(1));
  EXPECT_EQ(starting.View(), "c=Running/ready*1");
}

TEST(Reboot, TheDeadlineCountsFromTheFirstBoot) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", "")});
  spec.active_deadline_seconds = 20;
  Pod pod(spec);
  pod.Pass(absl::Seconds(15));
  pod.Reboot();
  pod.Pass(absl::Seconds(4));
  EXPECT_FALSE(pod.State().deadline_exceeded);
  pod.Pass(absl::Seconds(2));
  EXPECT_TRUE(pod.State().deadline_exceeded);
  EXPECT_TRUE(pod.finished());
}

TEST(Reboot, EphemeralContainersDoNotComeBack) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", ""), Container("e", "", ContainerSpec::Kind::kEphemeral)});
  Pod pod(spec);
  pod.Pass(absl::Seconds(1));
  pod.TakeLog();
  pod.Reboot();
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(pod.TakeLog(), "c@1");
  EXPECT_EQ(pod.View(), "c=Running/ready*1 e=ContainerStatusUnknown(137)");
}

TEST(Reboot, BeforeTheFirstStartNothingIsLost) {
  GuestSpec spec = PodSpec(kNever, {Container("c", "")});
  spec.containers[0].config_error = "no";
  Pod pod(spec);
  pod.Pass(absl::Seconds(1));
  pod.Reboot();
  EXPECT_FALSE(pod.finished());
  spec.containers[0].config_error.clear();
  pod.Apply(spec);
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(pod.View(), "c=Running/ready");
}

TEST(Reboot, AContainerStillWaitsForItsImage) {
  GuestSpec spec = PodSpec(kAlways, {Container("c", ""), Container("d", "")});
  spec.containers[1].awaits_image = true;
  Pod pod(spec);
  pod.Pass(absl::Seconds(1));
  pod.Reboot();
  pod.Pass(absl::Seconds(1));
  EXPECT_EQ(pod.View(), "c=Running/ready*1 d=ContainerCreating");
  EXPECT_EQ(pod.State().containers[1].message, "");
}

class JournalFileTest : public ::testing::Test {
 protected:
  JournalFileTest() { std::filesystem::create_directory(folder_); }
  ~JournalFileTest() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_ = std::filesystem::path(::testing::TempDir()) / absl::StrCat("journal-", ::getpid());
  std::string path_ = folder_ / "journal";
  vck::testing::PoolLoop loop_;
  JournalFile file_{loop_.pool(), path_};
};

TEST_F(JournalFileTest, GivesBackTheLastThatWasStored) {
  EXPECT_TRUE(absl::IsNotFound(file_.Load().status()));
  for (const std::string& text : {std::string("one"), std::string(100000, 'x'), std::string("three")}) {
    EXPECT_TRUE(loop_.Run(file_.Store(text)).ok());
    auto back = JournalFile(loop_.pool(), path_).Load();
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, text);
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 2) << "two slots and nothing beside them";
}

TEST_F(JournalFileTest, WhatWasBeingWrittenWhenThePowerWentDoesNotCount) {
  EXPECT_TRUE(loop_.Run(file_.Store("one")).ok());
  EXPECT_TRUE(loop_.Run(file_.Store("two")).ok());
  std::fstream slot(path_ + ".1", std::ios::in | std::ios::out);
  slot.seekp(70);  // in its text, after 69 bytes of head
  slot << "X";
  slot.close();
  EXPECT_EQ(*file_.Load(), "one");
  EXPECT_TRUE(loop_.Run(file_.Store("three")).ok());
  EXPECT_EQ(*file_.Load(), "three");
}

TEST_F(JournalFileTest, AStoreThatFailsLeavesTheOldOne) {
  EXPECT_TRUE(loop_.Run(file_.Store("old")).ok());
  std::filesystem::remove(path_ + ".1");
  // A write to this fails as on a full disk.
  std::filesystem::create_symlink("/dev/full", path_ + ".1");
  EXPECT_FALSE(loop_.Run(file_.Store("new")).ok()) << "and no link is followed";
  EXPECT_EQ(*file_.Load(), "old");
  std::filesystem::remove(path_ + ".1");
  EXPECT_TRUE(loop_.Run(file_.Store("newer")).ok());
  EXPECT_EQ(*file_.Load(), "newer");
  std::filesystem::remove_all(folder_);
  EXPECT_FALSE(loop_.Run(file_.Store("nowhere")).ok());
}

TEST_F(JournalFileTest, NeedsNoRoomAfterTheFirst) {
  EXPECT_TRUE(loop_.Run(file_.Store(std::string(1000, 'a'))).ok());
  const auto blocks = [&] {
    blkcnt_t out = 0;
    for (const char* slot : {".0", ".1"}) {
      struct stat info{};
      EXPECT_EQ(::stat((path_ + slot).c_str(), &info), 0);
      out += info.st_blocks;
    }
    return out;
  };
  const blkcnt_t before = blocks();
  // 64 KiB in each, written.
  EXPECT_GE(before, 2 * 128);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(loop_.Run(file_.Store(std::string(50000, 'b'))).ok());
  EXPECT_EQ(blocks(), before);
}

}  // namespace
}  // namespace vck::tether
