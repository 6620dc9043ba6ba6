#include "guestapi/late_env.h"

#include <map>

#include "gtest/gtest.h"

namespace vck::guestapi {
namespace {

using Env = std::vector<std::pair<std::string, std::string>>;

LateVariable FromFile(std::string name, std::string key, bool optional = false) {
  return {.name = std::move(name),
          .file = EnvFileKey{.volume = "v", .path = "p", .key = std::move(key), .optional = optional},
          .text = ""};
}

LateVariable Text(std::string name, std::string text) {
  return {.name = std::move(name), .file = std::nullopt, .text = std::move(text)};
}

StatusOr<std::string> Read(const EnvFileKey& key) {
  static const std::map<std::string, std::string> kFile = {
      {"K", "value"}, {"REF", "$(A) $$"}, {"UP", "../x"}, {"RAW", "\xff"}, {"NUL", std::string(1, '\0')}};
  if (key.volume != "v" || key.path != "p") return absl::NotFoundError("no such file");
  auto it = kFile.find(key.key);
  return it == kFile.end() ? "" : it->second;
}

TEST(SettleEnv, InThePodsOrder) {
  ContainerSpec container{.command = {"run", "$(A)", "$$(A)", "$(NONE)"},
                          .args = {"$(LATER)$(OLD)"},
                          .env = {{"FIRST", "$(A)"}, {"OLD", "before"}, {"A", "service"}},
                          .late_env = {Text("EARLY", "$(A)"), FromFile("A", "K"), Text("B", "<$(A)> $$(A)"),
                                       FromFile("NONE", "no-such", true), FromFile("OLD", "no-such", true),
                                       Text("LATER", "$(NONE)$(B)"), FromFile("A", "REF"), Text("C", "$(A)")},
                          .mounts = {{.volume = "v", .path = "/v", .sub_path = "of-$(OLD)-$$x"}}};
  ASSERT_TRUE(SettleEnv(Read, &container).ok());
  EXPECT_EQ(container.env, (Env{{"FIRST", "$(A)"},
                                {"OLD", "before"},
                                {"A", "$(A) $$"},
                                {"EARLY", "service"},
                                {"B", "<value> $(A)"},
                                {"LATER", "$(NONE)<value> $(A)"},
                                {"C", "$(A) $$"}}));
  EXPECT_EQ(container.command, (std::vector<std::string>{"run", "$(A) $$", "$(A)", "$(NONE)"}));
  EXPECT_EQ(container.args, (std::vector<std::string>{"$(NONE)<value> $(A)before"}));
  EXPECT_EQ(container.mounts[0].sub_path, "of-before-$x");
  EXPECT_TRUE(container.late_env.empty());
  // Once is enough: nothing is expanded again.
  const ContainerSpec settled = container;
  ASSERT_TRUE(SettleEnv(Read, &container).ok());
  EXPECT_EQ(container, settled);
}

TEST(SettleEnv, WhatKeepsAContainerFromStarting) {
  const auto error = [](LateVariable variable, std::string sub_path = "") {
    ContainerSpec container{.late_env = {std::move(variable)},
                            .mounts = {{.volume = "v", .path = "/v", .sub_path = std::move(sub_path)}}};
    return std::string(SettleEnv(Read, &container).message());
  };
  EXPECT_EQ(error(FromFile("A", "K")), "");
  EXPECT_EQ(error(FromFile("A", "no")), R"(environment variable key "no" not found in file "p" of volume "v")");
  EXPECT_EQ(error(FromFile("A", "no", true)), "");
  EXPECT_EQ(error({.name = "A", .file = EnvFileKey{.volume = "w", .optional = true}, .text = ""}), "no such file")
      << "optional is the key alone";
  for (const char* key : {"RAW", "NUL"}) {
    EXPECT_EQ(error(FromFile("A", key)), "the value of the environment variable A is not UTF-8 text, or has NUL bytes");
  }
  EXPECT_EQ(error(FromFile("A", "no", true), "x-$(A)"), "missing value for A");
  EXPECT_EQ(error(Text("A", ""), "x-$(A)"), "missing value for A");
  EXPECT_EQ(error(FromFile("A", "UP"), "$(A)"), "unable to provision SubPath `../x`: must not contain '..'");
  EXPECT_EQ(error(FromFile("A", "UP"), "/$(A)"), "error SubPath `/../x` must not be an absolute path");
}

}  // namespace
}  // namespace vck::guestapi
