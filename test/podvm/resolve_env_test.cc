#include <map>
#include <random>

#include <gtest/gtest.h>

#include "guestapi/expand.h"
#include "guestapi/late_env.h"
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
}

// Values of variables and what the guest has still to find out, as in "A=1 B=<v:p:k?> C={$(B)}".
std::string Settings(const guestapi::ContainerSpec& c) {
  if (!c.config_error.empty()) return "error: " + c.config_error;
  std::string out;
  for (const auto& [name, value] : c.env) absl::StrAppend(&out, out.empty() ? "" : " ", name, "=", value);
  for (const auto& late : c.late_env) {
    absl::StrAppend(&out, out.empty() ? "" : " ", late.name, "=");
    if (late.file) {
      absl::StrAppend(&out, "<", late.file->volume, ":", late.file->path, ":", late.file->key,
                      late.file->optional ? "?>" : ">");
    } else {
      absl::StrAppend(&out, "{", late.text, "}");
    }
  }
  return out;
}

std::string OfFiles(std::string_view env) {
  Resolved r(
      absl::StrCat(
          R"({"volumes":[{"name":"v","emptyDir":{}},{"name":"ram","emptyDir":{"medium":"Memory"}},{"name":"cm","configMap":{"name":"cm"}},
    {"name":"unused","emptyDir":{}}],"containers":[{"name":"c","env":[)",
          env,
          R"(],"volumeMounts":[{"name":"v","mountPath":"/v"},{"name":"cm","mountPath":"/cm"},{"name":"ram","mountPath":"/r"}])",
          "}]}"),
      {.services = {{"A", "of a service"}}});
  return r.ok() ? Settings(r.container()) : r.result.message;
}

TEST(ResolveEnv, FilesAreTheGuestsToRead) {
  EXPECT_EQ(OfFiles(R"({"name":"E","valueFrom":{"fileKeyRef":{"volumeName":"v","path":"a/b","key":"k"}}})"),
            "A=of a service E=<v:a/b:k>");
  EXPECT_EQ(
      OfFiles(R"({"name":"E","valueFrom":{"fileKeyRef":{"volumeName":"ram","path":"p","key":"k","optional":true}}})"),
      "A=of a service E=<ram:p:k?>");
  EXPECT_EQ(OfFiles(R"({"name":"E","value":"x","valueFrom":{"fileKeyRef":{"volumeName":"v","path":"p","key":"k"}}})"),
            "E=x A=of a service")
      << "a value goes first";
  // So is what refers to them; anything else has its value, as if there were no files.
  constexpr std::string_view kA = R"({"name":"A","valueFrom":{"fileKeyRef":{"volumeName":"v","path":"p","key":"k"}}})";
  EXPECT_EQ(
      OfFiles(absl::StrCat(
          R"j({"name":"B","value":"$(A)"},)j", kA,
          R"j(,{"name":"C","value":"$$(A)$(B)"},{"name":"D","value":"$(A)$(B)$$(A)$(L)$"},{"name":"L","value":"l"},
    {"name":"F","value":"$(D)"},{"name":"A","value":"$(L)$"},{"name":"A","valueFrom":{"secretKeyRef":{"name":"sec","key":"password"}}})j")),
      "B=of a service C=$(A)of a service L=l A=of a service "
      "A=<v:p:k> D={$(A)of a service$$(A)$$(L)$$} F={$(D)} A={l$$} A={s3cret}");
}

// What the kubelet and the guest make of an environment together is what a node's kubelet makes of it alone.
TEST(ResolveEnv, TwoStepsAreAsGoodAsOne) {
  using Map = std::map<std::string, std::string>;
  const std::string_view kPieces[] = {"$(A)", "$(B)", "$(C)", "$(S)", "$(X)", "$$", "$", "(A)", "x", "$(A"};
  const Map file = {{"1", "one$"}, {"2", "$(B)"}, {"3", "$$"}};
  std::mt19937 random(1);
  const auto pick = [&random](size_t n) { return static_cast<size_t>(random() % n); };
  const auto text = [&] {
    std::string out;
    for (size_t i = 1 + pick(4); i > 0; --i) out += kPieces[pick(std::size(kPieces))];
    return out;
  };
  for (int round = 0; round < 2000; ++round) {
    const ServiceEnv services = {{"S", "s$(A)"}, {"C", "service$"}};
    Map env;
    const auto lookup = [&](std::string_view name) -> const std::string* {
      if (auto it = env.find(std::string(name)); it != env.end()) return &it->second;
      auto it = services.find(std::string(name));
      return it == services.end() ? nullptr : &it->second;
    };
    std::string vars;
    for (size_t i = 1 + pick(7); i > 0; --i) {
      const std::string name(1, "ABCS"[pick(4)]);
      absl::StrAppend(&vars, vars.empty() ? "" : ",", R"({"name":")", name, R"(",)");
      if (pick(2) == 0) {
        const std::string value = text();
        absl::StrAppend(&vars, R"("value":")", value, R"("})");
        env[name] = guestapi::Expand(value, lookup);
      } else {
        const std::string key = std::to_string(1 + pick(4));
        absl::StrAppend(&vars, R"("valueFrom":{"fileKeyRef":{"volumeName":"v","path":"p","optional":true,"key":")", key,
                        R"("}}})");
        if (file.contains(key)) env[name] = file.at(key);
      }
    }
    const std::string arg = text();
    Resolved r(absl::StrCat(R"({"volumes":[{"name":"v"}],"containers":[{"name":"c","args":[")", arg, R"("],"env":[)",
                            vars, R"(],"volumeMounts":[{"name":"v","mountPath":"/v"}]}]})"),
               {.services = services});
    ASSERT_TRUE(r.ok()) << vars;
    guestapi::ContainerSpec container = r.container();
    const auto read = [&](const guestapi::EnvFileKey& key) -> StatusOr<std::string> {
      return file.contains(key.key) ? file.at(key.key) : "";
    };
    ASSERT_TRUE(SettleEnv(read, &container).ok());
    env.insert(services.begin(), services.end());
    EXPECT_EQ(Map(container.env.begin(), container.env.end()), env) << vars;
    EXPECT_EQ(container.args.at(0), guestapi::Expand(arg, lookup)) << arg << " " << vars;
  }
}

