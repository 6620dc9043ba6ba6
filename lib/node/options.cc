#include "node/options.h"

#include <sys/stat.h>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "http/message.h"
#include "kubeapi/quantity.h"
#include "node/ipam.h"
#include "node/node_object.h"
#include "podvm/sysctls.h"

namespace vck::node {
namespace {

// RFC 1123 subdomain, as Kubernetes wants node names.
bool IsDnsSubdomain(std::string_view name) {
  if (name.empty() || name.size() > 253) return false;
  for (std::string_view label : absl::StrSplit(name, '.')) {
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') return false;
    for (char c : label) {
      if (!absl::ascii_islower(static_cast<unsigned char>(c)) && !absl::ascii_isdigit(static_cast<unsigned char>(c)) &&
          c != '-')
        return false;
    }
  }
  return true;
}

// "[datastore] folder/file"
bool IsDatastorePath(std::string_view text) {
  size_t end = text.find(']');
  if (!text.starts_with('[') || end == std::string_view::npos || end == 1) return false;
  std::string_view path = absl::StripLeadingAsciiWhitespace(text.substr(end + 1));
  return !path.empty() && path.front() != '/' && path.back() != '/';
}

class Checker {
 public:
  void Add(std::string_view flag, std::string_view problem) { problems_.push_back(absl::StrCat(flag, ": ", problem)); }
  void Check(bool good, std::string_view flag, std::string_view problem) {
    if (!good) Add(flag, problem);
  }
  void Check(const Status& status, std::string_view flag) {
    if (!status.ok()) Add(flag, status.message());
  }
  void File(const std::string& path, std::string_view flag) {
    struct stat info{};
    if (!path.empty() && stat(path.c_str(), &info) != 0) Add(flag, absl::StrCat("cannot find ", path));
  }
  void Positive(absl::Duration d, std::string_view flag) {
    Check(d > absl::ZeroDuration(), flag, "expected a positive time, such as 30s or 5m");
  }
  [[nodiscard]] Status Result() const {
    if (problems_.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrJoin(problems_, "\n"));
  }

