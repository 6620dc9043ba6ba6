// resolv.conf, as the kubelet reads that of the node and makes that of a pod (k8s.io/kubernetes
// pkg/kubelet/network/dns).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kubeapi/pod_view.h"

namespace vck::podvm {

struct DnsConfig {
  std::vector<std::string> servers, searches, options;
  friend bool operator==(const DnsConfig&, const DnsConfig&) = default;
};

// The node's file. Lines that are not understood are skipped; a later search line replaces an earlier one.
DnsConfig ParseResolvConf(std::string_view text);
// The file's text; "" for an empty configuration.
std::string FormatResolvConf(const DnsConfig& config);

struct DnsSettings {
  std::vector<std::string> cluster_dns;  // --cluster-dns
  std::string cluster_domain;            // --cluster-domain
  std::optional<DnsConfig> host;         // nullopt: --resolv-conf="", lookups go nowhere by default
};

// By the pod's dnsPolicy and dnsConfig. What had to be left out, and a fallback for want of --cluster-dns, is added to
// `warnings` as (reason, message) of events.
DnsConfig PodDns(const kubeapi::PodView& pod, const DnsSettings& settings,
                 std::vector<std::pair<std::string, std::string>>* warnings);

}  // namespace vck::podvm
