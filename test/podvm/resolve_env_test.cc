#include <gtest/gtest.h>

#include "podvm/go_quote.h"
#include "resolve.h"

namespace vck::podvm {
namespace {

std::string OneEnv(std::string_view value_from, std::string_view pod_level = "{}") {
  Resolved r(absl::StrCat(
      R"({"serviceAccountName":"sa","resources":)", pod_level,
      R"(,"initContainers":[{"name":"init"}],"containers":[{"name":"c","resources":{"limits":{"cpu":"1500m"},"requests":{"memory":"10Mi"}},
    "env":[{"name":"E","valueFrom":)",
      value_from, "}]}]}"));
  if (!r.ok()) return absl::StrCat(r.result.reason, ": ", r.result.message);
  const auto& c = r.spec().containers.at(1);
  if (!c.config_error.empty()) return "error: " + c.config_error;
  for (const auto& [name, value] : c.env) {
    if (name == "E") return value;
  }
  return "(unset)";
}

TEST(GoQuote, AsStrconvDoes) {
  struct {
    std::string_view text, out;
  } const kCases[] = {{"", R"("")"},
                      {"a\"b\\c", R"("a\"b\\c")"},
                      {"\n\t\r\x01\x7f", R"("\n\t\r\x01\x7f")"},
                      {"grün 世界 🙂", "\"grün 世界 🙂\""},
                      {"\xff\xc0\x80", R"("\xff\xc0\x80")"},
                      {"\u00a0\u200b\u2028", R"("\u00a0\u200b\u2028")"},
                      {"\U000e0001", R"("\U000e0001")"}};
  for (const auto& c : kCases) EXPECT_EQ(GoQuote(c.text), c.out);
}

TEST(ResolveEnv, CommandsAndVariables) {
  Resolved r(
      R"j({"containers":[{"name":"c","image":"img","command":["sh","$(B)"],"args":["$$(B)","$(NONE)","$(FOO_SERVICE_HOST)"],"workingDir":"/w",
    "env":[{"name":"A","value":"1"},{"name":"B","value":"$(A)2"},{"name":"C","value":"$(D)"},{"name":"D","value":"late"},{"name":"A","value":"3"},
      {"name":"S","value":"<$(FOO_SERVICE_HOST)>"},{"name":"FOO_SERVICE_PORT","value":"mine"}]}]})j",
      {.services = {{"FOO_SERVICE_HOST", "10.96.0.7"}, {"FOO_SERVICE_PORT", "80"}}});
  ASSERT_TRUE(r.ok());
  const guestapi::ContainerSpec& c = r.container();
  EXPECT_EQ(c.command, (std::vector<std::string>{"sh", "12"}));
  EXPECT_EQ(c.args, (std::vector<std::string>{"$(B)", "$(NONE)", "10.96.0.7"}));
  EXPECT_EQ(c.working_dir, "/w");
  EXPECT_EQ(c.env, (std::vector<std::pair<std::string, std::string>>{{"A", "3"},
                                                                     {"B", "12"},
                                                                     {"C", "$(D)"},
                                                                     {"D", "late"},
                                                                     {"S", "<10.96.0.7>"},
                                                                     {"FOO_SERVICE_PORT", "mine"},
                                                                     {"FOO_SERVICE_HOST", "10.96.0.7"}}));
  EXPECT_FALSE(c.confidential);
}

TEST(ResolveEnv, Fields) {
  const auto field = [](std::string_view path) {
    return OneEnv(absl::StrCat(R"({"fieldRef":{"fieldPath":")", path, R"("}})"));
  };
  EXPECT_EQ(field("metadata.name"), "p");
  EXPECT_EQ(field("metadata.namespace"), "n");
  EXPECT_EQ(field("metadata.uid"), "u");
  EXPECT_EQ(field("metadata.labels['app']"), "web");
  EXPECT_EQ(field("metadata.annotations['x/y']"), "z");
  EXPECT_EQ(field("metadata.labels['none']"), "");
  EXPECT_EQ(field("spec.nodeName"), "node-1");
  EXPECT_EQ(field("spec.serviceAccountName"), "sa");
  EXPECT_EQ(field("status.podIP"), "10.0.0.5");
  EXPECT_EQ(field("status.podIPs"), "10.0.0.5");
  EXPECT_EQ(field("status.hostIP"), "192.0.2.1");
  EXPECT_EQ(field("status.hostIPs"), "192.0.2.1");
  EXPECT_EQ(field("spec.what"), "error: unsupported fieldPath: spec.what");
  EXPECT_EQ(field("spec.x['y']"), "error: fieldPath \"spec.x['y']\" does not support subscript");
}

TEST(ResolveEnv, Resources) {
  const auto resource = [](std::string_view selector, std::string_view pod_level = "{}") {
    return OneEnv(absl::StrCat(R"({"resourceFieldRef":{)", selector, "}}"), pod_level);
  };
  EXPECT_EQ(resource(R"("resource":"limits.cpu")"), "2");
  EXPECT_EQ(resource(R"("resource":"limits.cpu","divisor":"1m")"), "1500");
  EXPECT_EQ(resource(R"("resource":"limits.cpu","divisor":"0")"), "2");
  EXPECT_EQ(resource(R"("resource":"requests.memory","divisor":"1Mi")"), "10");
  EXPECT_EQ(resource(R"("resource":"requests.memory")"), "10485760");
  EXPECT_EQ(resource(R"("resource":"requests.ephemeral-storage")"), "0");
  // The pod's, else the node's.
  EXPECT_EQ(resource(R"("resource":"limits.memory","divisor":"1Mi")"), "1024");
  EXPECT_EQ(resource(R"("resource":"limits.memory","divisor":"1Mi")", R"({"limits":{"memory":"64Mi"}})"), "64");
  EXPECT_EQ(resource(R"("resource":"limits.ephemeral-storage","divisor":"1Gi")"), "16");
  EXPECT_EQ(resource(R"("resource":"limits.cpu","containerName":"c")"), "2");
  EXPECT_EQ(resource(R"("resource":"limits.cpu","containerName":"init")"), "0");
  EXPECT_EQ(resource(R"("resource":"limits.cpu","containerName":"zz")"), "error: container zz not found");
  EXPECT_EQ(resource(R"("resource":"limits.gpu")"), "error: unsupported container resource : limits.gpu");
}

