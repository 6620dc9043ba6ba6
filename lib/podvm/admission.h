// May this pod run here? Failed only with the kubelet's own admission reasons; everything else that keeps it from
// running is a waiting reason, because controllers replace Failed pods at once.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "kubeapi/node_view.h"
#include "kubeapi/pod_view.h"

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

// What the pods admitted before this one use; the node layer keeps it and adds a pod when it admits it.
struct NodeUsage {
  int64_t pods = 0;
  int64_t cpu_milli = 0;
  int64_t memory_bytes = 0;
  void Add(const kubeapi::PodView& pod);
  void Remove(const kubeapi::PodView& pod);
};

struct AdmissionInputs {
  const kubeapi::PodView* pod = nullptr;
  const kubeapi::NodeView* node = nullptr;  // null: not known yet, so nothing of it is checked
  NodeUsage used;                           // without this pod
  uint16_t tether_port = 10350;             // reserved
  // A further check of fields that can't be honoured: returns what is unsupported, in words ("spec.volumes[2].nfs"), or
  // nothing. One aggregated message is made of all.
  std::function<void(const kubeapi::PodView&, std::vector<std::string>*)> unsupported;
};

// For pods that have no VM yet and have not been admitted before: a pod that has a VM or has run is not judged again.
Verdict Admit(const AdmissionInputs& in);

}  // namespace vck::podvm
