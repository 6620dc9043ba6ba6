#include "node/kube_side.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace vck::node {
namespace {

kube::ReflectorOptions WatchOptions(const KubeOptions& o, kube::ObjectRef collection, std::string_view field) {
  return {.collection = std::move(collection),
          .field_selector = absl::StrCat(field, "=", o.node_name),
          .streaming_list = o.streaming_list,
          .page_size = o.page_size};
}

kube::EventType TypeOf(bool warning) { return warning ? kube::EventType::kWarning : kube::EventType::kNormal; }

}  // namespace

StatusOr<std::unique_ptr<KubeSide>> KubeSide::Create(Executor executor, Clock& clock, asio::thread_pool& pool,
                                                     const Options& options, Inputs& inputs) {
  std::unique_ptr<kube::ClientCertificate> certificate;
  if (options.kube.rotate_certificates) {
    ASSIGN_OR_RETURN(certificate, kube::ClientCertificate::Adopt(
                                      clock, pool,
                                      {.node_name = options.kube.node_name,
                                       .store_file = options.pod.state_dir + "/kubelet-client-current.pem"},
                                      &inputs.kube));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<kube::Client> client, kube::Client::Create(executor, clock, pool, inputs.kube,
                                                                              {.qps = options.kube.qps,
                                                                               .burst = options.kube.burst,
                                                                               .http2 = options.kube.http2,
                                                                               .timeout = options.kube.timeout}));
  std::unique_ptr<kube::Client> election_client;
  if (options.election.enabled) {
    ASSIGN_OR_RETURN(election_client, kube::Client::Create(executor, clock, pool, *inputs.election, {}));
  }
  return std::make_unique<KubeSide>(std::move(certificate), std::move(client), std::move(election_client),
                                    options.kube);
}

KubeSide::KubeSide(std::unique_ptr<kube::ClientCertificate> own_certificate, std::unique_ptr<kube::Client> to_all,
                   std::unique_ptr<kube::Client> to_elect, const KubeOptions& options)
    : node_name(options.node_name),
      certificate(std::move(own_certificate)),
      client(std::move(to_all)),
      election_client(std::move(to_elect)),
      pod_sink(pods, kube::StoreSink::KeyBy::kUid),
      node_sink(nodes, kube::StoreSink::KeyBy::kName),
      pod_reflector(*client, pod_sink, WatchOptions(options, {kube::kPods, "", ""}, "spec.nodeName")),
      node_reflector(*client, node_sink, WatchOptions(options, {kube::kNodes, "", ""}, "metadata.name")),
      recorder(*client, {.host = options.node_name, .queue = static_cast<size_t>(options.event_queue)}) {}

void KubeSide::RegisterMetrics(Clock& clock, metrics::Registry& registry) const {
  registry.callback("vch_kubelet_pods", "Pods bound to the node.", {}, false,
                    [this] { return static_cast<double>(pods.size()); });
  registry.callback("vch_kubelet_events_dropped_total", "Events that a full queue dropped.", {}, true,
                    [this] { return static_cast<double>(recorder.stats().dropped); });
  registry.callback("vch_kubelet_events_queued", "Events that wait to be sent.", {}, false,
                    [this] { return static_cast<double>(recorder.queued()); });
  registry.callback(
      "kubelet_certificate_manager_client_ttl_seconds",
      "How long the node's client certificate is still valid, negative once it is not; +Inf: none that is renewed.", {},
      false, [this, &clock] {
        if (!certificate) return std::numeric_limits<double>::infinity();
        return absl::ToDoubleSeconds(certificate->expires() - clock.WallNow());
      });
  registry.callback("vch_kubelet_api_calls_total", "Requests sent to the API server.", {}, true, [this] {
    double n = 0;
    for (const auto& [what, count] : client->calls()) n += static_cast<double>(count);
    return n;
  });
}

void KubeSide::Spawn(TaskGroup& group) {
  group.Spawn("pods", pod_reflector.Run());
  group.Spawn("node watch", node_reflector.Run());
  group.Spawn("events", recorder.Run());
}

Task<> KubeSide::Close(Clock& clock) {
  co_await recorder.Flush(clock.Now() + absl::Seconds(2));
  co_await client->Close();
  if (election_client) co_await election_client->Close();
}

void KubeSide::Record(const kube::Object& pod, bool warning, std::string reason, std::string message,
                      const std::string& container) {
  kube::InvolvedObject object;
  object.ns = std::string(pod.ns());
  object.name = std::string(pod.name());
  object.uid = std::string(pod.uid());
  object.resource_version = std::string(pod.resource_version());
  if (!container.empty()) object.field_path = absl::StrCat("spec.containers{", container, "}");
  recorder.Event(object, TypeOf(warning), std::move(reason), std::move(message));
}

void KubeSide::RecordNode(bool warning, std::string reason, std::string message) {
  // By its name in place of a UID, as the kubelet: that is how kubectl describe looks for them.
  recorder.Event({.kind = "Node", .name = node_name, .uid = node_name}, TypeOf(warning), std::move(reason),
                 std::move(message));
}

}  // namespace vck::node
