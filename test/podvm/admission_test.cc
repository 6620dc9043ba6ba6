#include "podvm/admission.h"

#include <gtest/gtest.h>

namespace vck::podvm {
namespace {

Verdict Judge(std::string_view spec, NodeUsage used = {}, AdmissionInputs in = {}) {
  auto node = json::Parse(
      R"({"metadata":{"name":"n1","labels":{"zone":"a"}},"status":{"allocatable":{"cpu":"4","memory":"8Gi","pods":"10"}}})");
  auto pod = json::Parse(absl::StrCat(R"({"metadata":{"name":"p"},"spec":)", spec, "}"));
  EXPECT_TRUE(pod.ok()) << spec;
  kubeapi::PodView pod_view(*pod);
  kubeapi::NodeView node_view(*node);
  in.pod = &pod_view;
  in.node = &node_view;
  in.used = used;
  return Admit(in);
}

TEST(Admission, OrdinaryPodsMayRun) {
  EXPECT_TRUE(
      Judge(R"({"os":{"name":"linux"},"volumes":[{"name":"kube-api-access","projected":{}}],"nodeSelector":{"zone":"a"},
    "securityContext":{"sysctls":[{"name":"net.ipv4.tcp_syncookies","value":"1"},{"name":"net/ipv4/tcp_syncookies","value":"1"}]},
    "containers":[{"name":"c","ports":[{"containerPort":80},{"containerPort":10350,"protocol":"UDP"}],"resources":{"requests":{"cpu":"4"}}}]})")
          .admitted());
}

TEST(Admission, KubeletsOwnReasons) {
  constexpr std::string_view kTwo =
      R"({"containers":[{"name":"c","resources":{"requests":{"cpu":"2","memory":"1Gi"}}}]})";
  struct {
    std::string_view spec;
    NodeUsage used;
    std::string_view reason;
  } const kCases[] = {
      {R"({"os":{"name":"windows"}})", {}, "PodOSNotSupported"},
      {R"({"securityContext":{"sysctls":[{"name":"kernel.msgmax"}]}})", {}, "SysctlForbidden"},
      {R"({"nodeSelector":{"zone":"b"}})", {}, "NodeAffinity"},
      {R"({"containers":[{"name":"c","securityContext":{"appArmorProfile":{"type":"RuntimeDefault"}}}]})",
       {},
       "AppArmor"},
      {R"({"securityContext":{"supplementalGroupsPolicy":"Strict"}})", {}, "SupplementalGroupsPolicyNotSupported"},
      {"{}", {.pods = 10}, "OutOfpods"},
      {kTwo, {.cpu_milli = 2001}, "OutOfcpu"},
      {kTwo, {.memory_bytes = (int64_t{7} << 30) + 1}, "OutOfmemory"},
  };
  for (const auto& c : kCases) {
    Verdict verdict = Judge(c.spec, c.used);
    EXPECT_EQ(verdict.kind, Verdict::Kind::kReject) << c.reason;
    EXPECT_EQ(verdict.reason, c.reason);
    EXPECT_FALSE(verdict.message.empty());
  }
  EXPECT_TRUE(Judge(kTwo, {.cpu_milli = 2000}).admitted());
  // A pod that asks for nothing fits on a full node.
  EXPECT_TRUE(Judge("{}", {.cpu_milli = 9000}).admitted());
}

TEST(Admission, TheRestWaitsWithOneMessage) {
  Verdict verdict = Judge(R"({"hostUsers":false,"containers":[{"name":"c","ports":[{"containerPort":10350}]}]})");
  EXPECT_EQ(verdict.kind, Verdict::Kind::kWait);
  EXPECT_EQ(verdict.reason, "CreateContainerConfigError");
  EXPECT_NE(verdict.message.find("10350"), std::string::npos);
  EXPECT_NE(verdict.message.find("; hostUsers: false is not supported"), std::string::npos);
}

TEST(Admission, WhatIsNotSupportedIsToldAtOnce) {
  struct {
    std::string_view spec, message;
  } const kCases[] = {
      {R"({"volumes":[{"name":"a","nfs":{}},{"name":"b","persistentVolumeClaim":{"claimName":"x"}},{"name":"c","csi":{}},{"name":"d","image":{}},
        {"name":"unused","iscsi":{}}],
        "containers":[{"name":"c","volumeMounts":[{"name":"a"},{"name":"b"},{"name":"c"},{"name":"d"}]}]})",
       "volume a: nfs volumes are not supported; volume b: persistentVolumeClaim volumes are not supported; "
       "volume c: csi volumes are not supported; volume d: image volumes are not supported"},
      {R"({"volumes":[{"name":"a","emptyDir":{"medium":"HugePages"}},{"name":"p","projected":{"sources":[{"clusterTrustBundle":{}},{"podCertificate":{}}]}}],
        "containers":[{"name":"c","volumeMounts":[{"name":"a"},{"name":"p"}]}]})",
       "volume a: emptyDir of medium HugePages is not supported; volume p: clusterTrustBundle is not supported; volume "
       "p: podCertificate is not supported"},
      {R"({"containers":[{"name":"c","volumeDevices":[{"name":"a"}],
        "restartPolicyRules":[{"action":"Restart"},{"action":"RestartAllContainers"}],"securityContext":{"seccompProfile":{"type":"Localhost"}}}]})",
       "container c: volumeDevices are not supported; container c: seccompProfile of type Localhost is not supported; "
       "container c: the action "
       "RestartAllContainers of restartPolicyRules is not supported"},
      {R"({"runtimeClassName":"kata","resourceClaims":[{"name":"x"}],"containers":[{"name":"c","resources":{"limits":{"hugepages-2Mi":"4Mi"}}}]})",
       "runtimeClassName kata is not supported: there is one runtime only; resourceClaims are not supported; "
       "hugepages-2Mi are not supported"},
  };
  for (const auto& c : kCases) {
    Verdict verdict = Judge(c.spec);
    EXPECT_EQ(verdict.kind, Verdict::Kind::kWait);
    EXPECT_EQ(verdict.message, c.message);
  }
  EXPECT_TRUE(Judge(R"({"ephemeralContainers":[{"name":"e","volumeDevices":[{"name":"a"}]}]})").admitted())
      << "what comes later does not keep the rest from running";
}

