#include "podvm/service_env.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace vck::podvm {
namespace {

std::string VariableName(std::string_view name) {
  return absl::AsciiStrToUpper(absl::StrReplaceAll(name, {{"-", "_"}}));
}

}  // namespace

ServiceInfo ServiceFromJson(const json::Value& service) {
  const json::Value* metadata = json::Get(service, "metadata");
  const json::Value* spec = json::Get(service, "spec");
  ServiceInfo info{.ns = std::string(json::String(metadata, "namespace")),
                   .name = std::string(json::String(metadata, "name")),
                   .cluster_ip = std::string(json::String(spec, "clusterIP")),
                   .ports = {}};
  for (const json::Value& port : json::Items(spec, "ports")) {
    info.ports.push_back({.name = std::string(json::String(port, "name")),
                          .port = static_cast<int>(json::Int(port, "port")),
                          .protocol = std::string(json::String(port, "protocol", "TCP"))});
  }
  return info;
}

void AddServiceEnv(const ServiceInfo& service, ServiceEnv* env) {
  if (!service.has_address()) return;
  const std::string prefix = VariableName(service.name);
  (*env)[prefix + "_SERVICE_HOST"] = service.cluster_ip;
  (*env)[prefix + "_SERVICE_PORT"] = absl::StrCat(service.ports.front().port);
  const bool v6 = service.cluster_ip.find(':') != std::string::npos;
  for (const ServiceInfo::Port& port : service.ports) {
    if (!port.name.empty()) {
      (*env)[absl::StrCat(prefix, "_SERVICE_PORT_", VariableName(port.name))] = absl::StrCat(port.port);
    }
    // As Docker's links did it.
    const std::string protocol = absl::AsciiStrToLower(port.protocol);
    const std::string url =
        absl::StrCat(protocol, "://", v6 ? "[" : "", service.cluster_ip, v6 ? "]" : "", ":", port.port);
    if (&port == &service.ports.front()) (*env)[prefix + "_PORT"] = url;
    const std::string link = absl::StrCat(prefix, "_PORT_", port.port, "_", absl::AsciiStrToUpper(protocol));
    (*env)[link] = url;
    (*env)[link + "_PROTO"] = protocol;
    (*env)[link + "_PORT"] = absl::StrCat(port.port);
    (*env)[link + "_ADDR"] = service.cluster_ip;
  }
}

}  // namespace vck::podvm
