#include "guestos/image_config.h"

#include <csignal>

#include "gtest/gtest.h"

namespace vck::guestos {
namespace {

using Strings = std::vector<std::string>;

TEST(ImageConfig, WhatAContainerNeeds) {
  auto config = ParseImageConfig(R"({"architecture":"amd64","rootfs":{"type":"layers"},"config":{
      "Entrypoint":["/entry"],"Cmd":["a","b"],"Env":["PATH=/bin","X="],"WorkingDir":"/work","User":"web:web",
      "StopSignal":"SIGQUIT","Volumes":{"/data":{},"/cache":{},"relative":{}},"Labels":{"x":"y"}}})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->entrypoint, Strings{"/entry"});
  EXPECT_EQ(config->cmd, (Strings{"a", "b"}));
  EXPECT_EQ(config->env, (Strings{"PATH=/bin", "X="}));
  EXPECT_EQ(config->working_dir, "/work");
  EXPECT_EQ(config->user, "web:web");
  EXPECT_EQ(config->stop_signal, "SIGQUIT");
  EXPECT_EQ(config->volumes, (Strings{"/cache", "/data"}));
}

TEST(ImageConfig, NullsAndNothing) {
  for (std::string_view text : {"{}", R"({"config":null})", R"({"config":{"Cmd":null,"Volumes":null,"Env":null}})"}) {
    EXPECT_TRUE(ParseImageConfig(text).ok()) << text;
  }
}

TEST(ImageConfig, BrokenOnesAreRefused) {
  for (std::string_view text : {"", "[]", R"({"config":[]})", R"({"config":{"Cmd":"x"}})", R"({"config":{"Env":[1]}})",
                                R"({"config":{"User":5}})", R"({"config":{"Volumes":["/x"]}})"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseImageConfig(text).status())) << text;
  }
}

TEST(MergeCommand, AsKubernetesDoes) {
  ImageConfig image{.entrypoint = {"/entry"}, .cmd = {"default"}};
  EXPECT_EQ(*MergeCommand({}, {}, image), (Strings{"/entry", "default"}));
  EXPECT_EQ(*MergeCommand({}, {"a"}, image), (Strings{"/entry", "a"}));
  EXPECT_EQ(*MergeCommand({"c"}, {}, image), Strings{"c"});
  EXPECT_EQ(*MergeCommand({"c"}, {"a"}, image), (Strings{"c", "a"}));
  EXPECT_EQ(MergeCommand({}, {}, {}).status().message(), "no command specified");
}

TEST(ParseSignal, Names) {
  EXPECT_EQ(*ParseSignal("TERM"), SIGTERM);
  EXPECT_EQ(*ParseSignal("sigquit"), SIGQUIT);
  EXPECT_EQ(*ParseSignal("15"), 15);
  EXPECT_EQ(*ParseSignal("SIGRTMIN+3"), SIGRTMIN + 3);
  EXPECT_EQ(*ParseSignal("RTMAX-2"), SIGRTMAX - 2);
  for (std::string_view bad : {"", "0", "-1", "100", "SIGNONE", "RTMIN+99", "RTMIN+x"}) {
    EXPECT_FALSE(ParseSignal(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace vck::guestos
