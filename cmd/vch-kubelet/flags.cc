#include "flags.h"

#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "flag_set.h"

namespace vck {
namespace {

using Form = FlagSet::Form;

constexpr std::string_view kAbout =
    "vch-kubelet joins a vSphere cluster to a Kubernetes cluster as one node and runs every pod in a VM of its own.\n"
    "Example: vch-kubelet --kubeconfig node.conf --node-name vch1 --vch-id 7f3a --state-dir /var/lib/vch-kubelet \\\n"
    "           --vcenter-url https://vcenter/sdk --vcenter-user u --vcenter-password-file pw --vcenter-ca ca.pem \\\n"
    "           --bootstrap-iso \"[datastore] vch/bootstrap.iso\"\n"
    "Times are written 30s, 5m or 1h30m. All flags can stand in a YAML file (--config).\n";

void AddFlags(FlagSet& f, node::Options& o) {
  f.Group("Kubernetes");
  f.Add("kubeconfig", o.kube.kubeconfig,
        "credential of the node; else $KUBECONFIG, ~/.kube/config, the service account");
  f.Add("context", o.kube.context, "context of the kubeconfig; else its current one");
  f.Add("node-name", o.kube.node_name, "name of the Node; the credential must be system:node:NAME");
  f.Switch("rotate-certificates", o.kube.rotate_certificates,
           "renew the node's client certificate before it expires, and keep it in the state directory");
  f.Add("node-labels", o.kube.node_labels, "labels that the node sets on itself: k=v,k=v", Form::kMap);
  f.Add("register-with-taints", o.kube.taints, "taints of a new Node: key=value:effect,…; people's changes stay",
        Form::kTaints);
  f.Add("node-ip", o.kube.node_ip, "InternalIP of the node; else the local address that reaches the API server");
  f.Add("kube-api-qps", o.kube.qps, "requests a second to the API server, watches apart; 0: no limit");
  f.Add("kube-api-burst", o.kube.burst, "requests at once");
  f.Switch("kube-api-http2", o.kube.http2, "HTTP/2 to the API server (--kube-api-http2=false: HTTP/1.1)");
  f.Switch("kube-api-streaming-list", o.kube.streaming_list, "streaming lists where the server has them");
  f.Add("kube-api-timeout", o.kube.timeout, "time that a call to the API server may take, watches apart");
  f.Add("kube-api-page-size", o.kube.page_size, "objects in one page of a list");
  f.Add("event-queue-size", o.kube.event_queue, "events that may wait to be sent; further ones are dropped");
  f.Add("memory-pressure-threshold", o.kube.memory_pressure,
        "percentage of the VCH's memory: with less of it free the node has MemoryPressure");
  f.Add("disk-pressure-threshold", o.kube.disk_pressure,
        "percentage of the datastore: with less of it free the node has DiskPressure");
  f.Add("node-status-report-frequency", o.kube.status_report, "heartbeat of an unchanged node status");
  f.Add("node-lease-duration", o.kube.lease_duration, "duration of the node's Lease; renewed four times as often");

  f.Group("vCenter");
  f.Add("vcenter-url", o.vcenter.url, "https://HOST/sdk");
  f.Add("vcenter-user", o.vcenter.user, "user");
  f.Add("vcenter-password-file", o.vcenter.password_file, "file with the password; else $VCENTER_PASSWORD");
  f.Add("vcenter-ca", o.vcenter.ca_file, "PEM file with the CA; else the system's");
  f.Add("vcenter-thumbprint", o.vcenter.thumbprint, "trust the certificate with this SHA-256 or SHA-1 thumbprint");
  f.Switch("vcenter-insecure", o.vcenter.insecure, "trust any certificate; never use it in production");
  f.Add("datacenter", o.vcenter.datacenter,
        "name or path; needed where there are several (so for cluster, datastore and network)");
  f.Add("compute-resource", o.vcenter.compute_resource, "cluster or host that runs the pod VMs");
  f.Add("resource-pool", o.vcenter.resource_pool,
        "pool of the pod VMs, below the cluster's root pool; made if missing");
  f.Add("vm-folder", o.vcenter.vm_folder, "folder of the pod VMs, below the datacenter's VM folder; made if missing");
  f.Add("datastore", o.vcenter.datastore, "datastore of the pod VMs");
  f.Add("pod-network", o.vcenter.pod_network, "network or port group of the pods");
  f.Add("bootstrap-iso", o.vcenter.bootstrap_iso, "ISO that pod VMs boot: \"[datastore] path\"");
  f.Add("vcenter-concurrency", o.vcenter.concurrency, "operations in flight");
  f.Add("vcenter-call-timeout", o.vcenter.call_timeout, "time that a call may take");
  f.Add("vcenter-task-timeout", o.vcenter.task_timeout, "how long a task may take before it is looked at again");
  f.Add("vcenter-tick", o.vcenter.tick, "least time between two looks at what has changed");
  f.Add("vcenter-power-on-delay", o.vcenter.power_on_delay,
        "time in which power-ons are collected for one task, where DRS places VMs");
  f.Add("vcenter-power-on-batch", o.vcenter.power_on_batch, "most VMs of one such task");
  f.Add("power-on-retry-initial", o.vcenter.power_on_retry_initial,
        "first delay before a VM that went off by itself, or did not come on, is powered on again");
  f.Add("power-on-retry-max", o.vcenter.power_on_retry_max, "longest such delay");
  f.Add("vcenter-lost-create-timeout", o.vcenter.create_unknown,
        "how long the VM of a create whose answer was lost is looked for before it is created again");
  f.Add("vcenter-keepalive", o.vcenter.keepalive, "session keep-alive while nothing else is sent");
  f.Add("vcenter-relist", o.vcenter.relist, "full inventory read, for updates that were lost");
  f.Switch("vcenter-tags", o.vcenter.tags, "tag pod VMs with cluster and namespace");

  f.Group("Pods");
  f.Add("vch-id", o.pod.vch_id, "identity of this VCH; must never change while it has VMs");
  f.Add("state-dir", o.pod.state_dir, "directory for the VCH's key");
  f.Add("pod-address-range", o.pod.address_range,
        "addresses of pods: CIDR or FIRST-LAST/PREFIX; else the node's podCIDR");
  f.Add("pod-gateway", o.pod.gateway, "gateway of the pods; else the first address of their network");
  f.Add("pod-dns", o.pod.dns, "DNS servers of the pods' network: of guests, and of dnsPolicy Default", Form::kList);
  f.Add("cluster-dns", o.pod.cluster_dns, "DNS servers of the cluster, for dnsPolicy ClusterFirst", Form::kList);
  f.Add("cluster-domain", o.pod.cluster_domain, "domain of the cluster, such as cluster.local");
  f.Add("resolv-conf", o.pod.resolv_conf,
        "file with servers and search list of dnsPolicy Default; \"\": lookups go nowhere");
  f.Add("container-log-max-size", o.pod.log_max_size, "size at which a container's log file is rotated");
  f.Add("container-log-max-files", o.pod.log_max_files, "most log files of a container");
  f.Add("allowed-unsafe-sysctls", o.pod.unsafe_sysctls,
        "sysctls that pods may set beside the safe ones: names, or prefixes that end in *", Form::kList);
  f.Add("max-pods", o.pod.max_pods, "most pods on this node");
  f.Add("default-cpu", o.pod.default_cpu, "CPU of a pod VM whose pod asks for none");
  f.Add("default-memory", o.pod.default_memory, "memory of a pod VM whose pod asks for none");
  f.Add("default-ephemeral-storage", o.pod.default_ephemeral_storage,
        "room on the scratch disk of a pod VM whose pod asks for none");
  f.Add("guest-memory-overhead", o.pod.memory_overhead, "memory of a guest's kernel and tether, on top");
  f.Add("guest-cpu-overhead", o.pod.cpu_overhead, "CPU of a guest's kernel and tether, on top");
  f.Add("tether-port", o.pod.tether_port, "port of the tether on the pod's address; pods may not use it");
  f.Add("guest-unreachable-after", o.pod.unreachable_after, "after that long without a channel a pod is not Ready");
  f.Add("orphan-interval", o.pod.orphan_interval, "time between the two sightings that make a VM an orphan");
  f.Add("orphan-grace-period", o.pod.orphan_grace, "time for the containers of an orphan to stop");
  f.Add("guest-boot-slack", o.pod.boot_slack,
        "time for a guest to announce itself after power-on, before an event tells of it");
  f.Add("guest-stop-slack", o.pod.stop_slack,
        "time beyond a pod's grace period for its guest to power off, before it is powered off by force");
  f.Add("guest-halt-slack", o.pod.halt_slack, "time for a guest whose containers have ended to power itself off");
  f.Add("guest-save-slack", o.pod.save_slack,
        "time for the logs of a finished pod to be saved; then its VM is powered off without them");
  f.Add("guest-connect-timeout", o.pod.guest_connect_timeout, "time to connect to a tether, the handshake included");
  f.Add("guest-keepalive", o.pod.guest_keepalive, "TCP keep-alive of the channels to tethers");
  f.Add("max-parallel-guest-handshakes", o.pod.guest_handshakes, "handshakes with tethers at the same time");

  f.Group("Kubelet API");
  f.Add("address", o.api.address, "address that the kubelet API listens on");
  f.Add("port", o.api.port, "its port; 0: no kubelet API");
  f.Add("tls-cert-file", o.api.cert_file, "serving certificate, read again when it changes; else by request");
  f.Add("tls-private-key-file", o.api.key_file, "its key");
  f.Switch("rotate-server-certificates", o.api.rotate_certificates,
           "without files: request a certificate (kubernetes.io/kubelet-serving), and renew it");
  f.Add("client-ca-file", o.api.client_ca_file, "CA of client certificates, the API server's above all");
  f.Switch("authentication-token-webhook", o.api.token_webhook, "ask the API server about bearer tokens");
  f.Add("authentication-token-webhook-cache-ttl", o.api.token_ttl, "how long its answers are remembered");
  f.Add("authorization-webhook-cache-authorized-ttl", o.api.authorized_ttl,
        "how long it is remembered that somebody may do something");
  f.Add("authorization-webhook-cache-unauthorized-ttl", o.api.unauthorized_ttl, "and that somebody may not");
  f.Add("streaming-connection-idle-timeout", o.api.streaming_idle,
        "exec, attach and port-forward are ended after so long without a byte; 0: never");

  f.Group("Images");
  f.Add("registries", o.images.registries, "JSON file with mirrors, CAs and credentials of registries");
  f.Add("image-work-dir", o.images.work_dir,
        "where layers and file systems are while they are made, emptied at start; else images in --state-dir");
  f.Add("max-parallel-image-pulls", o.images.parallel_pulls, "images that are pulled at the same time");
  f.Add("image-gc-high-threshold", o.images.gc_high,
        "percentage of the datastore in use at which unused images are removed; 100: never");
  f.Add("image-gc-low-threshold", o.images.gc_low, "percentage at which that ends");
  f.Add("minimum-image-ttl-duration", o.images.gc_min_age,
        "an image that came so recently is not removed to make room");
  f.Add("image-gc-interval", o.images.gc_interval, "time between two looks for images to remove");
  f.Add("image-maximum-gc-age", o.images.gc_max_age, "an image unused for longer is removed; 0s: as space demands");

  f.Group("Reconcilers");
  f.Add("vm-workers", o.reconcilers.vm_workers, "pods whose VMs are worked on at the same time");
  f.Add("status-workers", o.reconcilers.status_workers, "pods whose status is written at the same time");
  f.Add("retry-initial", o.reconcilers.retry_initial, "first delay after a failure");
  f.Add("retry-max", o.reconcilers.retry_max, "longest delay; a pod is never given up");
  f.Add("retry-qps", o.reconcilers.retry_qps, "retries a second, over all pods");
  f.Add("retry-burst", o.reconcilers.retry_burst, "retries at once");
  f.Add("worker-threads", o.reconcilers.worker_threads, "threads for what blocks, such as files and keys");
  f.Add("drain-timeout", o.reconcilers.drain, "at SIGTERM: time for operations in flight to end");

  f.Group("Leader election");
  f.Switch("leader-elect", o.election.enabled,
           "wait for a Lease before working, so that another instance can stand by");
  f.Add("leader-elect-kubeconfig", o.election.kubeconfig, "credential for that Lease");
  f.Add("leader-elect-namespace", o.election.lease_namespace, "namespace of the Lease");
  f.Add("leader-elect-name", o.election.lease_name, "name of the Lease; else vch-kubelet-NODE");
  f.Add("leader-elect-identity", o.election.identity, "name of this candidate; else host name and a random part");
  f.Add("leader-elect-lease-duration", o.election.lease_duration, "how long others wait after the last renewal");
  f.Add("leader-elect-renew-deadline", o.election.renew_deadline, "how long the leader tries to renew");
  f.Add("leader-elect-retry-period", o.election.retry_period, "time between tries");
}

// The last --config of the command line; "" if there is none.
std::string ConfigFile(const std::vector<std::string>& arguments) {
  std::string file;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].starts_with("--config=")) file = arguments[i].substr(std::string_view("--config=").size());
    if (arguments[i] == "--config" && i + 1 < arguments.size()) file = arguments[i + 1];
  }
  return file;
}

