#include "podvm/image_disks.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace vck::podvm {
namespace {

using Kind = kubeapi::ContainerView::Kind;
using State = ContainerImage::State;

// "m:web=ready s:proxy=failed": containers of kinds i(nit), s(idecar), m(ain), e(phemeral), their images, what has come
// of them.
std::vector<ContainerImage> Wanted(std::string_view text) {
  std::vector<ContainerImage> out;
  for (std::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    const size_t equals = word.find('=');
    const std::string reference(word.substr(2, equals - 2));
    const std::string_view state = word.substr(equals + 1);
    out.push_back({.container = absl::StrCat("c", out.size()),
                   .kind = word[0] == 'i'   ? Kind::kInit
                           : word[0] == 's' ? Kind::kSidecar
                           : word[0] == 'e' ? Kind::kEphemeral
                                            : Kind::kMain,
                   .reference = reference,
                   .state = state == "ready"    ? State::kReady
                            : state == "failed" ? State::kFailed
                                                : State::kPulling,
                   .id = reference + "@sha256:1",
                   .disk = {.parent_path = reference + ".vmdk", .capacity_bytes = 1}});
  }
  return out;
}

// "web proxy"; each disk is checked against what it is said to hold.
std::string Show(const ImageDisks& disks) {
  EXPECT_EQ(disks.images.size(), disks.disks.size());
  for (size_t i = 0; i < disks.images.size(); ++i) {
    EXPECT_EQ(disks.images[i].id, disks.images[i].reference + "@sha256:1");
    EXPECT_EQ(disks.disks[i].parent_path, disks.images[i].reference + ".vmdk");
  }
  return absl::StrJoin(disks.images, " ", [](std::string* out, const auto& i) { out->append(i.reference); });
}

TEST(ImageDisks, AVmIsMadeOnceNothingIsPulledForTheFirstTimeAndSomethingCanStart) {
  constexpr std::string_view kNotYet = "not yet";
  struct Case {
    std::string_view wanted, disks;
  } cases[] = {
      {"", kNotYet},
      {"m:a=ready", "a"},
      {"m:a=pulling", kNotYet},
      {"m:a=failed", kNotYet},
      {"m:a=ready m:b=ready m:a=ready", "a b"},
      {"m:a=ready m:b=pulling", kNotYet},
      {"m:a=ready m:b=failed", "a"},
      {"m:a=failed m:b=ready", "b"},
      {"m:a=failed m:b=failed", kNotYet},
      {"m:a=failed m:b=pulling", kNotYet},
      // A guest begins with the first init container.
      {"i:a=failed m:b=ready", kNotYet},
      {"i:a=failed i:b=ready m:c=ready", kNotYet},
      {"i:a=ready i:b=failed m:c=ready", "a c"},
      {"i:a=ready m:b=failed", "a"},
      {"s:a=failed m:b=ready", kNotYet},
      {"s:a=ready m:b=failed", "a"},
      // Another container has brought what this one may not pull.
      {"i:a=failed m:a=ready", "a"},
  };
  for (const Case& c : cases) {
    auto disks = DisksOfNewVm(Wanted(c.wanted));
    EXPECT_EQ(disks ? Show(*disks) : kNotYet, c.disks) << c.wanted;
  }
}

TEST(ImageDisks, WhatComesLaterIsAdded) {
  const std::vector<vch::PodImage> have = {{"a", "a@sha256:1"}, {}};
  EXPECT_EQ(Show(DisksToAdd(Wanted("m:a=ready m:b=failed"), have)), "");
  EXPECT_EQ(Show(DisksToAdd(Wanted("m:a=ready m:b=ready e:c=ready m:d=pulling e:b=ready"), have)), "b c");
}

TEST(ImageDisks, ThereIsRoomForSoMany) {
  std::string many;
  for (size_t i = 0; i < kMaxImages; ++i) absl::StrAppend(&many, "m:i", i, "=ready ");
  EXPECT_TRUE(CheckRoom(Wanted(many), {}).ok());
  EXPECT_TRUE(CheckRoom(Wanted(many + "m:i0=ready"), {}).ok());
  const Status full = CheckRoom(Wanted(many + "m:more=failed"), {});
  EXPECT_TRUE(absl::IsFailedPrecondition(full));
  EXPECT_EQ(full.message(), "the pod has 14 images, and a pod VM has room for 13");

  auto disks = DisksOfNewVm(Wanted(many));
  ASSERT_TRUE(disks.has_value());
  std::vector<vch::PodImage> have = disks->images;
  have.emplace_back();  // the scratch disk takes no room
  EXPECT_TRUE(CheckRoom(Wanted(many), have).ok());
  EXPECT_FALSE(CheckRoom(Wanted("e:more=ready"), have).ok());
  EXPECT_EQ(Show(DisksToAdd(Wanted("e:more=ready"), have)), "");
  have.erase(have.begin());
  EXPECT_EQ(Show(DisksToAdd(Wanted("e:more=ready e:most=ready"), have)), "more") << "what fits is added";
}

}  // namespace
}  // namespace vck::podvm
