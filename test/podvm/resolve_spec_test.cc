#include "podvm/resolve_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guestapi/frame.h"
#include "resolve.h"

namespace vck::podvm {
namespace {

using guestapi::ContainerSpec;
using State = LookupResult::State;

TEST(ResolveSpec, ThePodsOwnFields) {
  Resolved r(R"({"restartPolicy":"OnFailure","activeDeadlineSeconds":9,"terminationGracePeriodSeconds":0,
    "hostPID":true,"hostIPC":true,"shareProcessNamespace":true,
    "securityContext":{"fsGroup":2000,"supplementalGroups":[5,6],"sysctls":[{"name":"net/ipv4/tcp_syncookies","value":"1"}]},
    "initContainers":[{"name":"i","image":"img"},{"name":"s","image":"img","restartPolicy":"Always"}],
    "containers":[{"name":"c","image":"img","restartPolicy":"Never",
      "restartPolicyRules":[{"action":"Restart","exitCodes":{"operator":"NotIn","values":[0,3]}}]},{"name":"d","image":"other"}],
    "ephemeralContainers":[{"name":"e","image":"late","targetContainerName":"c"}]})",
             {.images = {{"img", "img@sha256:1"}, {"other", "other@sha256:2"}, {"", ""}, {"late", "late@sha256:3"}}});
  ASSERT_TRUE(r.ok()) << r.Events();
  const guestapi::GuestSpec& spec = r.spec();
  EXPECT_EQ(spec.pod_uid, "u");
  EXPECT_EQ(spec.revision, 5);
  EXPECT_EQ(spec.generation, 7);
  EXPECT_EQ(spec.restart_policy, guestapi::RestartPolicy::kOnFailure);
  EXPECT_EQ(spec.active_deadline_seconds, 9);
  EXPECT_EQ(spec.start_time, absl::FromUnixSeconds(1767225600));
  EXPECT_EQ(spec.grace_seconds, 0);
  EXPECT_TRUE(spec.host_pid && spec.host_ipc && spec.share_processes);
  EXPECT_FALSE(spec.host_network);
  EXPECT_EQ(spec.fs_group, 2000);
  EXPECT_EQ(spec.supplemental_groups, (std::vector<int64_t>{5, 6}));
  ASSERT_EQ(spec.sysctls.size(), 1);
  EXPECT_EQ(spec.sysctls[0].first, "net.ipv4.tcp_syncookies");
  // The third disk is the scratch disk.
  ASSERT_EQ(spec.images.size(), 3);
  EXPECT_EQ(spec.images[1].id, "other@sha256:2");
  EXPECT_EQ(spec.images[1].unit, 1);
  EXPECT_EQ(spec.images[2].unit, 3);
  ASSERT_EQ(spec.containers.size(), 5);
  EXPECT_EQ(spec.containers[0].kind, ContainerSpec::Kind::kInit);
  EXPECT_EQ(spec.containers[1].kind, ContainerSpec::Kind::kSidecar);
  EXPECT_EQ(spec.containers[1].restart_policy, std::nullopt);
  EXPECT_EQ(spec.containers[2].restart_policy, guestapi::RestartPolicy::kNever);
  ASSERT_EQ(spec.containers[2].restart_rules.size(), 1u);
  EXPECT_TRUE(spec.containers[2].restart_rules[0].negated);
  EXPECT_THAT(spec.containers[2].restart_rules[0].exit_codes, ::testing::ElementsAre(0, 3));
  EXPECT_EQ(spec.containers[2].image_id, "img@sha256:1");
  EXPECT_EQ(spec.containers[4].kind, ContainerSpec::Kind::kEphemeral);
  EXPECT_EQ(spec.containers[4].target, "c");
  EXPECT_EQ(spec.containers[4].image_id, "late@sha256:3");
  // What the kubelet makes, the guest takes.
  auto back = guestapi::DecodeSpec(guestapi::Encode(spec));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, spec);
}

