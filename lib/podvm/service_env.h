// The environment variables that tell a container where its namespace's Services are (k8s.io/kubernetes
// pkg/kubelet/envvars).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "json/json.h"

namespace vck::podvm {

// Of a Service, what variables are made from.
struct ServiceInfo {
  struct Port {
    std::string name;
    int port = 0;
    std::string protocol;  // "TCP"
    friend bool operator==(const Port&, const Port&) = default;
  };
  std::string ns, name;
  std::string cluster_ip;
  std::vector<Port> ports;
  // A headless Service, and one without an address, has no variables.
  [[nodiscard]] bool has_address() const { return !cluster_ip.empty() && cluster_ip != "None" && !ports.empty(); }
  friend bool operator==(const ServiceInfo&, const ServiceInfo&) = default;
};
ServiceInfo ServiceFromJson(const json::Value& service);

using ServiceEnv = std::map<std::string, std::string>;
// Adds FOO_SERVICE_HOST, FOO_SERVICE_PORT, FOO_PORT_80_TCP … of one Service.
void AddServiceEnv(const ServiceInfo& service, ServiceEnv* env);

}  // namespace vck::podvm
