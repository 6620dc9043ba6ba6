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
  Verdict verdict =
      Judge(R"({"containers":[{"name":"c","ports":[{"containerPort":10350}]}]})", {},
            {.unsupported = [](const kubeapi::PodView&, std::vector<std::string>* out) { out->push_back("spec.x"); }});
  EXPECT_EQ(verdict.kind, Verdict::Kind::kWait);
  EXPECT_EQ(verdict.reason, "CreateContainerConfigError");
  EXPECT_NE(verdict.message.find("10350"), std::string::npos);
  EXPECT_NE(verdict.message.find("spec.x"), std::string::npos);
}

TEST(Admission, UsageAddsUp) {
  auto pod =
      json::Parse(R"({"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"100m","memory":"1Mi"}}}]}})");
  NodeUsage usage;
  usage.Add(kubeapi::PodView(*pod));
  usage.Add(kubeapi::PodView(*pod));
  usage.Remove(kubeapi::PodView(*pod));
  EXPECT_EQ(usage.pods, 1);
  EXPECT_EQ(usage.cpu_milli, 100);
  EXPECT_EQ(usage.memory_bytes, 1 << 20);
}

}  // namespace
}  // namespace vck::podvm
