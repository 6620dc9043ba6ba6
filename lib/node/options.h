// Everything an administrator can set. Defaults are what fits most; main fills it from flags and the config file.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"

namespace vck::node {

struct KubeOptions {
  std::string kubeconfig;  // "": $KUBECONFIG, ~/.kube/config, service account
  std::string context;
  std::string node_name;
  double qps = 200;
  double burst = 400;
  bool http2 = true;
  bool streaming_list = true;
  absl::Duration timeout = absl::Seconds(30);  // of a call
  int page_size = 250;                         // of lists
  int event_queue = 1000;                      // events that wait to be sent; further ones are dropped
  bool rotate_certificates = true;             // renew the node's client certificate
  std::string node_labels;                     // k=v,k=v
  std::string taints = "virtual-kubelet.io/provider=vsphere:NoSchedule";  // at creation; "" registers without
  std::string node_ip;
  absl::Duration status_report = absl::Minutes(5);
  absl::Duration lease_duration = absl::Seconds(40);
  // Percent that are free, of the VCH's memory and of the datastore: below, the node reports pressure.
  double memory_pressure = 2;
  double disk_pressure = 10;
};

struct ElectionOptions {
  bool enabled = false;
  std::string kubeconfig;  // a credential of its own
  std::string lease_namespace = "kube-system";
  std::string lease_name;  // "": vch-kubelet-<node name>
  std::string identity;    // "": host name and a random suffix
  absl::Duration lease_duration = absl::Seconds(15);
  absl::Duration renew_deadline = absl::Seconds(10);
  absl::Duration retry_period = absl::Seconds(2);
};

struct VCenterOptions {
  std::string url;  // https://host/sdk
  std::string user;
  std::string password_file;  // else $VCENTER_PASSWORD
  std::string ca_file;
  std::string thumbprint;
  bool insecure = false;
  // Where pod VMs go: inventory names or paths. "" takes the only one there is.
  std::string datacenter, compute_resource, resource_pool, vm_folder, datastore, pod_network;
  std::string bootstrap_iso;  // "[datastore] path/bootstrap.iso"; "": pod VMs have no CD-ROM
  int concurrency = 32;       // calls and tasks in flight
  absl::Duration call_timeout = absl::Seconds(60);
  absl::Duration task_timeout = absl::Minutes(5);
  absl::Duration tick = absl::Milliseconds(100);            // least time between two looks at what changed
  absl::Duration power_on_delay = absl::Milliseconds(100);  // to collect power-ons for one task, under DRS
  int power_on_batch = 64;                                  // VMs of one such task
  // For a VM that does not come on, or does not stay on.
  absl::Duration power_on_retry_initial = absl::Seconds(10);
  absl::Duration power_on_retry_max = absl::Minutes(5);
  absl::Duration create_unknown = absl::Seconds(30);  // a create whose answer was lost is looked for so long
  absl::Duration keepalive = absl::Minutes(10);
  absl::Duration relist = absl::Minutes(30);
  bool tags = true;  // tag VMs with cluster and namespace
};

struct PodOptions {
  std::string vch_id;         // of this VCH; VMs with another id are never touched
  std::string address_range;  // "": the Node's podCIDR
  std::string gateway;        // "": the first address of the range's network
  std::string dns;            // addresses, comma-separated; "": those of resolv_conf
  std::string cluster_dns;    // addresses, comma-separated
  std::string cluster_domain;
  std::string resolv_conf = "/etc/resolv.conf";  // what dnsPolicy Default means; "": no lookups
  std::string log_max_size = "10Mi";             // of a container's log file, before it is rotated
  int log_max_files = 5;
  std::string unsafe_sysctls;  // that pods may set beside the safe ones; names or prefixes with *, comma-separated
  int max_pods = 4000;
  std::string default_cpu = "1", default_memory = "512Mi", default_ephemeral_storage = "1Gi";
  std::string memory_overhead = "64Mi", cpu_overhead = "0";
  int tether_port = 10350;
  std::string state_dir;
  absl::Duration unreachable_after = absl::Seconds(40);
  absl::Duration orphan_interval = absl::Seconds(10);  // between the two sightings that make a VM an orphan
  absl::Duration orphan_grace = absl::Seconds(10);     // for its containers to stop
  // Of guests; see podvm::PlanOptions and guestlink::Options.
  absl::Duration boot_slack = absl::Minutes(3);
  absl::Duration stop_slack = absl::Seconds(15);
  absl::Duration halt_slack = absl::Seconds(10);
  absl::Duration save_slack = absl::Minutes(2);
  absl::Duration guest_connect_timeout = absl::Seconds(10);
  absl::Duration guest_keepalive = absl::Seconds(15);
  int guest_handshakes = 32;
};

// The port that the API server and metrics clients talk to; names and defaults are the kubelet's.
struct KubeletApiOptions {
  std::string address = "0.0.0.0";
  int port = 10250;                 // 0: no kubelet API
  std::string cert_file, key_file;  // "": by CertificateSigningRequest, self-signed until it is approved
  bool rotate_certificates = true;  // without files: ask for a certificate, and for the next before it expires
  std::string client_ca_file;       // "": no client certificates
  bool token_webhook = true;        // TokenReview for bearer tokens
  absl::Duration token_ttl = absl::Minutes(2);
  absl::Duration authorized_ttl = absl::Minutes(5);
  absl::Duration unauthorized_ttl = absl::Seconds(30);
  absl::Duration streaming_idle = absl::Hours(4);
};

struct ImageOptions {
  std::string registries;  // JSON file (oci/registry_config.h); "": every registry as it is
  std::string work_dir;    // "": images in the state directory
  int parallel_pulls = 3;
  // Percent of the datastore; as the kubelet's.
  int gc_high = 85, gc_low = 80;
  absl::Duration gc_min_age = absl::Minutes(2);
  absl::Duration gc_interval = absl::Minutes(5);
  absl::Duration gc_max_age;  // zero: images that nobody uses stay as long as there is room
};

struct ReconcilerOptions {
  int vm_workers = 128;
  int status_workers = 32;
  absl::Duration retry_initial = absl::Milliseconds(100);
  absl::Duration retry_max = absl::Minutes(1);
  double retry_qps = 100;
  double retry_burst = 1000;
  int worker_threads = 2;                    // for what blocks: files, certificates
  absl::Duration drain = absl::Seconds(20);  // at SIGTERM
};

struct Options {
  KubeOptions kube;
  ElectionOptions election;
  VCenterOptions vcenter;
  PodOptions pod;
  ReconcilerOptions reconcilers;
  KubeletApiOptions api;
  ImageOptions images;
  std::string metrics_address = "127.0.0.1:10255";  // "": none
  // All flags and what they came to, by name: for people who ask.
  std::vector<std::pair<std::string, std::string>> flags;
};

// All mistakes at once, one a line: "--flag: what is wrong, what was expected". OK if there is none.
Status Validate(const Options& options);

// "k=v,k=v"
StatusOr<std::map<std::string, std::string>> ParseLabels(std::string_view text);

}  // namespace vck::node