TEST(ResolveSpec, AnEphemeralContainerComesWithItsDisk) {
  Resolved r(R"({"containers":[{"name":"c","image":"img"}],"ephemeralContainers":[{"name":"e","image":"late"}]})",
             {.images = {{"img", "img@sha256:1"}}});
  ASSERT_TRUE(r.ok()) << r.Events();
  ASSERT_EQ(r.spec().containers.size(), 1);
  EXPECT_EQ(r.spec().containers[0].name, "c");
}

TEST(ResolveSpec, AContainerWithoutItsImageHasItsPlaceAndWaits) {
  constexpr std::string_view kPod =
      R"({"initContainers":[{"name":"i","image":"none"}],"containers":[{"name":"c","image":"img"},{"name":"d","image":"none","args":["x"]}]})";
  Resolved r(kPod, {.images = {{"img", "img@sha256:1"}, {"", ""}}});
  ASSERT_TRUE(r.ok()) << r.Events();
  EXPECT_EQ(r.Events(), "");
  ASSERT_EQ(r.spec().containers.size(), 3);
  EXPECT_TRUE(r.container(0).awaits_image);
  EXPECT_FALSE(r.container(1).awaits_image);
  EXPECT_TRUE(r.container(2).awaits_image);
  EXPECT_EQ(r.container(2).image_id, "");
  EXPECT_EQ(r.container(2).args.size(), 1);
  EXPECT_EQ(r.spec().images.size(), 1);
  Resolved there(kPod, {.images = {{"img", "img@sha256:1"}, {"", ""}, {"none", "none@sha256:2"}}});
  ASSERT_TRUE(there.ok()) << there.Events();
  EXPECT_FALSE(there.container(2).awaits_image);
  EXPECT_EQ(there.container(2).image_id, "none@sha256:2");
  EXPECT_FALSE(Resolved(kPod).container(2).awaits_image) << "where guests know no images, none is missing";
}

TEST(ResolveSpec, WaitsForTheAddressAndForServicesWithoutAReason) {
  constexpr std::string_view kPod = R"({"containers":[{"name":"c"}]})";
  for (const Inputs& in : {Inputs{.ip = ""}, Inputs{.services_known = false}}) {
    Resolved r(kPod, in);
    EXPECT_FALSE(r.ok());
    EXPECT_EQ(r.result.reason, "");
    EXPECT_EQ(r.Events(), "");
  }
}

TEST(ResolveSpec, AContainerThatCanNotBeConfiguredWaitsAlone) {
  Resolved r(R"({"containers":[{"name":"a"},{"name":"b","command":["x"],
    "env":[{"name":"E","valueFrom":{"secretKeyRef":{"name":"no","key":"k"}}}]}]})");
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r.container(0).config_error, "");
  EXPECT_EQ(r.container(1).config_error, "secret \"no\" not found");
  EXPECT_TRUE(r.container(1).command.empty());
  EXPECT_EQ(r.Events(), "Failed: Error: secret \"no\" not found");
}

TEST(ResolveSpec, AVolumeThatCanNotBeMadeHoldsThePod) {
  Resolved r(WithVolume(R"("configMap":{"name":"no"})"));
  EXPECT_FALSE(r.ok());
  EXPECT_EQ(r.result.reason, "ContainerCreating");
  EXPECT_EQ(r.Events(), "FailedMount: MountVolume.SetUp failed for volume \"v\" : configmap \"no\" not found");
  EXPECT_EQ(r.result.message, "MountVolume.SetUp failed for volume \"v\" : configmap \"no\" not found");
  // Also while something else is still being read; and nobody cares for one that is not mounted.
  EXPECT_EQ(Resolved(WithVolume(R"("configMap":{"name":"no"})"), {.ip = ""}).result.reason, "ContainerCreating");
  Resolved unused(R"({"volumes":[{"name":"v","configMap":{"name":"no"}}],"containers":[{"name":"c"}]})");
  EXPECT_TRUE(unused.ok());
  EXPECT_TRUE(unused.refs.empty());
  EXPECT_TRUE(unused.spec().volumes.empty());
}

