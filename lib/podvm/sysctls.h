// Which sysctls pods may set (k8s.io/kubernetes pkg/kubelet/sysctl). In a VM of its own each namespaced one would be
// harmless, but a pod must behave here as on any node.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace vck::podvm {

class SysctlAllowlist {
 public:
  // The kubelet's safe ones alone.
  SysctlAllowlist();
  // And those that the administrator allows: names, or prefixes that end in '*'. InvalidArgument for what is no name,
  // or is not known to be namespaced.
  static StatusOr<SysctlAllowlist> Make(const std::vector<std::string>& unsafe);

  // "" if a pod may set it; else why not.
  [[nodiscard]] std::string Problem(std::string_view sysctl, bool host_network, bool host_ipc) const;

 private:
  enum class Namespace { kUnknown, kIpc, kNet };
  static Namespace NamespaceOf(std::string_view name);
  void Add(std::string_view pattern, Namespace ns);

  struct Entry {
    std::string name;
    bool prefix;
    Namespace ns;
  };
  std::vector<Entry> entries_;
};

// With dots as separators: "net/ipv4/conf/eno2.100/rp_filter" is "net.ipv4.conf.eno2/100.rp_filter".
std::string NormalizeSysctl(std::string_view name);

}  // namespace vck::podvm