TEST(ResolveEnv, ConfigMapsAndSecrets) {
  EXPECT_EQ(OneEnv(R"({"configMapKeyRef":{"name":"cm","key":"KEY"}})"), "value");
  EXPECT_EQ(OneEnv(R"({"secretKeyRef":{"name":"sec","key":"password"}})"), "s3cret");
  EXPECT_EQ(OneEnv(R"({"secretKeyRef":{"name":"no","key":"k"}})"), "error: secret \"no\" not found");
  EXPECT_EQ(OneEnv(R"({"configMapKeyRef":{"name":"cm","key":"k"}})"), "error: couldn't find key k in ConfigMap n/cm");
  EXPECT_EQ(OneEnv(R"({"secretKeyRef":{"name":"sec","key":"k"}})"), "error: couldn't find key k in Secret n/sec");
  EXPECT_EQ(OneEnv(R"({"configMapKeyRef":{"name":"files","key":"bin"}})"),
            "error: couldn't find key bin in ConfigMap n/files")
      << "binaryData is for volumes";
  EXPECT_EQ(OneEnv(R"({"configMapKeyRef":{"name":"cm","key":"k","optional":true}})"), "(unset)");
  EXPECT_EQ(OneEnv(R"({"configMapKeyRef":{"name":"no","key":"k","optional":true}})"), "(unset)");
  EXPECT_EQ(OneEnv(R"({"secretKeyRef":{"name":"sec","key":"raw"}})"),
            "error: the value of the environment variable E is not UTF-8 text, or has NUL bytes");
  EXPECT_EQ(OneEnv(R"({"fileKeyRef":{"volumeName":"v","path":"p","key":"k"}})"),
            "error: container c: fileKeyRef of the environment variable E is not supported");
}

TEST(ResolveEnv, WholeObjects) {
  constexpr std::string_view kAll =
      R"({"containers":[{"name":"c","envFrom":[{"prefix":"P_","configMapRef":{"name":"cm"}},{"secretRef":{"name":"x","optional":true}}],
    "env":[{"name":"P_KEY","value":"<$(P_KEY)>"}]}]})";
  Resolved all(kAll);
  ASSERT_TRUE(all.ok());
  EXPECT_EQ(all.Env("P_KEY"), "<value>");
  EXPECT_EQ(all.Env("P_a b"), "spaced");
  EXPECT_EQ(all.Env("P_bad="), "(unset)");
  EXPECT_TRUE(all.container().confidential) << "not to be written to a disk";
  // Not known yet is not the same as missing, also when it is optional.
  Resolved unknown(kAll, {.missing = LookupResult::State::kUnknown});
  EXPECT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.result.reason, "");
}

TEST(ServiceEnv, AsTheKubeletMakesIt) {
  ServiceEnv env;
  auto parse = [](std::string_view text) { return ServiceFromJson(*json::Parse(text)); };
  AddServiceEnv(parse(R"({"metadata":{"name":"foo-bar","namespace":"n"},"spec":{"clusterIP":"1.2.3.4","ports":[
      {"name":"p","port":900,"protocol":"UDP"},{"name":"q-r","port":901}]}})"),
                &env);
  EXPECT_EQ(env, (ServiceEnv{{"FOO_BAR_SERVICE_HOST", "1.2.3.4"},
                             {"FOO_BAR_SERVICE_PORT", "900"},
                             {"FOO_BAR_SERVICE_PORT_P", "900"},
                             {"FOO_BAR_SERVICE_PORT_Q_R", "901"},
                             {"FOO_BAR_PORT", "udp://1.2.3.4:900"},
                             {"FOO_BAR_PORT_900_UDP", "udp://1.2.3.4:900"},
                             {"FOO_BAR_PORT_900_UDP_PROTO", "udp"},
                             {"FOO_BAR_PORT_900_UDP_PORT", "900"},
                             {"FOO_BAR_PORT_900_UDP_ADDR", "1.2.3.4"},
                             {"FOO_BAR_PORT_901_TCP", "tcp://1.2.3.4:901"},
                             {"FOO_BAR_PORT_901_TCP_PROTO", "tcp"},
                             {"FOO_BAR_PORT_901_TCP_PORT", "901"},
                             {"FOO_BAR_PORT_901_TCP_ADDR", "1.2.3.4"}}));
  env.clear();
  AddServiceEnv(parse(R"({"metadata":{"name":"six"},"spec":{"clusterIP":"fd00::1","ports":[{"port":80}]}})"), &env);
  EXPECT_EQ(env["SIX_PORT"], "tcp://[fd00::1]:80");
  env.clear();
  AddServiceEnv(parse(R"({"metadata":{"name":"h"},"spec":{"clusterIP":"None","ports":[{"port":80}]}})"), &env);
  AddServiceEnv(parse(R"({"metadata":{"name":"e"},"spec":{"type":"ExternalName"}})"), &env);
  EXPECT_TRUE(env.empty());
}

}  // namespace
}  // namespace vck::podvm