TEST(Admission, SysctlsOfTheAdministrator) {
  auto allowed = SysctlAllowlist::Make({"kernel.msg*", "net/core/somaxconn"});
  ASSERT_TRUE(allowed.ok()) << allowed.status();
  const auto judge = [&](std::string_view name, std::string_view more = "") {
    AdmissionInputs in;
    in.sysctls = &*allowed;
    return Judge(absl::StrCat(R"({"securityContext":{"sysctls":[{"name":")", name, "\"}]}", more, "}"), {}, in).message;
  };
  EXPECT_EQ(judge("kernel.msgmax"), "");
  EXPECT_EQ(judge("kernel/msgmax"), "");
  EXPECT_EQ(judge("net.core.somaxconn"), "");
  EXPECT_EQ(judge("kernel.shmall"), "forbidden sysctl: \"kernel.shmall\" not allowlisted");
  EXPECT_EQ(judge("kernel.msgmax", R"(,"hostIPC":true)"),
            "forbidden sysctl: \"kernel.msgmax\" not allowed with host IPC enabled");
  EXPECT_EQ(judge("net.ipv4.tcp_syncookies", R"(,"hostNetwork":true)"),
            "forbidden sysctl: \"net.ipv4.tcp_syncookies\" not allowed with host Net enabled");
  EXPECT_EQ(NormalizeSysctl("net/ipv4/conf/eno2.100/rp_filter"), "net.ipv4.conf.eno2/100.rp_filter");
  for (const char* bad : {"", "vm.swappiness", "net.*.foo", "net.*/foo", "net.-", " kernel.msg*", "foo*"}) {
    EXPECT_FALSE(SysctlAllowlist::Make({bad}).ok()) << bad;
  }
}

TEST(Admission, UsageAddsUp) {
  auto pod =
      json::Parse(R"({"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"100m","memory":"1Mi"}}}]}})");
  const NodeUsage one = NodeUsage::Of(kubeapi::PodView(*pod));
  EXPECT_EQ(one, (NodeUsage{.pods = 1, .cpu_milli = 100, .memory_bytes = 1 << 20}));
  NodeUsage usage;
  usage += one;
  usage += one;
  usage -= one;
  EXPECT_EQ(usage, one);
}

// Of a running pod anybody may ask for that, and for a moment it counts.
TEST(Admission, UsageThatNoNodeHasAddsUpAllTheSame) {
  auto pod = json::Parse(
      R"({"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"9223372036854775807","memory":"8Ei"}}}]}})");
  const NodeUsage one = NodeUsage::Of(kubeapi::PodView(*pod));
  NodeUsage usage;
  for (int i = 0; i < 4000; ++i) usage += one;
  EXPECT_GT(usage.cpu_milli, int64_t{1} << 50);
  EXPECT_GT(usage.memory_bytes, int64_t{1} << 50);
  for (int i = 0; i < 4000; ++i) usage -= one;
  EXPECT_EQ(usage, NodeUsage());
}

}  // namespace
}  // namespace vck::podvm
