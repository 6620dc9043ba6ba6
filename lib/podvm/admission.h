// May this pod run here? Failed only with the kubelet's own admission reasons; everything else that keeps it from
// running is a waiting reason, because controllers replace Failed pods at once.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "kubeapi/node_view.h"
#include "kubeapi/pod_view.h"
#include "podvm/sysctls.h"

namespace vck::podvm {

struct Verdict {
  enum class Kind { kAdmit, kWait, kReject };
  Kind kind = Kind::kAdmit;
  // kReject: status.reason of the Failed pod (OutOfcpu, NodeAffinity, …). kWait: the waiting reason of its containers.
  std::string reason;
  std::string message;
  [[nodiscard]] bool admitted() const { return kind == Kind::kAdmit; }
  static Verdict Wait(std::string reason, std::string message) {
    return {Kind::kWait, std::move(reason), std::move(message)};
  }
  static Verdict Reject(std::string reason, std::string message) {
    return {Kind::kReject, std::move(reason), std::move(message)};
  }
};

// Why one container waits where the others do not: its image can't be pulled.
struct ContainerWait {
  std::string reason, message;
  friend bool operator==(const ContainerWait&, const ContainerWait&) = default;
};

// What pods that were admitted take of the node; the node layer keeps the sum.
struct NodeUsage {
  int64_t pods = 0;
  int64_t cpu_milli = 0;
  int64_t memory_bytes = 0;
  // By its newest spec and status: a resize in place changes it.
  static NodeUsage Of(const kubeapi::PodView& pod);
  NodeUsage& operator+=(const NodeUsage& other);
  NodeUsage& operator-=(const NodeUsage& other);
  friend bool operator==(const NodeUsage&, const NodeUsage&) = default;
};

struct AdmissionInputs {
  const kubeapi::PodView* pod = nullptr;
  const kubeapi::NodeView* node = nullptr;   // null: not known yet, so nothing of it is checked
  NodeUsage used;                            // without this pod
  uint16_t tether_port = 10350;              // reserved
  const SysctlAllowlist* sysctls = nullptr;  // null: the safe ones
};

// For pods that have no VM yet and have not been admitted before: a pod that has a VM or has run is not judged again.
Verdict Admit(const AdmissionInputs& in);

}  // namespace vck::podvm
