#include "flags.h"

#include <cstdio>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include <CLI/CLI.hpp>
#include <yaml-cpp/yaml.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"

namespace vck {
namespace {

// CLI11 reads TOML and INI; Kubernetes' users write YAML. Keys are the flags' names without dashes at the front.
class YamlConfig : public CLI::Config {
 public:
  std::string to_config(const CLI::App*, bool, bool, std::string) const override { return {}; }
  std::vector<CLI::ConfigItem> from_config(std::istream& in) const override {
    std::vector<CLI::ConfigItem> items;
    YAML::Node root;
    try {
      root = YAML::Load(in);
    } catch (const YAML::Exception& e) {
      throw CLI::FileError(absl::StrCat("--config: not YAML: ", e.what()));
    }
    if (root.IsNull()) return items;
    if (!root.IsMap())
      throw CLI::FileError("--config: expected a map of flag names to values, such as \"node-name: vch1\"");
    for (const auto& entry : root) {
      CLI::ConfigItem item;
      item.name = entry.first.as<std::string>();
      if (entry.second.IsSequence()) {
        // Lists are written as the flags take them.
        std::vector<std::string> parts;
        for (const auto& part : entry.second) parts.push_back(part.as<std::string>());
        item.inputs.push_back(absl::StrJoin(parts, ","));
      } else if (entry.second.IsMap()) {
        std::vector<std::string> parts;
        for (const auto& part : entry.second) {
          parts.push_back(absl::StrCat(part.first.as<std::string>(), "=", part.second.as<std::string>()));
        }
        item.inputs.push_back(absl::StrJoin(parts, ","));
      } else if (!entry.second.IsNull()) {
        item.inputs.push_back(entry.second.as<std::string>());
      }
      items.push_back(std::move(item));
    }
    return items;
  }
};

// Adds flags to one group of --help, and remembers the durations whose text did not parse.
class Flags {
 public:
  Flags(CLI::App& app, std::vector<std::string>& problems) : app_(app), problems_(problems) {}
  void Group(std::string name) { group_ = std::move(name); }
  template <class T>
  void Add(const char* name, T& value, const char* help) {
    app_.add_option(name, value, help)->group(group_)->capture_default_str();
    Note(name, [&value] { return absl::StrCat(value); });
  }
  void Switch(const char* name, bool& value, const char* help) {
    // "--flag=false" works, as Kubernetes' users expect.
    app_.add_flag(absl::StrCat(name, "{true}"), value, help)->group(group_);
    Note(name, [&value] { return std::string(value ? "true" : "false"); });
  }
  void Add(const char* name, absl::Duration& value, const char* help) {
    auto parse = [&value, this, name](const std::string& text) {
      if (!absl::ParseDuration(text, &value)) {
        problems_.push_back(absl::StrCat(name, ": \"", text, "\" is not a time; expected such as 30s, 5m or 1h30m"));
      }
    };
    app_.add_option_function<std::string>(name, parse, help)
        ->group(group_)
        ->type_name("TIME")
        ->default_str(absl::FormatDuration(value));
    Note(name, [&value] { return absl::FormatDuration(value); });
  }
  // What they have come to, by name.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> Values() const {
    std::vector<std::pair<std::string, std::string>> out;
    out.reserve(values_.size());
    for (const auto& [name, value] : values_) out.emplace_back(name, value());
    return out;
  }

 private:
  void Note(std::string_view name, std::function<std::string()> value) {
    name.remove_prefix(name.rfind("--") + 2);
    values_.emplace(name, std::move(value));
  }

