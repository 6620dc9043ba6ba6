#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "podvm/resolve_parts.h"

namespace vck::podvm::internal {
namespace {

using kubeapi::PodView;

// "" without a subdomain.
std::string DomainOf(const PodView& pod, std::string_view cluster_domain) {
  const std::string_view subdomain = json::String(pod.spec(), "subdomain");
  if (subdomain.empty() || !json::String(pod.spec(), "hostnameOverride").empty()) return "";
  return absl::StrCat(subdomain, ".", pod.ns(), ".svc.", cluster_domain);
}

StatusOr<std::string> HostName(const PodView& pod, std::string_view domain) {
  constexpr size_t kMaxNodeName = 64;  // of the kernel
  if (domain.empty() || !json::Bool(pod.spec(), "setHostnameAsFQDN")) return std::string(pod.hostname());
  std::string name = absl::StrCat(pod.hostname(), ".", domain);
  if (name.size() > kMaxNodeName) {
    return absl::InvalidArgumentError(
        absl::StrCat("failed to construct FQDN from pod hostname and cluster domain, FQDN ", name, " is too long (",
                     kMaxNodeName, " characters is the max, ", name.size(), " characters requested)"));
  }
  return name;
}

std::string HostsFile(const ResolveInputs& in, std::string_view domain) {
  const PodView& pod = *in.pod;
  // The node of a pod on the host's network is its VM, whose own file has just this.
  std::string text =
      pod.host_network() ? "# Kubernetes-managed hosts file (host network).\n" : "# Kubernetes-managed hosts file.\n";
  absl::StrAppend(&text,
                  "127.0.0.1\tlocalhost\n"
                  "::1\tlocalhost ip6-localhost ip6-loopback\n"
                  "fe00::0\tip6-localnet\n"
                  "fe00::0\tip6-mcastprefix\n"
                  "fe00::1\tip6-allnodes\n"
                  "fe00::2\tip6-allrouters\n");
  const std::string_view host = pod.host_network() ? in.node_name : pod.hostname();
  if (domain.empty() || pod.host_network()) {
    absl::StrAppend(&text, in.pod_ip, "\t", host, "\n");
  } else {
    absl::StrAppend(&text, in.pod_ip, "\t", host, ".", domain, "\t", host, "\n");
  }
  const json::Array& aliases = json::Items(pod.spec(), "hostAliases");
  if (!aliases.empty()) text += "\n# Entries added by HostAliases.\n";
  for (const json::Value& alias : aliases) {
    absl::StrAppend(&text, json::String(alias, "ip"));
    for (const json::Value& name : json::Items(alias, "hostnames")) absl::StrAppend(&text, "\t", json::AsString(name));
    text += '\n';
  }
  return text;
}

void FindHostPorts(const PodView& pod, std::vector<ResolveResult::Event>* events) {
  if (pod.host_network()) return;  // the API server names each port of it a host port
  std::vector<std::string> ports;
  pod.ForEachContainer([&](const kubeapi::ContainerView& c) {
    for (const json::Value& port : c.ports()) {
      if (const int64_t number = json::Int(port, "hostPort"); number != 0) {
        const std::string_view protocol = json::String(port, "protocol");
        ports.push_back(absl::StrCat(number, "/", protocol.empty() ? "TCP" : protocol, " of container ", c.name()));
      }
    }
  });
  if (ports.empty()) return;
  events->push_back({.warning = true,
                     .reason = "HostPortNotSupported",
                     .message = absl::StrCat("hostPort is not supported, and nobody listens at the node's address: ",
                                             absl::StrJoin(ports, ", "), "; use the pod's IP, or a Service")});
}

}  // namespace

Status ResolveNetwork(const ResolveInputs& in, guestapi::GuestSpec* spec, std::vector<ResolveResult::Event>* events) {
  const PodView& pod = *in.pod;
  const std::string domain = DomainOf(pod, in.dns.cluster_domain);
  if (pod.host_network()) {
    spec->host_name = in.node_name.substr(0, 63);
  } else {
    ASSIGN_OR_RETURN(spec->host_name, HostName(pod, domain));
  }
  FindHostPorts(pod, events);
  if (in.pod_ip.empty()) return Pending();  // it comes with the VM
  spec->hosts_file = HostsFile(in, domain);
  std::vector<std::pair<std::string, std::string>> warnings;
  spec->resolv_conf = FormatResolvConf(PodDns(pod, in.dns, &warnings));
  for (auto& [reason, message] : warnings) {
    events->push_back({.warning = true, .reason = std::move(reason), .message = std::move(message)});
  }
  return absl::OkStatus();
}

}  // namespace vck::podvm::internal
