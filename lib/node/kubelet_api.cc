#include "node/kubelet_api.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "async/backoff.h"
#include "async/task_group.h"
#include "base/log.h"
#include "http/server.h"
#include "kubeletapi/auth.h"
#include "kubeletapi/observer.h"
#include "kubeletapi/pod_directory.h"
#include "kubeletapi/reviews.h"
#include "kubeletapi/tls_source.h"
#include "node/configz.h"

namespace vck::node {
namespace {

// One for each stream and each client's idle connection.
constexpr int kMaxConnections = 8192;
// A command is in the target; as much as the kubelet takes.
constexpr size_t kMaxHeader = size_t{1024} * 1024;
// Bodies are forms of /run.
constexpr size_t kMaxBody = size_t{64} * 1024;

class KubeletApiImpl : public KubeletApi {
 public:
  KubeletApiImpl(Deps deps, const Options& options, std::unique_ptr<kubeletapi::TlsSource> tls)
      : deps_(std::move(deps)),
        options_(options.api),
        tls_(std::move(tls)),
        pods_(deps_.pods),
        reviews_(deps_.client, options.kube.node_name),
        cached_(deps_.clock, reviews_,
                {.token = options_.token_ttl,
                 .authorized = options_.authorized_ttl,
                 .unauthorized = options_.unauthorized_ttl}),
        auth_(cached_, {.tokens = options_.token_webhook}),
        observer_({.clock = deps_.clock,
                   .links = deps_.links,
                   .pods = pods_,
                   .registry = deps_.registry,
                   .node = deps_.node_stats,
                   .configz = ConfigzJson(options),
                   .flags = options.flags,
                   .version = VCK_VERSION,
                   .log = deps_.log}),
        api_({.clock = deps_.clock,
              .links = deps_.links,
              .pods = pods_,
              .auth = auth_,
              .archive = deps_.archive,
              .health = [this] { return Health(); },
              .observer = &observer_,
              .registry = &deps_.registry},
             {.idle_timeout = options_.streaming_idle}) {
    RegisterMetrics(options.kube.node_name);
    auth_.SetClientCa(tls_->state().client_ca);
    tls_->OnChange([this](const kubeletapi::TlsSource::State& state) {
      auth_.SetClientCa(state.client_ca);
      if (server_ != nullptr) server_->SetTls(state.tls);
    });
  }

  Task<Status> Run() override {
    if (!auth_.open()) {
      Log(Severity::kWarning,
          "The kubelet API lets nobody in: neither --client-ca-file nor --authentication-token-webhook is set");
    }
    TaskGroup group(deps_.executor);
    group.Spawn("certificates", tls_->Run(deps_.executor));
    group.Spawn("kubelet API", Serve(this));
    group.Spawn("figures of guests", observer_.Run());
    co_return co_await group.Join();
  }

 private:
  static Task<Status> Serve(KubeletApiImpl* self) {
    Backoff backoff({.initial = absl::Seconds(1), .max = absl::Seconds(10)});
    bool told = false;
    while (true) {
      http::ServerOptions options;
      options.address = self->options_.address;
      options.port = static_cast<uint16_t>(self->options_.port);
      options.tls = self->tls_->state().tls;
      options.idle_timeout = absl::Seconds(90);
      options.max_header_bytes = kMaxHeader;
      options.max_body_bytes = kMaxBody;
      options.max_connections = kMaxConnections;
      // A client that does not read (kubectl logs | less) is none that is gone.
      options.user_timeout = absl::ZeroDuration();
      auto server = http::Server::Listen(self->deps_.executor, self->deps_.clock, std::move(options),
                                         [self](http::Exchange& exchange) { return self->api_.Handle(exchange); });
      if (server.ok()) {
        self->server_ = *std::move(server);
        Log(Severity::kInfo, "Serving the kubelet API",
            {{"address", self->options_.address}, {"port", self->server_->port()}});
        co_return co_await self->server_->Run();
      }
      if (!absl::IsAlreadyExists(server.status())) {
        co_return Annotate(server.status(), absl::StrCat("--address ", self->options_.address));
      }
      if (!std::exchange(told, true)) {
        Log(Severity::kError, "The kubelet API cannot be served yet, will retry", {{"err", server.status()}});
      }
      co_await self->deps_.clock.Sleep(backoff.Next());
    }
  }