void AddProblems(const Status& status, std::vector<std::string>& problems) {
  if (status.ok()) return;
  for (std::string_view line : absl::StrSplit(status.message(), '\n')) problems.emplace_back(line);
}

}  // namespace

ParsedCommandLine ParseCommandLine(const std::vector<std::string>& arguments) {
  CommandLine line;
  std::string file, format = "text";
  FlagSet flags;
  AddFlags(flags, line.options);
  flags.Group("Operation");
  flags.Add("metrics-address", line.options.metrics_address, "ADDRESS:PORT of /metrics and /healthz; \"\": none");
  flags.Add("logging-format", format, "text (klog) or json");
  flags.Add("v", line.verbosity,
            "verbosity: 0 what matters, 1 requests that failed, 2 each step of a pod, 3 registries, too");
  flags.Add("config", file, "YAML file with any of these flags (\"node-name: vch1\"); flags win over it");
  bool help = false, version = false;
  flags.Switch("help", help, "print this and exit");
  flags.Switch("version", version, "print the version and exit");
  const std::string help_text = absl::StrCat(kAbout, flags.Help());
  for (const std::string& argument : arguments) {
    if (argument == "--help" || argument == "-h") return {.text = help_text};
    if (argument == "--version") return {.text = "vch-kubelet " VCK_VERSION "\n"};
  }

  if (const std::string config = ConfigFile(arguments); !config.empty()) {
    std::ifstream in(config);
    std::stringstream text;
    if (in) text << in.rdbuf();
    if (in && text) {
      flags.ParseYaml(text.str(), config, {"config", "help", "version"});
    } else {
      flags.AddProblem(absl::StrCat("--config: cannot read ", config));
    }
  }
  flags.ParseArguments(arguments);
  line.options.flags = flags.Values();

  std::vector<std::string> further;
  if (format == "json") {
    line.log_format = LogFormat::kJson;
  } else if (format != "text") {
    further.push_back(absl::StrCat("--logging-format: \"", format, "\"; expected text or json"));
  }
  if (line.verbosity < 0) further.emplace_back("-v: expected 0 or more");
  AddProblems(Validate(line.options), further);
  StatusOr<node::Inputs> inputs = node::ReadInputs(line.options);
  AddProblems(inputs.status(), further);
  std::vector<std::string> problems = flags.problems();
  for (const std::string& problem : further) problems.push_back(flags.Locate(problem));
  if (!problems.empty()) {
    return {.text = absl::StrCat("vch-kubelet cannot start:\n", absl::StrJoin(problems, "\n"),
                                 "\nRun vch-kubelet --help for the flags.\n"),
            .exit_code = 2};
  }
  line.inputs = *std::move(inputs);
  return {.line = std::move(line)};
}

}  // namespace vck
