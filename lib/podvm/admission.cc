#include "podvm/admission.h"

#include <algorithm>

#include "absl/strings/str_join.h"
#include "kubeapi/node_match.h"
#include "kubeapi/resources.h"
#include "podvm/unsupported.h"

namespace vck::podvm {
namespace {

using kubeapi::ContainerView;
using kubeapi::PodView;

Verdict CheckSysctls(const PodView& pod, const SysctlAllowlist* allowed) {
  static const SysctlAllowlist kSafe;
  if (allowed == nullptr) allowed = &kSafe;
  const json::Value* security = json::Get(pod.spec(), "securityContext");
  for (const json::Value& sysctl : json::Items(security, "sysctls")) {
    const std::string problem =
        allowed->Problem(json::String(sysctl, "name"), pod.host_network(), json::Bool(pod.spec(), "hostIPC"));
    if (!problem.empty()) return Verdict::Reject("SysctlForbidden", absl::StrCat("forbidden sysctl: ", problem));
  }
  return {};
}

// Guests have no AppArmor.
bool WantsAppArmor(const PodView& pod) {
  const auto wants = [](const json::Value* security) {
    const json::Value* profile = json::Get(security, "appArmorProfile");
    return profile != nullptr && json::String(profile, "type") != "Unconfined";
  };
  bool any = wants(json::Get(pod.spec(), "securityContext"));
  pod.ForEachContainer([&](const ContainerView& c) { any |= wants(json::Get(c.json(), "securityContext")); });
  return any;
}

Verdict CheckSecurity(const PodView& pod) {
  if (WantsAppArmor(pod)) {
    return Verdict::Reject("AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host");
  }
  if (json::String(json::Get(pod.spec(), "securityContext"), "supplementalGroupsPolicy") == "Strict") {
    return Verdict::Reject("SupplementalGroupsPolicyNotSupported",
                           "SupplementalGroupsPolicy=Strict is not supported in this node");
  }
  return {};
}

Verdict OutOf(std::string_view resource, int64_t requested, int64_t used, int64_t capacity) {
  return Verdict::Reject(absl::StrCat("OutOf", resource),
                         absl::StrCat("Node didn't have enough resource: ", resource, ", requested: ", requested,
                                      ", used: ", used, ", capacity: ", capacity));
}

Verdict CheckNode(const AdmissionInputs& in) {
  const PodView& pod = *in.pod;
  const kubeapi::NodeView& node = *in.node;
  const auto& [own_pods, cpu, memory] = NodeUsage::Of(pod);
  if (auto pods = node.Allocatable("pods"); pods && in.used.pods + own_pods > pods->Value()) {
    return OutOf("pods", own_pods, in.used.pods, pods->Value());
  }
  if (auto all = node.Allocatable("cpu"); cpu > 0 && all && cpu > all->MilliValue() - in.used.cpu_milli) {
    return OutOf("cpu", cpu, in.used.cpu_milli, all->MilliValue());
  }
  if (auto all = node.Allocatable("memory"); memory > 0 && all && memory > all->Value() - in.used.memory_bytes) {
    return OutOf("memory", memory, in.used.memory_bytes, all->Value());
  }
  if (!kubeapi::SelectsNode(pod, node)) {
    return Verdict::Reject("NodeAffinity",
                           "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector");
  }
  return {};
}

}  // namespace

NodeUsage NodeUsage::Of(const PodView& pod) {
  // More than any node has, and of thousands of pods a sum that fits.
  constexpr int64_t kMost = int64_t{1} << 50;
  return {.pods = 1,
          .cpu_milli = std::min(kubeapi::HeldByPod(pod, "cpu").MilliValue(), kMost),
          .memory_bytes = std::min(kubeapi::HeldByPod(pod, "memory").Value(), kMost)};
}

NodeUsage& NodeUsage::operator+=(const NodeUsage& other) {
  pods += other.pods;
  cpu_milli += other.cpu_milli;
  memory_bytes += other.memory_bytes;
  return *this;
}

NodeUsage& NodeUsage::operator-=(const NodeUsage& other) {
  pods -= other.pods;
  cpu_milli -= other.cpu_milli;
  memory_bytes -= other.memory_bytes;
  return *this;
}

Verdict Admit(const AdmissionInputs& in) {
  const PodView& pod = *in.pod;
  if (const std::string_view os = pod.os(); !os.empty() && os != "linux") {
    return Verdict::Reject("PodOSNotSupported",
                           absl::StrCat("Failed to admit pod: this node runs linux, and the pod's OS is ", os));
  }
  if (Verdict verdict = CheckSysctls(pod, in.sysctls); !verdict.admitted()) return verdict;
  if (Verdict verdict = CheckSecurity(pod); !verdict.admitted()) return verdict;
  if (in.node != nullptr) {
    if (Verdict verdict = CheckNode(in); !verdict.admitted()) return verdict;
  }

  std::vector<std::string> problems;
  pod.ForEachContainer([&](const ContainerView& c) {
    for (const json::Value& port : c.ports()) {
      const std::string_view protocol = json::String(port, "protocol", "TCP");
      if (protocol == "TCP" && json::Int(port, "containerPort") == in.tether_port) {
        problems.push_back(absl::StrCat("port ", in.tether_port, " of container ", c.name(),
                                        " is reserved for the pod VM's tether (see the kubelet's tether port flag)"));
      }
    }
  });
  FindUnsupported(pod, &problems);
  if (problems.empty()) return {};
  return Verdict::Wait("CreateContainerConfigError", absl::StrJoin(problems, "; "));
}

}  // namespace vck::podvm