  // The kubelet's own, under its names.
  void RegisterMetrics(const std::string& node_name) {
    metrics::Registry& registry = deps_.registry;
    registry.gauge("kubelet_node_name", "The node's name. The count is always 1.", {{"node", node_name}}).Set(1);
    registry.callback("kubelet_certificate_manager_server_ttl_seconds",
                      "How long the serving certificate is still valid, negative once it is not.", {}, false,
                      [this] { return absl::ToDoubleSeconds(tls_->state().expires - deps_.clock.WallNow()); });
    registry.callback("kubelet_desired_pods", "Pods that the kubelet is to run.", {{"static", ""}}, false,
                      [this] { return static_cast<double>(deps_.pods.size()); });
    registry.callback(
        "kubelet_running_pods", "Pods whose guest has told of itself and has not finished.", {}, false, [this] {
          return static_cast<double>(
              CountGuests([](const guestapi::GuestState& guest) { return guest.sequence > 0 && !guest.finished; }));
        });
    using Phase = guestapi::ContainerState::Phase;
    for (const auto& [state, phase] : {std::pair{"created", Phase::kWaiting}, std::pair{"running", Phase::kRunning},
                                       std::pair{"exited", Phase::kTerminated}}) {
      registry.callback("kubelet_running_containers", "Containers of the pods' guests, by state.",
                        {{"container_state", state}}, false, [this, wanted = phase] {
                          int64_t count = 0;
                          CountGuests([&count, wanted](const guestapi::GuestState& guest) {
                            for (const auto& container : guest.containers) count += container.phase == wanted ? 1 : 0;
                            return false;
                          });
                          return static_cast<double>(count);
                        });
    }
  }

  template <class Fn>
  int64_t CountGuests(Fn&& fn) const {
    int64_t count = 0;
    for (const auto& [uid, link] : deps_.links.states().items()) count += fn(link->guest) ? 1 : 0;
    return count;
  }

  [[nodiscard]] Status Health() const {
    if (deps_.pods.Synced()) return absl::OkStatus();
    return absl::UnavailableError("the pods of this node have not been read yet");
  }

  Deps deps_;
  KubeletApiOptions options_;
  std::unique_ptr<kubeletapi::TlsSource> tls_;
  kubeletapi::StoreDirectory pods_;
  kubeletapi::KubeReviews reviews_;
  kubeletapi::CachedReviews cached_;
  kubeletapi::Auth auth_;
  kubeletapi::Observer observer_;
  kubeletapi::Api api_;
  std::unique_ptr<http::Server> server_;
};

}  // namespace

StatusOr<std::unique_ptr<KubeletApi>> KubeletApi::Create(Deps deps, const Options& options,
                                                         const std::string& node_ip) {
  const std::string& node_name = options.kube.node_name;
  kubeletapi::TlsSource::Options tls;
  tls.cert_file = options.api.cert_file;
  tls.key_file = options.api.key_file;
  tls.client_ca_file = options.api.client_ca_file;
  tls.request = options.api.rotate_certificates;
  tls.node_name = node_name;
  tls.dns_names = {node_name};
  if (!node_ip.empty()) tls.ip_addresses = {node_ip};
  tls.store_file = options.pod.state_dir + "/kubelet-serving.pem";
  auto source = kubeletapi::TlsSource::Create(deps.clock, deps.pool, &deps.client, std::move(tls));
  if (!source.ok()) return Annotate(source.status(), "--tls-cert-file, --tls-private-key-file, --client-ca-file");
  return std::make_unique<KubeletApiImpl>(std::move(deps), options, *std::move(source));
}

}  // namespace vck::node
