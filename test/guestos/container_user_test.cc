#include "guestos/container_user.h"

#include "gtest/gtest.h"

namespace vck::guestos {
namespace {

constexpr std::string_view kPasswd =
    "root:x:0:0:root:/root:/bin/sh\n"
    "# a comment\n"
    "broken:x:1\n"
    "web:x:33:34:web:/var/www:/bin/false\n"
    "nobody:x:65534:65534::/:/bin/false\n"
    "2000:x:44:45::/home/number:\n";
constexpr std::string_view kGroup =
    "root:x:0:\n"
    "web:x:34:\n"
    "disk:x:6:nobody,web\n"
    "log:x:4:web\n"
    "huge:x:99999999999:web\n";

using Groups = std::vector<uint32_t>;

ContainerUser Resolve(UserRequest request) {
  auto user = ResolveUser(request, kPasswd, kGroup);
  EXPECT_TRUE(user.ok()) << user.status();
  return user.ok() ? *user : ContainerUser{};
}

TEST(ContainerUser, NothingIsRoot) {
  EXPECT_EQ(Resolve({}), (ContainerUser{.uid = 0, .gid = 0, .groups = {0}, .home = "/root"}));
}

TEST(ContainerUser, NamesAndNumbersOfTheImage) {
  EXPECT_EQ(Resolve({.image_user = "web"}), (ContainerUser{33, 34, {34, 6, 4}, "/var/www"}));
  EXPECT_EQ(Resolve({.image_user = "33"}), (ContainerUser{33, 34, {34, 6, 4}, "/var/www"}));
  EXPECT_EQ(Resolve({.image_user = "web:disk"}), (ContainerUser{33, 6, {6, 4}, "/var/www"}));
  EXPECT_EQ(Resolve({.image_user = "1234:77"}), (ContainerUser{1234, 77, {77}, "/"}));
  // Without an entry the group is root's.
  EXPECT_EQ(Resolve({.image_user = "1234"}), (ContainerUser{1234, 0, {0}, "/"}));
  // A name that looks like a number is a name.
  EXPECT_EQ(Resolve({.image_user = "2000"}), (ContainerUser{44, 45, {45}, "/home/number"}));
}

TEST(ContainerUser, ThePodDecides) {
  EXPECT_EQ(Resolve({.image_user = "web:disk", .user = 65534}), (ContainerUser{65534, 65534, {65534, 6}, "/"}));
  EXPECT_EQ(Resolve({.image_user = "web", .user = 1000, .group = 3000}), (ContainerUser{1000, 3000, {3000}, "/"}));
  EXPECT_EQ(Resolve({.image_user = "web", .group = 3000}), (ContainerUser{33, 3000, {3000, 6, 4}, "/var/www"}));
  // runAsUser is a number, even if somebody is called so.
  EXPECT_EQ(Resolve({.user = 2000}), (ContainerUser{2000, 0, {0}, "/"}));
}

TEST(ContainerUser, FurtherGroups) {
  EXPECT_EQ(Resolve({.image_user = "web", .groups = {4, 5000, 34}}).groups, (Groups{34, 6, 4, 5000}));
}

TEST(ContainerUser, WhatDoesNotExist) {
  EXPECT_EQ(ResolveUser({.image_user = "ghost"}, kPasswd, kGroup).status().message(),
            "unable to find user ghost: no matching entries in passwd file");
  EXPECT_EQ(ResolveUser({.image_user = "web:ghosts"}, kPasswd, kGroup).status().message(),
            "unable to find group ghosts: no matching entries in group file");
  EXPECT_TRUE(absl::IsInvalidArgument(ResolveUser({.image_user = "99999999999"}, kPasswd, kGroup).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ResolveUser({.user = -1}, kPasswd, kGroup).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ResolveUser({.groups = {int64_t{1} << 40}}, kPasswd, kGroup).status()));
}

TEST(ContainerUser, NonRootAsTheKubeletSaysIt) {
  auto check = [](std::optional<int64_t> user, std::string_view image_user) {
    return std::string(CheckNonRoot(user, image_user, "web_default(uid)", "main").message());
  };
  const std::string where = " (pod: \"web_default(uid)\", container: main)";
  EXPECT_EQ(check(1000, ""), "");
  EXPECT_EQ(check({}, "1000:0"), "");
  EXPECT_EQ(check(0, "1000"), "container's runAsUser breaks non-root policy" + where);
  EXPECT_EQ(check({}, ""), "container has runAsNonRoot and image will run as root" + where);
  EXPECT_EQ(check({}, "0:5"), "container has runAsNonRoot and image will run as root" + where);
  EXPECT_EQ(check({}, "web"),
            "container has runAsNonRoot and image has non-numeric user (web), cannot verify user is non-root" + where);
}

}  // namespace
}  // namespace vck::guestos
