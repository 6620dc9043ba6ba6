#include <gtest/gtest.h>

#include "resolve.h"

namespace vck::podvm {
namespace {

using guestapi::VolumeSpec;

TEST(ResolveVolumes, ConfigMaps) {
  EXPECT_EQ(Resolved(WithVolume(R"("configMap":{"name":"files"})")).Files(),
            absl::StrCat("bin=", std::string("\0\xff", 2), "(0644) one.txt=1(0644) two.txt=2(0644)"));
  EXPECT_EQ(
      Resolved(WithVolume(R"("configMap":{"name":"files","defaultMode":256,"items":[{"key":"two.txt","path":"a/./b//c"},
      {"key":"one.txt","path":"x","mode":511}]})"))
          .Files(),
      "a/b/c=2(0400) x=1(0777)");
  Resolved r(WithVolume(R"("configMap":{"name":"cm"})"));
  EXPECT_EQ(r.spec().volumes[0].kind, VolumeSpec::Kind::kFiles);
  EXPECT_TRUE(r.container().mounts[0].read_only) << "nobody but the kubelet writes these";
}

TEST(ResolveVolumes, MissingThings) {
  const auto message = [](std::string_view source) { return Resolved(WithVolume(source)).Files(); };
  constexpr std::string_view kFailed = "ContainerCreating: MountVolume.SetUp failed for volume \"v\" : ";
  EXPECT_EQ(message(R"("configMap":{"name":"cm","items":[{"key":"k","path":"p"}]})"),
            absl::StrCat(kFailed, "configmap references non-existent config key: k"));
  EXPECT_EQ(message(R"("secret":{"secretName":"sec","items":[{"key":"k","path":"p"}]})"),
            absl::StrCat(kFailed, "references non-existent secret key: k"));
  EXPECT_EQ(message(R"("secret":{"secretName":"no"})"), absl::StrCat(kFailed, "secret \"no\" not found"));
  EXPECT_EQ(message(R"("configMap":{"name":"cm","optional":true,"items":[{"key":"k","path":"p"}]})"), "");
  EXPECT_EQ(message(R"("secret":{"secretName":"no","optional":true})"), "");
  EXPECT_EQ(message(R"("configMap":{"name":"cm","items":[{"key":"KEY","path":"../p"}]})"),
            absl::StrCat(kFailed, "invalid path: must not contain '..': ../p"));
  EXPECT_EQ(message(R"("configMap":{"name":"cm","items":[{"key":"KEY","path":"/p"}]})"),
            absl::StrCat(kFailed, "invalid path: must be relative path: /p"));
  EXPECT_EQ(message(R"("configMap":{"name":"cm","items":[{"key":"KEY","path":"..p"}]})"),
            absl::StrCat(kFailed, "invalid path: must not start with '..': ..p"));
  EXPECT_EQ(message(R"("nfs":{"server":"s"})"), absl::StrCat(kFailed, "nfs volumes are not supported on this node"));
}

TEST(ResolveVolumes, DownwardApi) {
  EXPECT_EQ(Resolved(WithVolume(R"("downwardAPI":{"defaultMode":292,"items":[
      {"path":"labels","fieldRef":{"fieldPath":"metadata.labels"}},{"path":"one","fieldRef":{"fieldPath":"metadata.labels['b']"}},
      {"path":"name","mode":256,"fieldRef":{"fieldPath":"metadata.name"}},
      {"path":"annotations","fieldRef":{"fieldPath":"metadata.annotations"}},
      {"path":"cpu","resourceFieldRef":{"containerName":"c","resource":"limits.cpu"}}]})",
                                R"(,"resources":{"limits":{"cpu":"3"}})"),
                     {.labels = R"({"b":"2","a":"1"})", .annotations = R"({"text":"two\nlines \"quoted\""})"})
                .Files(),
            "annotations=text=\"two\\nlines \\\"quoted\\\"\"(0444) cpu=8(0444) labels=a=\"1\"\nb=\"2\"(0444) "
            "name=p(0400) one=2(0444)");
  EXPECT_EQ(
      Resolved(WithVolume(R"("downwardAPI":{"items":[{"path":"x","fieldRef":{"fieldPath":"status.podIP"}}]})")).Files(),
      "ContainerCreating: MountVolume.SetUp failed for volume \"v\" : unsupported fieldPath: status.podIP");
}