  std::map<std::string, std::function<std::string()>> values_;
  CLI::App& app_;
  std::vector<std::string>& problems_;
  std::string group_;
};

// "--flag=" sets a flag to nothing, as with Kubernetes' own components; CLI11 takes it for a flag without its value. In
// CLI11's order: the last one first.
std::vector<std::string> Arguments(int argc, char** argv) {
  std::vector<std::string> arguments;
  for (int i = argc - 1; i > 0; --i) {
    std::string_view argument = argv[i];
    if (argument.size() > 3 && argument.starts_with("--") && argument.find('=') == argument.size() - 1) {
      arguments.emplace_back();
      argument.remove_suffix(1);
    }
    arguments.emplace_back(argument);
  }
  return arguments;
}

void AddFlags(Flags& f, node::Options& o) {
  f.Group("Kubernetes");
  f.Add("--kubeconfig", o.kube.kubeconfig,
        "credential of the node; else $KUBECONFIG, ~/.kube/config, the service account");
  f.Add("--context", o.kube.context, "context of the kubeconfig; else its current one");
  f.Add("--node-name", o.kube.node_name, "name of the Node; the credential must be system:node:NAME");
  f.Switch("--rotate-certificates", o.kube.rotate_certificates,
           "renew the node's client certificate before it expires, and keep it in the state directory");
  f.Add("--node-labels", o.kube.node_labels, "labels that the node sets on itself: k=v,k=v");
  f.Add("--register-with-taints", o.kube.taints, "taints of a new Node: key=value:effect,…; people's changes stay");
  f.Add("--node-ip", o.kube.node_ip, "InternalIP of the node; else the local address that reaches the API server");
  f.Add("--kube-api-qps", o.kube.qps, "requests a second to the API server, watches apart; 0: no limit");
  f.Add("--kube-api-burst", o.kube.burst, "requests at once");
  f.Switch("--kube-api-http2", o.kube.http2, "HTTP/2 to the API server (--kube-api-http2=false: HTTP/1.1)");
  f.Switch("--kube-api-streaming-list", o.kube.streaming_list, "streaming lists where the server has them");
  f.Add("--node-status-report-frequency", o.kube.status_report, "heartbeat of an unchanged node status");
  f.Add("--node-lease-duration", o.kube.lease_duration, "duration of the node's Lease; renewed four times as often");

  f.Group("vCenter");
  f.Add("--vcenter-url", o.vcenter.url, "https://HOST/sdk");
  f.Add("--vcenter-user", o.vcenter.user, "user");
  f.Add("--vcenter-password-file", o.vcenter.password_file, "file with the password; else $VCENTER_PASSWORD");
  f.Add("--vcenter-ca", o.vcenter.ca_file, "PEM file with the CA; else the system's");
  f.Add("--vcenter-thumbprint", o.vcenter.thumbprint, "trust the certificate with this SHA-256 or SHA-1 thumbprint");
  f.Switch("--vcenter-insecure", o.vcenter.insecure, "trust any certificate; never use it in production");
  f.Add("--datacenter", o.vcenter.datacenter,
        "name or path; needed where there are several (so for cluster, datastore and network)");
  f.Add("--compute-resource", o.vcenter.compute_resource, "cluster or host that runs the pod VMs");
  f.Add("--resource-pool", o.vcenter.resource_pool,
        "pool of the pod VMs, below the cluster's root pool; made if missing");
  f.Add("--vm-folder", o.vcenter.vm_folder, "folder of the pod VMs, below the datacenter's VM folder; made if missing");
  f.Add("--datastore", o.vcenter.datastore, "datastore of the pod VMs");
  f.Add("--pod-network", o.vcenter.pod_network, "network or port group of the pods");
  f.Add("--bootstrap-iso", o.vcenter.bootstrap_iso, "ISO that pod VMs boot: \"[datastore] path\"");
  f.Add("--vcenter-concurrency", o.vcenter.concurrency, "operations in flight");
  f.Add("--vcenter-task-timeout", o.vcenter.task_timeout, "how long a task may take before it is looked at again");
  f.Add("--vcenter-keepalive", o.vcenter.keepalive, "session keep-alive while nothing else is sent");
  f.Add("--vcenter-relist", o.vcenter.relist, "full inventory read, for updates that were lost");
  f.Switch("--vcenter-tags", o.vcenter.tags, "tag pod VMs with cluster and namespace");

  f.Group("Pods");
  f.Add("--vch-id", o.pod.vch_id, "identity of this VCH; must never change while it has VMs");
  f.Add("--state-dir", o.pod.state_dir, "directory for the VCH's key");
  f.Add("--pod-address-range", o.pod.address_range,
        "addresses of pods: CIDR or FIRST-LAST/PREFIX; else the node's podCIDR");
  f.Add("--pod-gateway", o.pod.gateway, "gateway of the pods; else the first address of their network");
  f.Add("--pod-dns", o.pod.dns, "DNS servers of the pods' network: of guests, and of dnsPolicy Default");
  f.Add("--cluster-dns", o.pod.cluster_dns, "DNS servers of the cluster, for dnsPolicy ClusterFirst");
  f.Add("--cluster-domain", o.pod.cluster_domain, "domain of the cluster, such as cluster.local");
  f.Add("--resolv-conf", o.pod.resolv_conf,
        "file with servers and search list of dnsPolicy Default; \"\": lookups go nowhere");
  f.Add("--container-log-max-size", o.pod.log_max_size, "size at which a container's log file is rotated");
  f.Add("--container-log-max-files", o.pod.log_max_files, "most log files of a container");
  f.Add("--allowed-unsafe-sysctls", o.pod.unsafe_sysctls,
        "sysctls that pods may set beside the safe ones: names, or prefixes that end in *");
  f.Add("--max-pods", o.pod.max_pods, "most pods on this node");
  f.Add("--default-cpu", o.pod.default_cpu, "CPU of a pod VM whose pod asks for none");
  f.Add("--default-memory", o.pod.default_memory, "memory of a pod VM whose pod asks for none");
  f.Add("--default-ephemeral-storage", o.pod.default_ephemeral_storage,
        "room on the scratch disk of a pod VM whose pod asks for none");
  f.Add("--guest-memory-overhead", o.pod.memory_overhead, "memory of a guest's kernel and tether, on top");
  f.Add("--guest-cpu-overhead", o.pod.cpu_overhead, "CPU of a guest's kernel and tether, on top");
  f.Add("--tether-port", o.pod.tether_port, "port of the tether on the pod's address; pods may not use it");
  f.Add("--guest-unreachable-after", o.pod.unreachable_after, "after that long without a channel a pod is not Ready");
  f.Add("--orphan-interval", o.pod.orphan_interval, "time between the two sightings that make a VM an orphan");

  f.Group("Kubelet API");
  f.Add("--address", o.api.address, "address that the kubelet API listens on");
  f.Add("--port", o.api.port, "its port; 0: no kubelet API");
  f.Add("--tls-cert-file", o.api.cert_file, "serving certificate, read again when it changes; else by request");
  f.Add("--tls-private-key-file", o.api.key_file, "its key");
  f.Switch("--rotate-server-certificates", o.api.rotate_certificates,
           "without files: request a certificate (kubernetes.io/kubelet-serving), and renew it");
  f.Add("--client-ca-file", o.api.client_ca_file, "CA of client certificates, the API server's above all");
  f.Switch("--authentication-token-webhook", o.api.token_webhook, "ask the API server about bearer tokens");
  f.Add("--authentication-token-webhook-cache-ttl", o.api.token_ttl, "how long its answers are remembered");
  f.Add("--authorization-webhook-cache-authorized-ttl", o.api.authorized_ttl,
        "how long it is remembered that somebody may do something");
  f.Add("--authorization-webhook-cache-unauthorized-ttl", o.api.unauthorized_ttl, "and that somebody may not");
  f.Add("--streaming-connection-idle-timeout", o.api.streaming_idle,
        "exec, attach and port-forward are ended after so long without a byte");

  f.Group("Images");
  f.Add("--registries", o.images.registries, "JSON or YAML file with mirrors, CAs and credentials of registries");
  f.Add("--image-work-dir", o.images.work_dir,
        "where layers and file systems are while they are made, emptied at start; else images in --state-dir");
  f.Add("--max-parallel-image-pulls", o.images.parallel_pulls, "images that are pulled at the same time");
  f.Add("--image-gc-high-threshold", o.images.gc_high,
        "percentage of the datastore in use at which unused images are removed; 100: never");
  f.Add("--image-gc-low-threshold", o.images.gc_low, "percentage at which that ends");
  f.Add("--minimum-image-ttl-duration", o.images.gc_min_age, "an image that was used so recently is not removed");
  f.Add("--image-maximum-gc-age", o.images.gc_max_age, "an image unused for longer is removed; 0s: as space demands");

  f.Group("Reconcilers");
  f.Add("--vm-workers", o.reconcilers.vm_workers, "pods whose VMs are worked on at the same time");
  f.Add("--status-workers", o.reconcilers.status_workers, "pods whose status is written at the same time");
  f.Add("--retry-initial", o.reconcilers.retry_initial, "first delay after a failure");
  f.Add("--retry-max", o.reconcilers.retry_max, "longest delay; a pod is never given up");
  f.Add("--retry-qps", o.reconcilers.retry_qps, "retries a second, over all pods");
  f.Add("--drain-timeout", o.reconcilers.drain, "at SIGTERM: time for operations in flight to end");

  f.Group("Leader election");
  f.Switch("--leader-elect", o.election.enabled,
           "wait for a Lease before working, so that another instance can stand by");
  f.Add("--leader-elect-kubeconfig", o.election.kubeconfig, "credential for that Lease");
  f.Add("--leader-elect-namespace", o.election.lease_namespace, "namespace of the Lease");
  f.Add("--leader-elect-name", o.election.lease_name, "name of the Lease; else vch-kubelet-NODE");
  f.Add("--leader-elect-identity", o.election.identity, "name of this candidate; else host name and a random part");
  f.Add("--leader-elect-lease-duration", o.election.lease_duration, "how long others wait after the last renewal");
  f.Add("--leader-elect-renew-deadline", o.election.renew_deadline, "how long the leader tries to renew");
  f.Add("--leader-elect-retry-period", o.election.retry_period, "time between tries");
}

}  // namespace

