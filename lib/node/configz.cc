#include "node/configz.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "json/json.h"
#include "node/node_object.h"

namespace vck::node {
namespace {

// As metav1.Duration is written: "2m0s".
std::string GoDuration(absl::Duration d) {
  const int64_t seconds = absl::ToInt64Seconds(d);
  if (seconds == 0 && d == absl::ZeroDuration()) return "0s";
  if (absl::Seconds(seconds) != d) return absl::FormatDuration(d);
  std::string out;
  if (seconds >= 3600) absl::StrAppend(&out, seconds / 3600, "h");
  if (seconds >= 60) absl::StrAppend(&out, seconds / 60 % 60, "m");
  absl::StrAppend(&out, seconds % 60, "s");
  return out;
}

json::Array List(std::string_view text) {
  json::Array out;
  for (std::string_view item : absl::StrSplit(text, ',', absl::SkipWhitespace())) out.emplace_back(item);
  return out;
}

void SetText(json::Object* out, std::string_view key, const std::string& value) {
  if (!value.empty()) (*out)[key] = value;
}

}  // namespace

std::string ConfigzJson(const Options& o) {
  json::Object x509;
  SetText(&x509, "clientCAFile", o.api.client_ca_file);
  json::Array taints;
  for (std::string_view text : absl::StrSplit(o.kube.taints, ',', absl::SkipWhitespace())) {
    auto taint = ParseTaint(text);
    if (!taint.ok()) continue;
    json::Object item{{"key", taint->key}, {"effect", taint->effect}};
    SetText(&item, "value", taint->value);
    taints.push_back(std::move(item));
  }
  json::Object out;
  out["kind"] = "KubeletConfiguration";
  out["apiVersion"] = "kubelet.config.k8s.io/v1beta1";
  out["enableServer"] = o.api.port != 0;
  out["address"] = o.api.address;
  out["port"] = o.api.port;
  SetText(&out, "tlsCertFile", o.api.cert_file);
  SetText(&out, "tlsPrivateKeyFile", o.api.key_file);
  out["rotateCertificates"] = o.kube.rotate_certificates;
  out["serverTLSBootstrap"] = o.api.cert_file.empty() && o.api.rotate_certificates;
  out["authentication"] = json::Object{
      {"x509", std::move(x509)},
      {"webhook", json::Object{{"enabled", o.api.token_webhook}, {"cacheTTL", GoDuration(o.api.token_ttl)}}},
      {"anonymous", json::Object{{"enabled", false}}}};
  out["authorization"] =
      json::Object{{"mode", "Webhook"},
                   {"webhook", json::Object{{"cacheAuthorizedTTL", GoDuration(o.api.authorized_ttl)},
                                            {"cacheUnauthorizedTTL", GoDuration(o.api.unauthorized_ttl)}}}};
  out["enableDebuggingHandlers"] = true;
  out["enableSystemLogHandler"] = true;  // /logs, which shows the daemon's own
  out["enableSystemLogQuery"] = true;
  out["registerNode"] = true;
  out["registerWithTaints"] = std::move(taints);
  out["nodeStatusReportFrequency"] = GoDuration(o.kube.status_report);
  out["nodeLeaseDurationSeconds"] = absl::ToInt64Seconds(o.kube.lease_duration);
  out["kubeAPIQPS"] = static_cast<int64_t>(o.kube.qps);
  out["kubeAPIBurst"] = static_cast<int64_t>(o.kube.burst);
  out["streamingConnectionIdleTimeout"] = GoDuration(o.api.streaming_idle);
  out["maxPods"] = o.pod.max_pods;
  SetText(&out, "clusterDomain", o.pod.cluster_domain);
  if (!o.pod.cluster_dns.empty()) out["clusterDNS"] = List(o.pod.cluster_dns);
  out["resolvConf"] = o.pod.resolv_conf;
  out["containerLogMaxSize"] = o.pod.log_max_size;
  out["containerLogMaxFiles"] = o.pod.log_max_files;
  if (!o.pod.unsafe_sysctls.empty()) out["allowedUnsafeSysctls"] = List(o.pod.unsafe_sysctls);
  out["serializeImagePulls"] = o.images.parallel_pulls == 1;
  out["maxParallelImagePulls"] = o.images.parallel_pulls;
  out["imageGCHighThresholdPercent"] = o.images.gc_high;
  out["imageGCLowThresholdPercent"] = o.images.gc_low;
  out["imageMinimumGCAge"] = GoDuration(o.images.gc_min_age);
  out["imageMaximumGCAge"] = GoDuration(o.images.gc_max_age);
  return json::Serialize(std::move(out));
}

}  // namespace vck::node