 private:
  std::vector<std::string> problems_;
};

void CheckVCenter(const VCenterOptions& v, Checker& c) {
  if (v.url.empty()) {
    c.Add("--vcenter-url", "missing; expected https://HOST/sdk");
  } else if (auto url = http::ParseUrl(v.url); !url.ok()) {
    c.Check(url.status(), "--vcenter-url");
  } else {
    c.Check(url->scheme == "https" || url->scheme == "http", "--vcenter-url", "expected https://HOST/sdk");
  }
  c.Check(!v.user.empty(), "--vcenter-user", "missing");
  c.Check(int{!v.ca_file.empty()} + int{!v.thumbprint.empty()} + int{v.insecure} <= 1,
          "--vcenter-ca, --vcenter-thumbprint, --vcenter-insecure", "only one of them makes sense");
  std::string digits = v.thumbprint;
  std::erase(digits, ':');
  c.Check(digits.empty() || ((digits.size() == 40 || digits.size() == 64) &&
                             digits.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos),
          "--vcenter-thumbprint", "expected SHA-256 (64 hex digits) or SHA-1 (40), colons allowed");
  c.Check(v.bootstrap_iso.empty() || IsDatastorePath(v.bootstrap_iso), "--bootstrap-iso",
          absl::StrCat("\"", v.bootstrap_iso, "\"; expected \"[datastore] path/bootstrap.iso\""));
  c.Check(v.concurrency >= 1 && v.concurrency <= 640, "--vcenter-concurrency",
          "expected 1 to 640 (a vCenter queues what is beyond)");
  c.Positive(v.call_timeout, "--vcenter-call-timeout");
  c.Positive(v.task_timeout, "--vcenter-task-timeout");
  c.Check(v.tick >= absl::Milliseconds(10), "--vcenter-tick", "expected at least 10ms");
  c.Check(v.power_on_delay >= absl::ZeroDuration(), "--vcenter-power-on-delay", "expected a time such as 100ms, or 0s");
  c.Check(v.power_on_batch >= 1, "--vcenter-power-on-batch", "expected at least 1");
  c.Positive(v.power_on_retry_initial, "--power-on-retry-initial");
  c.Check(v.power_on_retry_max >= v.power_on_retry_initial, "--power-on-retry-max",
          "expected at least --power-on-retry-initial");
  c.Positive(v.create_unknown, "--vcenter-lost-create-timeout");
  c.Positive(v.keepalive, "--vcenter-keepalive");
  c.Positive(v.relist, "--vcenter-relist");
}

void CheckPods(const PodOptions& p, Checker& c) {
  constexpr std::string_view kVchId = "a name or UUID of at most 64 characters that stays the same for this VCH's life";
  c.Check(!p.vch_id.empty(), "--vch-id", absl::StrCat("missing; expected ", kVchId));
  c.Check(p.vch_id.size() <= 64, "--vch-id", absl::StrCat("has ", p.vch_id.size(), " characters; expected ", kVchId));
  if (!p.address_range.empty()) c.Check(ParseRange(p.address_range).status(), "--pod-address-range");
  c.Check(p.gateway.empty() || ParseIp(p.gateway), "--pod-gateway", "expected an IPv4 address");
  if (!p.dns.empty()) {
    for (std::string_view address : absl::StrSplit(p.dns, ','))
      c.Check(ParseIp(address).has_value(), "--pod-dns", "expected IPv4 addresses, separated by commas");
  }
  for (std::string_view address : absl::StrSplit(p.cluster_dns, ',', absl::SkipEmpty()))
    c.Check(ParseIp(address).has_value(), "--cluster-dns", "expected IPv4 addresses, separated by commas");
  c.Check(p.cluster_domain.empty() || IsDnsSubdomain(p.cluster_domain), "--cluster-domain",
          "expected a DNS name in lower case, such as cluster.local");
  // The default may be missing, as it is in a small VM.
  if (p.resolv_conf != PodOptions().resolv_conf) c.File(p.resolv_conf, "--resolv-conf");
  auto log_size = kubeapi::Quantity::Parse(p.log_max_size);
  c.Check(log_size.ok() && log_size->Value() >= 1, "--container-log-max-size", "expected a size, such as 10Mi");
  c.Check(p.log_max_files >= 2, "--container-log-max-files", "expected at least 2");
  c.Check(podvm::SysctlAllowlist::Make(absl::StrSplit(p.unsafe_sysctls, ',', absl::SkipWhitespace())).status(),
          "--allowed-unsafe-sysctls");
  c.Check(p.max_pods >= 1, "--max-pods", "expected at least 1");
  for (auto [flag, text] : {std::pair{"--default-cpu", &p.default_cpu},
                            {"--default-memory", &p.default_memory},
                            {"--default-ephemeral-storage", &p.default_ephemeral_storage},
                            {"--guest-memory-overhead", &p.memory_overhead},
                            {"--guest-cpu-overhead", &p.cpu_overhead}}) {
    auto quantity = kubeapi::Quantity::Parse(*text);
    c.Check(quantity.status(), flag);
    c.Check(!quantity.ok() || *quantity >= kubeapi::Quantity(), flag,
            absl::StrCat("\"", *text, "\" is less than nothing"));
  }
  c.Check(p.tether_port >= 1 && p.tether_port <= 65535, "--tether-port", "expected 1 to 65535");
  c.Check(!p.state_dir.empty(), "--state-dir",
          "missing; expected a directory that only root can read, for the VCH's key");
  c.Positive(p.unreachable_after, "--guest-unreachable-after");
  c.Positive(p.orphan_interval, "--orphan-interval");
  c.Check(p.orphan_grace >= absl::ZeroDuration(), "--orphan-grace-period", "expected a time such as 10s, or 0s");
  c.Positive(p.boot_slack, "--guest-boot-slack");
  for (auto [flag, slack] : {std::pair{"--guest-stop-slack", p.stop_slack},
                             {"--guest-halt-slack", p.halt_slack},
                             {"--guest-save-slack", p.save_slack}}) {
    c.Check(slack >= absl::ZeroDuration(), flag, "expected a time such as 15s, or 0s");
  }
  c.Positive(p.guest_connect_timeout, "--guest-connect-timeout");
  c.Check(p.guest_keepalive >= absl::Seconds(1), "--guest-keepalive", "expected at least 1s");
  c.Check(p.guest_handshakes >= 1, "--max-parallel-guest-handshakes", "expected at least 1");
}

void CheckImages(const ImageOptions& i, Checker& c) {
  c.Check(i.parallel_pulls > 0, "--max-parallel-image-pulls", "expected 1 or more");
  c.Check(i.gc_high >= 0 && i.gc_high <= 100, "--image-gc-high-threshold", "expected a percentage, 0 to 100");
  c.Check(i.gc_low >= 0 && i.gc_low <= i.gc_high, "--image-gc-low-threshold",
          "expected a percentage that is not above --image-gc-high-threshold");
  c.Check(i.gc_min_age >= absl::ZeroDuration(), "--minimum-image-ttl-duration", "expected a time such as 2m");
  c.Positive(i.gc_interval, "--image-gc-interval");
  c.Check(i.gc_max_age >= absl::ZeroDuration(), "--image-maximum-gc-age", "expected a time such as 168h, or 0s");
}

void CheckApi(const KubeletApiOptions& a, Checker& c) {
  c.Check(ParseIp(a.address).has_value(), "--address", "expected an IPv4 address, such as 0.0.0.0 for all");
  c.Check(a.port >= 0 && a.port <= 65535, "--port", "expected 1 to 65535, or 0 for no kubelet API");
  c.Check(a.cert_file.empty() == a.key_file.empty(), "--tls-cert-file, --tls-private-key-file",
          "both are needed, or none");
  c.Positive(a.token_ttl, "--authentication-token-webhook-cache-ttl");
  c.Positive(a.authorized_ttl, "--authorization-webhook-cache-authorized-ttl");
  c.Positive(a.unauthorized_ttl, "--authorization-webhook-cache-unauthorized-ttl");
  c.Check(a.streaming_idle >= absl::ZeroDuration(), "--streaming-connection-idle-timeout",
          "expected a time such as 4h, or 0s for none");
}

}  // namespace

StatusOr<std::map<std::string, std::string>> ParseLabels(std::string_view text) {
  std::map<std::string, std::string> labels;
  for (std::string_view item : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    std::pair<std::string_view, std::string_view> kv = absl::StrSplit(item, absl::MaxSplits('=', 1));
    std::string key(absl::StripAsciiWhitespace(kv.first));
    if (key.empty() || item.find('=') == std::string_view::npos) {
      return absl::InvalidArgumentError(absl::StrCat("\"", item, "\": expected key=value, separated by commas"));
    }
    if (!MaySetOwnLabel(key)) {
      return absl::InvalidArgumentError(
          absl::StrCat("a node may not set the label ", key, " on itself (NodeRestriction)"));
    }
    labels[key] = std::string(absl::StripAsciiWhitespace(kv.second));
  }
  return labels;
}

Status Validate(const Options& o) {
  Checker c;
  c.Check(IsDnsSubdomain(o.kube.node_name), "--node-name",
          o.kube.node_name.empty() ? "missing" : "expected a DNS name in lower case (RFC 1123)");
  c.Check(ParseLabels(o.kube.node_labels).status(), "--node-labels");
  for (std::string_view taint : absl::StrSplit(o.kube.taints, ',', absl::SkipWhitespace()))
    c.Check(ParseTaint(taint).status(), "--register-with-taints");
  c.Check(o.kube.node_ip.empty() || ParseIp(o.kube.node_ip), "--node-ip", "expected an IPv4 address");
  c.Check(o.kube.qps >= 0, "--kube-api-qps", "expected 0 (no limit) or more");
  c.Check(o.kube.qps == 0 || o.kube.burst >= 1, "--kube-api-burst", "expected at least 1");
  c.Positive(o.kube.timeout, "--kube-api-timeout");
  c.Check(o.kube.page_size >= 1, "--kube-api-page-size", "expected at least 1");
  c.Check(o.kube.event_queue >= 1, "--event-queue-size", "expected at least 1");
  for (auto [flag, percent] : {std::pair{"--memory-pressure-threshold", o.kube.memory_pressure},
                               {"--disk-pressure-threshold", o.kube.disk_pressure}}) {
    c.Check(percent >= 0 && percent <= 100, flag, "expected a percentage, 0 to 100");
  }
  c.Positive(o.kube.status_report, "--node-status-report-frequency");
  c.Check(o.kube.lease_duration >= absl::Seconds(4), "--node-lease-duration", "expected at least 4s");
  CheckVCenter(o.vcenter, c);
  CheckPods(o.pod, c);
  CheckImages(o.images, c);
  CheckApi(o.api, c);
  c.Check(o.reconcilers.vm_workers >= 1, "--vm-workers", "expected at least 1");
  c.Check(o.reconcilers.status_workers >= 1, "--status-workers", "expected at least 1");
  c.Positive(o.reconcilers.retry_initial, "--retry-initial");
  c.Check(o.reconcilers.drain >= absl::ZeroDuration(), "--drain-timeout", "expected a time such as 20s, or 0s");
  c.Check(o.reconcilers.retry_qps > 0, "--retry-qps", "expected more than 0");
  c.Check(o.reconcilers.retry_burst >= 1, "--retry-burst", "expected at least 1");
  c.Check(o.reconcilers.worker_threads >= 1, "--worker-threads", "expected at least 1");
  c.Check(o.reconcilers.retry_max >= o.reconcilers.retry_initial, "--retry-max", "expected at least --retry-initial");
  if (o.election.enabled) {
    c.Check(!o.election.kubeconfig.empty(), "--leader-elect-kubeconfig",
            "missing; the node's own credential may not write that lease, so leader election has one of its own");
    c.Check(o.election.lease_duration > o.election.renew_deadline &&
                o.election.renew_deadline > o.election.retry_period * 1.2,
            "--leader-elect-lease-duration", "expected lease duration > renew deadline > 1.2 × retry period");
  }
  if (!o.metrics_address.empty()) {
    size_t colon = o.metrics_address.rfind(':');
    int port = 0;
    c.Check(colon != std::string::npos && ParseIp(o.metrics_address.substr(0, colon)) &&
                absl::SimpleAtoi(o.metrics_address.substr(colon + 1), &port) && port >= 0 && port <= 65535,
            "--metrics-address", "expected ADDRESS:PORT with an IPv4 address");
  }
  return c.Result();
}

}  // namespace vck::node