TEST(ResolveEnv, WhatRefersToFiles) {
  Resolved r(
      R"j({"volumes":[{"name":"v"}],"containers":[{"name":"c","command":["sh","$(B)"],"args":["$$(E)$(E)","$(NONE)"],
    "env":[{"name":"B","value":"$5"},{"name":"E","valueFrom":{"fileKeyRef":{"volumeName":"v","path":"p","key":"k"}}}],
    "volumeMounts":[{"name":"v","mountPath":"/a","subPathExpr":"$(E)/$(B)"},{"name":"v","mountPath":"/b","subPath":"$(E)"}]},
    {"name":"d","command":["$$(E)"],"volumeMounts":[{"name":"v","mountPath":"/b","subPath":"$$"}]}]})j");
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r.container().command, (std::vector<std::string>{"sh", "$$5"}));
  EXPECT_EQ(r.container().args, (std::vector<std::string>{"$$(E)$(E)", "$$(NONE)"}));
  EXPECT_EQ(r.container().mounts.at(0).sub_path, "$(E)/$$5");
  EXPECT_EQ(r.container().mounts.at(1).sub_path, "$$(E)");
  EXPECT_FALSE(r.container().confidential);
  EXPECT_EQ(r.container(1).command, (std::vector<std::string>{"$(E)"})) << "it has no files";
  EXPECT_EQ(r.container(1).mounts.at(0).sub_path, "$$");
}

TEST(ResolveEnv, FilesThatCannotBe) {
  const auto of = [](std::string_view selector) {
    return OfFiles(absl::StrCat(R"({"name":"E","valueFrom":{"fileKeyRef":{)", selector, "}}}"));
  };
  EXPECT_EQ(of(R"("volumeName":"no","path":"p","key":"k")"),
            R"(error: cannot find the volume "no" referenced by FileKeyRef)");
  EXPECT_EQ(of(R"("volumeName":"unused","path":"p","key":"k")"),
            R"(error: cannot find the volume "unused" referenced by FileKeyRef)")
      << "nobody mounts it";
  EXPECT_EQ(of(R"("volumeName":"cm","path":"p","key":"k")"),
            R"(error: the volume "cm" referenced by FileKeyRef must be of type emptyDir)");
  EXPECT_EQ(of(R"("volumeName":"v","key":"k")"), R"(error: FileKeyRef has no path that is one: "")");
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