TEST(ResolveSpec, WhatCanNotBeReadIsNotTheSameAsMissing) {
  constexpr std::string_view kOptional =
      R"({"containers":[{"name":"c","envFrom":[{"configMapRef":{"name":"no","optional":true}}]}]})";
  EXPECT_TRUE(Resolved(kOptional).ok());
  EXPECT_FALSE(Resolved(kOptional, {.missing = State::kUnknown}).ok());
  Resolved failed(kOptional, {.missing = State::kFailed});
  ASSERT_TRUE(failed.ok());
  EXPECT_EQ(failed.container().config_error, "configmaps \"no\" is forbidden");
}

TEST(ResolveSpec, ReferencesAreListedOnce) {
  Resolved r(R"({"volumes":[
      {"name":"a","configMap":{"name":"cm"}},{"name":"b","secret":{"secretName":"sec"}},
      {"name":"p","projected":{"sources":[{"secret":{"name":"s2"}},{"configMap":{"name":"cm"}},{"serviceAccountToken":{"path":"t"}},
        {"serviceAccountToken":{"path":"t2","audience":"vault","expirationSeconds":600}}]}}],
    "imagePullSecrets":[{"name":"reg"},{"name":""}],
    "containers":[{"name":"c","envFrom":[{"secretRef":{"name":"sec"}}],
      "volumeMounts":[{"name":"a","mountPath":"/a"},{"name":"b","mountPath":"/b"},{"name":"p","mountPath":"/p"}]}]})",
             {.missing = State::kUnknown});
  using Kind = ObjectRef::Kind;
  EXPECT_EQ(r.refs, (std::vector<ObjectRef>{{Kind::kSecret, "sec"}, {Kind::kConfigMap, "cm"}, {Kind::kSecret, "s2"}}));
  EXPECT_EQ(r.tokens, (std::vector<TokenRef>{{"", 3600}, {"vault", 600}}));
  auto pod = json::Parse(R"({"spec":{"imagePullSecrets":[{"name":"reg"},{"name":""},{"name":"reg"}]}})");
  EXPECT_EQ(PullSecretNames(kubeapi::PodView(*pod)), (std::vector<std::string>{"reg"}));
}

TEST(ResolveSpec, MoreThanOneMessageHoldsIsToldNotSent) {
  // A label may not be that long; whatever it comes from, the guest must not be sent a frame that it refuses.
  std::string big(guestapi::kMaxFrameBytes, 'x');
  Resolved r(absl::StrCat(R"({"containers":[{"name":"c","args":[")", big, R"("]}]})"));
  EXPECT_FALSE(r.ok());
  EXPECT_EQ(r.result.reason, "ContainerCreating");
  EXPECT_NE(r.result.message.find("more than the 16 MiB"), std::string::npos) << r.result.message;
}

TEST(ResolveSpec, StorageLimitsInTheKubeletsOrderAndWords) {
  constexpr std::string_view kPod = R"("volumes":[{"name":"v","emptyDir":{"sizeLimit":"10M"}},
        {"name":"ram","emptyDir":{"medium":"Memory","sizeLimit":"1Mi"}},{"name":"free","emptyDir":{}}],
      "containers":[{"name":"c","resources":{"limits":{"ephemeral-storage":"1Gi"}},"volumeMounts":[
        {"name":"v","mountPath":"/v"},{"name":"ram","mountPath":"/r"},{"name":"free","mountPath":"/f"}]}]})";
  Resolved r(absl::StrCat("{", kPod));
  ASSERT_TRUE(r.ok());
  using Kind = guestapi::StorageLimit::Kind;
  const int64_t gib = int64_t{1} << 30;
  const std::vector<guestapi::StorageLimit> wanted = {
      {Kind::kVolume, "v", 10'000'000, "Usage of EmptyDir volume \"v\" exceeds the limit \"10M\". "},
      {Kind::kPod, "", gib, "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. "},
      {Kind::kContainer, "c", gib, "Container c exceeded its local ephemeral storage limit \"1Gi\". "}};
  EXPECT_EQ(r.spec().storage_limits, wanted);
  EXPECT_TRUE(Resolved(absl::StrCat(R"({"priority":2000001000,)", kPod)).spec().storage_limits.empty())
      << "critical pods are not evicted";
}

}  // namespace
}  // namespace vck::podvm
