#include "podvm/resolve_spec.h"

#include <gtest/gtest.h>

namespace vck::podvm {
namespace {

using Data = std::map<std::string, std::string>;

struct Resolved {
  explicit Resolved(std::string_view spec, LookupResult::State missing = LookupResult::State::kMissing,
                    std::string_view ip = "10.0.0.5") {
    static const Data kConfig = {{"KEY", "value"}, {"a b", "spaced"}, {"bad=", "x"}};
    static const Data kSecret = {{"password", "s3cret"}};
    auto pod = json::Parse(absl::StrCat(
        R"({"metadata":{"name":"p","namespace":"n","uid":"u","generation":7,"labels":{"app":"web"},"annotations":{"x/y":"z"}},"spec":)",
        spec, "}"));
    EXPECT_TRUE(pod.ok()) << spec;
    kubeapi::PodView view(*pod);
    refs = ReferencedObjects(view);
    result = ResolveSpec({.pod = &view,
                          .revision = 5,
                          .pod_ip = ip,
                          .host_ip = "192.0.2.1",
                          .node_name = "node-1",
                          .allocatable_cpu_milli = 8000,
                          .allocatable_memory_bytes = int64_t{1} << 30,
                          .lookup = [missing](const ObjectRef& ref) -> LookupResult {
                            if (ref == ObjectRef{ObjectRef::Kind::kConfigMap, "cm"})
                              return {LookupResult::State::kFound, &kConfig};
                            if (ref == ObjectRef{ObjectRef::Kind::kSecret, "sec"})
                              return {LookupResult::State::kFound, &kSecret};
                            return {missing, nullptr};
                          }});
  }
  [[nodiscard]] std::string Env(std::string_view name) const {
    for (const auto& [key, value] : result.spec->containers.at(0).env) {
      if (key == name) return value;
    }
    return "(unset)";
  }
  ResolveResult result;
  std::vector<ObjectRef> refs;
};

std::string OneEnv(std::string_view value_from) {
  Resolved r(absl::StrCat(
      R"({"serviceAccountName":"sa","containers":[{"name":"c","resources":{"limits":{"cpu":"1500m"},"requests":{"memory":"10Mi"}},
    "env":[{"name":"E","valueFrom":)",
      value_from, "}]}]}"));
  return r.result.spec ? r.Env("E") : absl::StrCat(r.result.reason, ": ", r.result.message);
}

TEST(Expand, AsKubernetesDoes) {
  std::string a = "A", empty;
  auto env = [&](std::string_view name) -> const std::string* {
    return name == "V" ? &a : name == "E" ? &empty : nullptr;
  };
  struct {
    std::string_view text, out;
  } const kCases[] = {
      {"", ""},         {"plain", "plain"},   {"$(V)", "A"},    {"x$(V)y$(V)", "xAyA"}, {"$$(V)", "$(V)"},
      {"$$$(V)", "$A"}, {"$$$$(V)", "$$(V)"}, {"$(X)", "$(X)"}, {"$(E)", ""},           {"$V", "$V"},
      {"$", "$"},       {"a$", "a$"},         {"$$", "$"},      {"$(V", "$(V"},         {"$(V$(V)", "$(V$(V)"},
      {"$()", "$()"},   {"$(V)$", "A$"},      {"${V}", "${V}"}};
  for (const auto& c : kCases) EXPECT_EQ(Expand(c.text, env), c.out) << c.text;
}

TEST(ResolveSpec, CommandsAndVariables) {
  Resolved r(
      R"j({"restartPolicy":"OnFailure","activeDeadlineSeconds":9,"initContainers":[{"name":"i"},{"name":"s","restartPolicy":"Always"}],
    "containers":[{"name":"c","image":"img","command":["sh","$(B)"],"args":["$$(B)","$(NONE)"],"workingDir":"/w","readinessProbe":{},
    "env":[{"name":"A","value":"1"},{"name":"B","value":"$(A)2"},{"name":"C","value":"$(D)"},{"name":"D","value":"late"},{"name":"A","value":"3"}]}]
})j");
  ASSERT_TRUE(r.result.spec);
  const guestapi::GuestSpec& spec = *r.result.spec;
  EXPECT_EQ(spec.revision, 5);
  EXPECT_EQ(spec.generation, 7);
  EXPECT_EQ(spec.restart_policy, guestapi::RestartPolicy::kOnFailure);
  EXPECT_EQ(spec.active_deadline_seconds, 9);
  ASSERT_EQ(spec.containers.size(), 3);
  EXPECT_EQ(spec.containers[1].kind, guestapi::ContainerSpec::Kind::kSidecar);
  const guestapi::ContainerSpec& c = spec.containers[2];
  EXPECT_EQ(c.command, (std::vector<std::string>{"sh", "12"}));
  EXPECT_EQ(c.args, (std::vector<std::string>{"$(B)", "$(NONE)"}));
  EXPECT_EQ(c.env,
            (std::vector<std::pair<std::string, std::string>>{{"A", "3"}, {"B", "12"}, {"C", "$(D)"}, {"D", "late"}}));
  EXPECT_TRUE(c.readiness.has_value());
  EXPECT_FALSE(c.startup.has_value());
}

TEST(ResolveSpec, Fields) {
  EXPECT_EQ(OneEnv(R"({"fieldRef":{"fieldPath":"metadata.name"}})"), "p");
  EXPECT_EQ(OneEnv(R"({"fieldRef":{"fieldPath":"metadata.uid"}})"), "u");
  EXPECT_EQ(OneEnv(R"({"fieldRef":{"fieldPath":"metadata.labels['app']"}})"), "web");
  EXPECT_EQ(OneEnv(R"({"fieldRef":{"fieldPath":"metadata.annotations['x/y']"}})"), "z");
  EXPECT_EQ(OneEnv(R"({"fieldRef":{"fieldPath":"metadata.labels['none']"}})"), "");
  EXPECT_EQ(OneEnv(R"({"fieldRef":{"fieldPath":"spec.nodeName"}})"), "node-1");
  EXPECT_EQ(OneEnv(R"({"fieldRef":{"fieldPath":"spec.serviceAccountName"}})"), "sa");
  EXPECT_EQ(OneEnv(R"({"fieldRef":{"fieldPath":"status.podIP"}})"), "10.0.0.5");
  EXPECT_EQ(OneEnv(R"({"fieldRef":{"fieldPath":"status.hostIP"}})"), "192.0.2.1");
  EXPECT_EQ(OneEnv(R"({"fieldRef":{"fieldPath":"spec.what"}})"),
            "CreateContainerConfigError: unsupported fieldPath: spec.what");
  Resolved early(
      R"({"containers":[{"name":"c","env":[{"name":"E","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}}]}]})",
      LookupResult::State::kMissing, "");
  EXPECT_FALSE(early.result.spec);
  EXPECT_EQ(early.result.reason, "");
}