std::optional<CommandLine> ParseCommandLine(int argc, char** argv, int* exit_code) {
  CommandLine line;
  CLI::App app(
      "vch-kubelet joins a vSphere cluster to a Kubernetes cluster as one node and runs every pod in a VM of its own.\n"
      "Example: vch-kubelet --kubeconfig node.conf --node-name vch1 --vch-id 7f3a --state-dir /var/lib/vch-kubelet \\\n"
      "           --vcenter-url https://vcenter/sdk --vcenter-user u --vcenter-password-file pw --vcenter-ca ca.pem");
  app.option_defaults()->always_capture_default();
  // A flag given twice: the last one counts, as with Kubernetes' own components.
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.set_version_flag("--version", "vch-kubelet " VCK_VERSION);
  std::vector<std::string> problems;
  Flags flags(app, problems);
  AddFlags(flags, line.options);
  flags.Group("Operation");
  std::string format = "text";
  flags.Add("--metrics-address", line.options.metrics_address, "ADDRESS:PORT of /metrics and /healthz; \"\": none");
  flags.Add("--logging-format", format, "text (klog) or json");
  flags.Add("-v,--v", line.verbosity,
            "verbosity: 0 what matters, 1 requests that failed, 2 each step of a pod, 3 registries, too");
  app.set_config("--config", "", "YAML file with any of these flags (\"node-name: vch1\"); flags win over it")
      ->group("Operation");
  app.config_formatter(std::make_shared<YamlConfig>());
  app.allow_config_extras(false);
  try {
    app.parse(Arguments(argc, argv));
  } catch (const CLI::Success& e) {
    *exit_code = app.exit(e);
    return std::nullopt;
  } catch (const CLI::Error& e) {
    std::fprintf(stderr, "vch-kubelet: %s\nRun vch-kubelet --help for the flags.\n", e.what());
    *exit_code = 2;
    return std::nullopt;
  }
  if (format == "json") {
    line.log_format = LogFormat::kJson;
  } else if (format != "text") {
    problems.push_back(absl::StrCat("--logging-format: \"", format, "\"; expected text or json"));
  }
  line.options.flags = flags.Values();
  if (Status status = Validate(line.options); !status.ok()) problems.emplace_back(status.message());
  if (!problems.empty()) {
    std::fprintf(stderr, "vch-kubelet cannot start:\n%s\nRun vch-kubelet --help for the flags.\n",
                 absl::StrJoin(problems, "\n").c_str());
    *exit_code = 2;
    return std::nullopt;
  }
  return line;
}

}  // namespace vck
