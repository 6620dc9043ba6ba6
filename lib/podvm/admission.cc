#include "podvm/admission.h"

#include "absl/strings/str_join.h"
#include "kubeapi/node_match.h"
#include "kubeapi/resources.h"

namespace vck::podvm {
namespace {

using kubeapi::ContainerView;
using kubeapi::PodView;

// The sysctls that a pod may set without the administrator's leave (kubelet's safe list). In a VM of its own every
// namespaced one would be harmless, but a pod must behave here as on any node.
constexpr std::string_view kSafeSysctls[] = {"kernel.shm_rmid_forced",
                                             "net.ipv4.ip_local_port_range",
                                             "net.ipv4.tcp_syncookies",
                                             "net.ipv4.ping_group_range",
                                             "net.ipv4.ip_unprivileged_port_start",
                                             "net.ipv4.tcp_keepalive_time",
                                             "net.ipv4.tcp_fin_timeout",
                                             "net.ipv4.tcp_keepalive_intvl",
                                             "net.ipv4.tcp_keepalive_probes",
                                             "net.ipv4.ip_local_reserved_ports",
                                             "net.ipv4.tcp_rmem",
                                             "net.ipv4.tcp_wmem"};

bool IsSafe(std::string_view name) {
  for (std::string_view safe : kSafeSysctls) {
    // Both separators are in use: net/ipv4/tcp_syncookies.
    bool same = safe.size() == name.size();
    for (size_t i = 0; same && i < safe.size(); ++i) same = safe[i] == name[i] || (safe[i] == '.' && name[i] == '/');
    if (same) return true;
  }
  return false;
}

Verdict CheckSysctls(const PodView& pod) {
  const json::Value* security = json::Get(pod.spec(), "securityContext");
  for (const json::Value& sysctl : json::Items(security, "sysctls")) {
    const std::string_view name = json::String(sysctl, "name");
    if (!IsSafe(name))
      return Verdict::Reject("SysctlForbidden", absl::StrCat("forbidden sysctl: \"", name, "\" not allowlisted"));
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
  if (auto pods = node.Allocatable("pods"); pods && in.used.pods + 1 > pods->Value()) {
    return OutOf("pods", 1, in.used.pods, pods->Value());
  }
  const int64_t cpu = kubeapi::PodRequests(pod, "cpu").MilliValue();
  if (auto all = node.Allocatable("cpu"); cpu > 0 && all && cpu > all->MilliValue() - in.used.cpu_milli) {
    return OutOf("cpu", cpu, in.used.cpu_milli, all->MilliValue());
  }
  const int64_t memory = kubeapi::PodRequests(pod, "memory").Value();
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

void NodeUsage::Add(const PodView& pod) {
  ++pods;
  cpu_milli += kubeapi::PodRequests(pod, "cpu").MilliValue();
  memory_bytes += kubeapi::PodRequests(pod, "memory").Value();
}

void NodeUsage::Remove(const PodView& pod) {
  --pods;
  cpu_milli -= kubeapi::PodRequests(pod, "cpu").MilliValue();
  memory_bytes -= kubeapi::PodRequests(pod, "memory").Value();
}

Verdict Admit(const AdmissionInputs& in) {
  const PodView& pod = *in.pod;
  if (const std::string_view os = pod.os(); !os.empty() && os != "linux") {
    return Verdict::Reject("PodOSNotSupported",
                           absl::StrCat("Failed to admit pod: this node runs linux, and the pod's OS is ", os));
  }
  if (Verdict verdict = CheckSysctls(pod); !verdict.admitted()) return verdict;
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
  if (in.unsupported) in.unsupported(pod, &problems);
  if (problems.empty()) return {};
  return Verdict::Wait("CreateContainerConfigError", absl::StrJoin(problems, "; "));
}

}  // namespace vck::podvm
