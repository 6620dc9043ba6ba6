#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "guestapi/identity.h"
#include "guestapi/spec.h"
#include "guestapi/state.h"

namespace vck::guestapi {
namespace {

using ::testing::HasSubstr;

GuestSpec FullSpec() {
  GuestSpec spec;
  spec.pod_uid = "0b0e5a0c-1111-4222-8333-444455556666";
  spec.pod_namespace = "default";
  spec.pod_name = "web";
  spec.revision = 7;
  spec.generation = 3;
  spec.restart_policy = RestartPolicy::kOnFailure;
  spec.active_deadline_seconds = 0;
  spec.start_time = absl::FromUnixNanos(1767225600123456789);
  spec.grace_seconds = 0;
  spec.hosts_file = "10.0.0.1 a.example\n";
  ContainerSpec init;
  init.name = "setup";
  init.kind = ContainerSpec::Kind::kInit;
  init.image = "busybox";
  init.awaits_image = true;
  ContainerSpec main;
  main.name = "web";
  main.image = "nginx:1";
  main.image_id = "nginx@sha256:abc";
  main.command = {"sh", "-c"};
  main.args = {"echo \"a\\b\n\x01\" ü"};
  main.env = {{"B", "2"}, {"A", "1"}, {"B", "3"}};
  main.late_env = {
      {.name = "L", .file = EnvFileKey{.volume = "v", .path = "p", .key = "k", .optional = true}, .text = ""},
      {.name = "M", .file = std::nullopt, .text = "$(L)$$"}};
  main.working_dir = "/srv";
  main.set_resources({.cpu_limit_milli = 1, .cpu_request_milli = 2, .memory_limit_bytes = 3});
  main.restart_for_cpu = main.restart_for_memory = true;
  main.restart_rules = {{.exit_codes = {42}}, {.negated = true, .exit_codes = {0, 255}}};
  main.readiness.emplace();
  main.startup.emplace();
  spec.containers = {init, main};
  spec.storage_limits = {{.kind = guestapi::StorageLimit::Kind::kVolume, .name = "v", .bytes = 5, .message = "much"}};
  return spec;
}

TEST(Spec, SurvivesTheWire) {
  std::string text = Encode(FullSpec());
  auto back = DecodeSpec(text);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(Encode(*back), text);
  EXPECT_EQ(back->restart_policy, RestartPolicy::kOnFailure);
  EXPECT_EQ(back->active_deadline_seconds, 0);
  EXPECT_EQ(back->storage_limits, FullSpec().storage_limits);
  EXPECT_EQ(back->start_time, FullSpec().start_time);
  EXPECT_EQ(back->grace_seconds, 0);
  ASSERT_EQ(back->containers.size(), 2);
  EXPECT_EQ(back->containers[0].kind, ContainerSpec::Kind::kInit);
  EXPECT_TRUE(back->containers[0].awaits_image);
  EXPECT_FALSE(back->containers[1].awaits_image);
  EXPECT_EQ(back->containers[1].resources(), FullSpec().containers[1].resources());
  EXPECT_TRUE(back->containers[1].restart_for_cpu && back->containers[1].restart_for_memory);
  EXPECT_EQ(back->containers[1].args, FullSpec().containers[1].args);
  EXPECT_EQ(back->containers[1].env, FullSpec().containers[1].env) << "order and duplicates count";
  EXPECT_EQ(back->containers[1].late_env, FullSpec().containers[1].late_env);
  EXPECT_TRUE(back->containers[1].startup.has_value());
  ASSERT_EQ(back->containers[1].restart_rules.size(), 2u);
  EXPECT_TRUE(back->containers[1].restart_rules[1].negated);
}

TEST(Spec, DefaultsAreTheProtocolsAndUnknownFieldsAreSkipped) {
  auto spec = DecodeSpec(R"({"podUid":"u","future":{"x":[1]},"containers":[{"name":"c","later":1}]})");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->restart_policy, RestartPolicy::kAlways);
  EXPECT_EQ(spec->active_deadline_seconds, std::nullopt);
  EXPECT_EQ(spec->grace_seconds, 30);
  EXPECT_EQ(spec->containers[0].kind, ContainerSpec::Kind::kMain);
}

TEST(Spec, OldGuestsDoNotStartWhatNeedsFilesOfVariables) {
  GuestSpec spec = FullSpec();
  auto document = json::Document::Parse(Encode(spec));
  const json::Array& containers = json::Items(document->root(), "containers");
  EXPECT_EQ(json::Get(containers.at(0), "configError"), nullptr);
  EXPECT_THAT(std::string(json::String(containers.at(1), "configError")), HasSubstr("make the pod anew"));
  EXPECT_EQ(DecodeSpec(Encode(spec))->containers[1].config_error, "");
  // One that cannot be started at all has nothing else.
  spec.containers[1].config_error = "no secret";
  auto back = DecodeSpec(Encode(spec));
  EXPECT_EQ(back->containers[1].config_error, "no secret");
  EXPECT_TRUE(back->containers[1].late_env.empty());
}

TEST(Spec, MistakesNameTheField) {
  struct Case {
    std::string text, error;
  } cases[] = {
      {"[]", "it is not an object"},
      {"{", "not JSON"},
      {"{}", "podUid is missing"},
      {R"({"podUid":1})", "podUid is not a string"},
      {R"({"podUid":"u","version":2})", "version is not between 1 and 1"},
      {R"({"podUid":"u","revision":-1})", "revision is not between"},
      {R"({"podUid":"u","revision":1.5})", "revision is not a whole number"},
      {R"({"podUid":"u","restartPolicy":"Sometimes"})", "restartPolicy is none of the known values"},
      {R"({"podUid":"u","activeDeadlineSeconds":9999999999999})", "activeDeadlineSeconds is not between"},
      {R"({"podUid":"u","containers":{}})", "containers is not an array"},
      {R"({"podUid":"u","containers":[7]})", "containers[0] is not an object"},
      {R"({"podUid":"u","containers":[{"name":"a"},{}]})", "containers[1].name is missing"},
      {R"({"podUid":"u","containers":[{"name":"a"},{"name":"a"}]})", "containers[1].name is there twice"},
      {R"({"podUid":"u","containers":[{"name":"a","args":[1]}]})", "containers[0].args has an element"},
      {R"({"podUid":"u","containers":[{"name":"a","env":[["x"]]}]})", "containers[0].env has an element"},
      {R"({"podUid":"u","containers":[{"name":"a","lateEnv":[{"name":"E","file":{"path":"p"}}]}]})",
       "containers[0].lateEnv[0].file.volume is missing"},
      {R"({"podUid":"u","containers":[{"name":"a","lateEnv":[{"name":"E","file":{"volume":"v","path":"a\u0000b"}}]}]})",
       "containers[0].lateEnv[0].file.path is no path"},
      {R"({"podUid":"u","containers":[{"name":"a","lateEnv":[{"name":"E","file":true}]}]})",
       "containers[0].lateEnv[0].file is not an object"},
      {R"({"podUid":"u","containers":[{"name":"a","lateEnv":[{"name":"E","text":1}]}]})",
       "containers[0].lateEnv[0].text is not a string"},
      {R"({"podUid":"u","containers":[{"name":"a","readinessProbe":"yes"}]})", "containers[0].readinessProbe is not"},
  };
  for (const Case& c : cases) {
    auto spec = DecodeSpec(c.text);
    EXPECT_EQ(spec.status().code(), absl::StatusCode::kInvalidArgument) << c.text;
    EXPECT_THAT(std::string(spec.status().message()), HasSubstr(c.error)) << c.text;
  }
}

TEST(State, SurvivesTheWireWithNanoseconds) {
  GuestState state;
  state.boot_id = "b1";
  state.sequence = 9;
  state.pod_uid = "u";
  state.spec_revision = 4;
  state.generation = 2;
  state.guest_now = absl::FromUnixNanos(1767225600123456789);
  state.stopping = true;
  state.deadline_exceeded = true;
  state.finished = true;
  ContainerState container;
  container.name = "c";
  container.phase = ContainerState::Phase::kTerminated;
  container.reason = "Error";
  container.message = "m";
  container.id = "c-2";
  container.started_at = absl::FromUnixNanos(1);
  container.exit_code = -1;
  container.signal = 9;
  container.restart_count = 2;
  container.started = true;
  container.ready = true;
  container.image_id = "i";
  container.resources = {.cpu_limit_milli = 5, .memory_request_bytes = 6};
  container.last = ContainerState::Termination{.id = "c-1", .reason = "Completed", .finished_at = absl::UnixEpoch()};
  state.containers = {container};
  state.first_boot = "b0";
  state.resize_infeasible = "too much";
  state.resize_error = "no";
  state.evicted = "too large";
  state.events = {{.number = 3, .reason = "DeadlineExceeded", .message = "m", .at = absl::UnixEpoch()},
                  {.number = 4, .warning = true, .container = "c", .reason = "BackOff", .at = absl::Now(), .count = 7}};
  std::string text = Encode(state);
  auto back = DecodeState(text);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(Encode(*back), text);
  EXPECT_EQ(back->guest_now, state.guest_now);
  EXPECT_EQ(back->containers[0].started_at, absl::FromUnixNanos(1));
  EXPECT_EQ(back->containers[0].finished_at, absl::InfinitePast()) << "unknown stays unknown";
  EXPECT_EQ(back->containers[0].last->finished_at, absl::UnixEpoch());
  EXPECT_EQ(back->containers[0].exit_code, -1);
  EXPECT_EQ(back->history(), "b0");
  EXPECT_EQ(back->containers[0].resources, container.resources);
  EXPECT_EQ(back->evicted, "too large");
  EXPECT_EQ(back->resize_infeasible + back->resize_error, "too muchno");
  ASSERT_EQ(back->events.size(), 2u);
  EXPECT_EQ(back->events[0].count, 1);
  EXPECT_EQ(back->events[1].count, 7);
  EXPECT_TRUE(back->events[1].warning);
}

TEST(State, MistakesNameTheField) {
  struct Case {
    std::string text, error;
  } cases[] = {
      {R"({"sequence":1,"guestNow":1})", "bootId is missing"},
      {R"({"bootId":"b","guestNow":1})", "sequence is missing"},
      {R"({"bootId":"b","sequence":0,"guestNow":1})", "sequence is not between"},
      {R"({"bootId":"b","sequence":1})", "guestNow is missing"},
      {R"({"bootId":"b","sequence":1,"guestNow":"2026"})", "guestNow is not a whole number"},
      {R"({"bootId":"b","sequence":1,"guestNow":1,"containers":[{"name":"c"}]})", "containers[0].phase is missing"},
      {R"({"bootId":"b","sequence":1,"guestNow":1,"containers":[{"name":"c","phase":"odd"}]})",
       "containers[0].phase is none"},
      {R"({"bootId":"b","sequence":1,"guestNow":1,"containers":[{"name":"c","phase":"running","restartCount":-1}]})",
       "containers[0].restartCount is not between"},
      {R"({"bootId":"b","sequence":1,"guestNow":1,"containers":[{"name":"c","phase":"running","last":{"exitCode":"1"}}]})",
       "containers[0].last.exitCode is not a whole number"},
      {R"({"bootId":"b","sequence":1,"guestNow":1,"events":[{"reason":"x"}]})", "events[0].number is missing"},
      {R"({"bootId":"b","sequence":1,"guestNow":1,"events":[{"number":1}]})", "events[0].reason is missing"},
      {R"({"bootId":"b","sequence":1,"guestNow":1,"events":[{"number":1,"reason":"x","count":0}]})",
       "events[0].count is not between"},
  };
  for (const Case& c : cases) {
    auto state = DecodeState(c.text);
    EXPECT_EQ(state.status().code(), absl::StatusCode::kInvalidArgument) << c.text;
    EXPECT_THAT(std::string(state.status().message()), HasSubstr(c.error)) << c.text;
  }
}

TEST(Stop, SurvivesTheWire) {
  auto stop = DecodeStop(Encode(StopRequest{.grace_seconds = 0, .reason = "deleted", .stay_on = true}));
  ASSERT_TRUE(stop.ok());
  EXPECT_EQ(stop->grace_seconds, 0);
  EXPECT_EQ(stop->reason, "deleted");
  EXPECT_TRUE(stop->stay_on);
  EXPECT_EQ(DecodeStop("{}")->grace_seconds, 30);
  EXPECT_FALSE(DecodeStop(R"({"graceSeconds":-1})").ok());
}

TEST(BootConfig, SurvivesTheWireAndRefusesWhatCannotWork) {
  BootConfig config;
  config.pod_uid = "u";
  config.host_name = "web";
  config.address = "10.1.2.3/20";
  config.gateway = "10.1.0.1";
  config.dns = {"10.96.0.10"};
  config.port = 7;
  config.kubelet_key_hash = std::string(64, 'a');
  config.kubelet_ca = "-----BEGIN CERTIFICATE-----\n";
  std::string text = Encode(config);
  auto back = DecodeBootConfig(text);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(Encode(*back), text);
  EXPECT_EQ(back->port, 7);
  EXPECT_FALSE(DecodeBootConfig(absl::StrReplaceAll(text, {{"aaaaaaaa", "AAAAAAAA"}})).ok());
  EXPECT_FALSE(DecodeBootConfig(absl::StrReplaceAll(text, {{"\"port\":7", "\"port\":70000"}})).ok());
  EXPECT_FALSE(DecodeBootConfig(absl::StrReplaceAll(text, {{"\"version\":1", "\"version\":2"}})).ok());
  EXPECT_FALSE(DecodeBootConfig(text + std::string(kMaxConfigBytes, ' ')).ok());
}

TEST(Announcement, SurvivesTheWire) {
  GuestAnnouncement announcement{.boot_id = "b-1", .key_hash = std::string(64, '0')};
  auto back = DecodeAnnouncement(Encode(announcement));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(*back, announcement);
  EXPECT_EQ(back->history(), "b-1");
  announcement.first_boot = "b-0";
  back = DecodeAnnouncement(Encode(announcement));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(*back, announcement);
  EXPECT_EQ(back->history(), "b-0");
  EXPECT_TRUE(absl::IsNotFound(DecodeAnnouncement("").status()));
  EXPECT_TRUE(absl::IsNotFound(DecodeAnnouncement(kNoGuest).status()));
  std::string hash(64, '0');
  for (const std::string& bad :
       {std::string("v1"), "v2 b " + hash, "v1 b " + hash + "0", "v1  " + hash, "v1 b " + hash + " ",
        "v1 b " + hash + " x y", "v1 b\n " + hash, "v1 b " + std::string(64, 'G')}) {
    EXPECT_TRUE(absl::IsInvalidArgument(DecodeAnnouncement(bad).status())) << bad;
  }
}

TEST(Channel, UpgradeFieldIsAList) {
  EXPECT_TRUE(OffersChannel("vch-channel/1"));
  EXPECT_TRUE(OffersChannel("vch-channel/2, vch-channel/1"));
  EXPECT_FALSE(OffersChannel("vch-channel/2"));
  EXPECT_FALSE(OffersChannel(""));
}

}  // namespace
}  // namespace vck::guestapi