TEST(ResolveSpec, Resources) {
  EXPECT_EQ(OneEnv(R"({"resourceFieldRef":{"resource":"limits.cpu"}})"), "2");
  EXPECT_EQ(OneEnv(R"({"resourceFieldRef":{"resource":"limits.cpu","divisor":"1m"}})"), "1500");
  EXPECT_EQ(OneEnv(R"({"resourceFieldRef":{"resource":"requests.memory","divisor":"1Mi"}})"), "10");
  EXPECT_EQ(OneEnv(R"({"resourceFieldRef":{"resource":"limits.memory","divisor":"1Mi"}})"), "1024");  // the node's
  EXPECT_EQ(OneEnv(R"({"resourceFieldRef":{"resource":"limits.cpu","divisor":"0"}})"), "2");
  EXPECT_EQ(OneEnv(R"({"resourceFieldRef":{"resource":"limits.cpu","containerName":"zz"}})"),
            "CreateContainerConfigError: container zz not found");
}

TEST(ResolveSpec, ConfigMapsAndSecrets) {
  EXPECT_EQ(OneEnv(R"({"configMapKeyRef":{"name":"cm","key":"KEY"}})"), "value");
  EXPECT_EQ(OneEnv(R"({"secretKeyRef":{"name":"sec","key":"password"}})"), "s3cret");
  EXPECT_EQ(OneEnv(R"({"secretKeyRef":{"name":"no","key":"k"}})"),
            "CreateContainerConfigError: secret \"no\" not found");
  EXPECT_EQ(OneEnv(R"({"configMapKeyRef":{"name":"cm","key":"k"}})"),
            "CreateContainerConfigError: couldn't find key k in configmap n/cm");
  EXPECT_EQ(OneEnv(R"({"configMapKeyRef":{"name":"cm","key":"k","optional":true}})"), "(unset)");
  EXPECT_EQ(OneEnv(R"({"configMapKeyRef":{"name":"no","key":"k","optional":true}})"), "(unset)");

  constexpr std::string_view kAll =
      R"({"containers":[{"name":"c","envFrom":[{"prefix":"P_","configMapRef":{"name":"cm"}},{"secretRef":{"name":"x","optional":true}}],
    "env":[{"name":"P_KEY","value":"<$(P_KEY)>"}]}]})";
  Resolved all(kAll);
  ASSERT_TRUE(all.result.spec);
  EXPECT_EQ(all.Env("P_KEY"), "<value>");
  EXPECT_EQ(all.Env("P_a b"), "spaced");
  EXPECT_EQ(all.Env("P_bad="), "(unset)");
  EXPECT_EQ(all.refs.size(), 2);
  // Not known yet is not the same as missing, also when it is optional.
  Resolved unknown(kAll, LookupResult::State::kUnknown);
  EXPECT_FALSE(unknown.result.spec);
  EXPECT_EQ(unknown.result.reason, "");
}

}  // namespace
}  // namespace vck::podvm