constexpr std::string_view kApiAccess =
    R"("projected":{"defaultMode":420,"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},
    {"configMap":{"name":"cm","items":[{"key":"KEY","path":"ca.crt"}]}},
    {"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}]}},
    {"secret":{"name":"sec","items":[{"key":"password","path":"namespace","mode":256}]}}]})";

TEST(ResolveVolumes, ProjectedSourcesAddUpAndTheLaterOneWins) {
  Resolved r(WithVolume(kApiAccess));
  EXPECT_EQ(r.Files(), "ca.crt=value(0644) namespace=s3cret(0400) token=t0ken(0644)");
  EXPECT_EQ(r.tokens, (std::vector<TokenRef>{{"", 3607}}));
  EXPECT_EQ(
      Resolved(
          WithVolume(
              R"("projected":{"sources":[{"configMap":{"name":"no"}},{"secret":{"name":"no"}},{"configMap":{"name":"no"}}]})"))
          .Files(),
      "ContainerCreating: MountVolume.SetUp failed for volume \"v\" : [configmap \"no\" not found, secret \"no\" "
      "not found]");
}

TEST(ResolveVolumes, TokensComeLaterOrNot) {
  Resolved pending(WithVolume(kApiAccess), {.token = {.state = TokenResult::State::kPending}});
  EXPECT_FALSE(pending.ok());
  EXPECT_EQ(pending.result.reason, "");
  Resolved failed(WithVolume(kApiAccess),
                  {.token = {.state = TokenResult::State::kFailed, .error = "failed to fetch token: no"}});
  EXPECT_EQ(failed.Events(), "FailedMount: MountVolume.SetUp failed for volume \"v\" : failed to fetch token: no");
}

TEST(ResolveVolumes, ATokenIsForItsUserAlone) {
  const auto token = [](std::string_view more) {
    Resolved r(WithVolume(kApiAccess, more));
    return r.spec().volumes.at(0).files.at(2);
  };
  EXPECT_EQ(token("").user, std::nullopt);
  auto same = token(R"(,"securityContext":{"runAsUser":1000})");
  EXPECT_EQ(same.user, 1000);
  EXPECT_EQ(same.mode, 0600);
  auto group = token(R"(,"securityContext":{"fsGroup":2000})");
  EXPECT_EQ(group.user, std::nullopt);
  EXPECT_EQ(group.mode, 0600) << "the group is added when its owner is set";
  auto others = token(
      R"(,"securityContext":{"runAsUser":1000},"initContainers":[{"name":"i","securityContext":{"runAsUser":0}}])");
  EXPECT_EQ(others.user, std::nullopt);
  EXPECT_EQ(others.mode, 0644);
}

TEST(ResolveVolumes, EmptyDirsAndHostPaths) {
  const auto volume = [](std::string_view source, std::string_view more = "") {
    return Resolved(WithVolume(source, more)).spec().volumes.at(0);
  };
  EXPECT_EQ(volume(R"("emptyDir":{})").kind, VolumeSpec::Kind::kEmptyDir);
  EXPECT_EQ(volume(R"("emptyDir":{"sizeLimit":"10Mi"})").size_limit, 10 << 20);
  EXPECT_EQ(volume(R"("emptyDir":{"medium":"Memory"})").kind, VolumeSpec::Kind::kMemory);
  EXPECT_EQ(volume(R"("emptyDir":{"medium":"Memory"})").size_limit, 0);
  EXPECT_EQ(
      volume(R"("emptyDir":{"medium":"Memory","sizeLimit":"10Mi"})", R"(,"resources":{"limits":{"memory":"4Mi"}})")
          .size_limit,
      4 << 20);
  VolumeSpec host = volume(R"("hostPath":{"path":"/etc/hosts","type":"FileOrCreate"})");
  EXPECT_EQ(host.kind, VolumeSpec::Kind::kHostPath);
  EXPECT_EQ(host.host_path, "/etc/hosts");
  EXPECT_EQ(host.host_path_type, "FileOrCreate");
}

}  // namespace
}  // namespace vck::podvm
