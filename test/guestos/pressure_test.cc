#include "guestos/pressure.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "guestos/files.h"
#include "temp_dir.h"

namespace vck::guestos {
namespace {

using guestapi::StorageLimit;
using Kind = guestapi::StorageLimit::Kind;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Texts(const std::vector<tether::Event>& events) {
  std::vector<std::string> out;
  for (const auto& event : events) {
    if (const auto* noticed = std::get_if<tether::Noticed>(&event)) {
      out.push_back(noticed->reason + " " + noticed->container);
    }
    if (const auto* exceeded = std::get_if<tether::Exceeded>(&event)) out.push_back(exceeded->message);
  }
  return out;
}

TEST(Pressure, TheFirstLimitThatIsExceededCounts) {
  const std::vector<StorageLimit> limits = {
      {.kind = Kind::kVolume, .name = "v", .bytes = 10, .message = "volume"},
      {.kind = Kind::kPod, .bytes = 30, .message = "pod"},
      {.kind = Kind::kContainer, .name = "c", .bytes = 15, .message = "container"}};
  const auto exceeded = [&](Written written) {
    const StorageLimit* found = FindExceeded(limits, written);
    return found == nullptr ? "" : found->message;
  };
  EXPECT_EQ(exceeded({}), "");
  EXPECT_EQ(exceeded({.volumes = {{"v", 10}}, .containers = {{"c", 15}}}), "");
  EXPECT_EQ(exceeded({.volumes = {{"v", 11}}, .containers = {{"c", 16}}}), "volume");
  EXPECT_EQ(exceeded({.volumes = {{"v", 1}}, .containers = {{"c", 16}}}), "container");
  EXPECT_EQ(exceeded({.volumes = {{"v", 10}, {"w", 10}}, .containers = {{"d", 11}}}), "pod");
}

TEST(Pressure, RefusedForksAreToldEachTimeThereAreMore) {
  TempDir dir;
  PressureSources sources;
  sources.stats.containers["bomb"] = {.cgroup = dir.path(), .root = "", .logs = ""};
  Pressure pressure;
  const auto look = [&](std::string_view count) {
    EXPECT_TRUE(WriteFile(dir / "pids.events", absl::StrCat("max ", count, "\n")).ok());
    return Texts(pressure.Look(sources));
  };
  EXPECT_THAT(look("0"), IsEmpty());
  EXPECT_THAT(look("3"), ElementsAre("ProcessLimitReached bomb"));
  EXPECT_THAT(look("3"), IsEmpty());
  EXPECT_THAT(look("4"), ElementsAre("ProcessLimitReached bomb"));
}

TEST(Pressure, LostOutputIsToldOnceUntilItIsKeptAgain) {
  PressureSources sources;
  Pressure pressure;
  EXPECT_THAT(pressure.Look(sources), IsEmpty());
  sources.lost_output["web"] = "no space left";
  EXPECT_THAT(Texts(pressure.Look(sources)), ElementsAre("LogsLost web"));
  EXPECT_THAT(pressure.Look(sources), IsEmpty());
  sources.lost_output.clear();
  EXPECT_THAT(pressure.Look(sources), IsEmpty());
  sources.lost_output["web"] = "no space left";
  EXPECT_THAT(Texts(pressure.Look(sources)), ElementsAre("LogsLost web"));
}

}  // namespace
}  // namespace vck::guestos
