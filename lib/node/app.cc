#include "node/app.h"

#include <algorithm>
#include <limits>
#include <optional>

#include <boost/asio/thread_pool.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "async/task_group.h"
#include "async/timeout.h"
#include "base/digest.h"
#include "base/log.h"
#include "guestlink/links.h"
#include "kube/client_certificate.h"
#include "kube/events.h"
#include "kube/kubeconfig.h"
#include "kube/lease.h"
#include "kube/reflector.h"
#include "kubeapi/quantity.h"
#include "node/datastore_logs.h"
#include "node/guest_events.h"
#include "node/host.h"
#include "node/images.h"
#include "node/ipam.h"
#include "node/kubelet_api.h"
#include "node/log_archive.h"
#include "node/node_controller.h"
#include "node/node_stats.h"
#include "node/spec_sync.h"
#include "node/status_reconciler.h"
#include "node/status_server.h"
#include "node/vch_key.h"
#include "node/vm_reconciler.h"
#include "node/vsphere_ops.h"
#include "vch/keys.h"
#include "vsphere/calls.h"
#include "vsphere/inventory.h"
#include "vsphere/session.h"
#include "vsphere/tags.h"

namespace vck::node {
namespace {

int64_t Bytes(const std::string& quantity) {
  auto parsed = kubeapi::Quantity::Parse(quantity);
  return parsed.ok() ? parsed->Value() : 0;
}
int64_t Milli(const std::string& quantity) {
  auto parsed = kubeapi::Quantity::Parse(quantity);
  return parsed.ok() ? parsed->MilliValue() : 0;
}

flow::WorkQueueOptions QueueOptions(const char* name, const ReconcilerOptions& r) {
  return {.name = name,
          .backoff = {.initial = r.retry_initial, .max = r.retry_max, .factor = 2, .jitter = 0.2},
          .retries_per_second = r.retry_qps,
          .retry_burst = r.retry_burst};
}

}  // namespace

// What exists once vCenter has answered for the first time.
struct VSphereSide {
  VSphereSide(Executor executor, Clock& clock, vsphere::Session& session, Placement place, const VCenterOptions& o,
              const std::string& vch_id, std::shared_ptr<http::Client> http)
      : placement(std::move(place)),
        inventory(clock, session,
                  {.folder = placement.folder,
                   .resource_pool = placement.pool,
                   .compute_resource = placement.compute,
                   .datastores = {placement.datastore},
                   .round = o.tick,
                   .tick = o.tick,
                   .relist = o.relist}),
        calls(executor, clock, session, inventory,
              {.concurrency = o.concurrency,
               .task_timeout = o.task_timeout,
               .power_on_batch = o.power_on_delay,
               .power_on_max = static_cast<size_t>(o.power_on_batch)}),
        index(inventory.vms(), vch_id),
        ops(calls, placement),
        rest(std::move(http), session),
        tags(rest) {
    if (o.tags) tagger.emplace(clock, tags);
  }
  Placement placement;
  vsphere::Inventory inventory;
  vsphere::Calls calls;
  VmIndex index;
  VSphereOps ops;
  vsphere::RestSession rest;
  vsphere::TagService tags;
  std::optional<vsphere::Tagger> tagger;
};

struct App::Impl {
  Impl(Executor e, Clock& c, Options o, Inputs i, const LogMemory& l)
      : executor(e),
        clock(c),
        options(std::move(o)),
        inputs(std::move(i)),
        log(l),
        pool(options.reconcilers.worker_threads) {}

  Task<Status> Run();
  Status Make();
  Task<Status> Lead();
  Task<Status> RunVSphere();
  Task<> EnqueueWhenSynced();
  Task<Status> Watchdog(TaskGroup& group);
  Task<> Drain();
  Task<> Logout();
  NodeFacts Facts();
  [[nodiscard]] const vsphere::Capacity* KnownCapacity() const;
  void PodCidr(std::string_view cidr);
  podvm::VmSettings Settings();
  podvm::Allocatable Allocatable();
  SpecSyncOptions SpecOptions();
  PodEvents Events();
  void EnqueueAll();
  void MakeImages();
  void MakeArchive();
  Task<Status> KeepLogs();
  Task<StatusOr<std::unique_ptr<http::BodyReader>>> OpenLog(std::string uid, std::string container, bool previous);
  void Record(const kube::Object& pod, bool warning, std::string reason, std::string message,
              const std::string& container = "");
  void RegisterMetrics();

  Executor executor;
  Clock& clock;
  Options options;
  Inputs inputs;
  const LogMemory& log;
  asio::thread_pool pool;
  metrics::Registry registry;
  Event stop;
  Event stop_now;

  std::unique_ptr<kube::ClientCertificate> client_certificate;  // null: not ours to renew
  std::unique_ptr<kube::Client> client;
  std::unique_ptr<kube::Client> election_client;
  std::shared_ptr<http::Client> vcenter_http;
  std::unique_ptr<vsphere::Session> session;
  std::unique_ptr<guestlink::Links> links;
  std::unique_ptr<http::Server> status_server;
  std::unique_ptr<KubeletApi> api;

  ObjectStore pods, nodes;
  std::unique_ptr<kube::StoreSink> pod_sink, node_sink;
  std::unique_ptr<kube::Reflector> pod_reflector, node_reflector;
  std::unique_ptr<kube::Recorder> recorder;
  std::unique_ptr<NodeController> node;
  std::unique_ptr<NodeMeter> meter;
  std::unique_ptr<kube::NodeLease> lease;
  std::unique_ptr<SpecSync> spec_sync;
  std::unique_ptr<GuestEvents> guest_events;
  std::string host_ip;
  std::string cluster;  // its API server's host and port: the value of the cluster tag

  Ipam ipam;
  PodMemories memories;
  std::unique_ptr<flow::WorkQueue> vm_queue, status_queue;
  std::string placement_error;
  std::optional<VSphereSide> vsphere;
  std::unique_ptr<Images> images;
  std::unique_ptr<vsphere::DatastoreFiles> files;
  std::unique_ptr<DatastoreLogs> log_files;
  std::unique_ptr<LogArchive> archive;
  std::unique_ptr<VmReconciler> vm_reconciler;
  std::unique_ptr<StatusReconciler> status_reconciler;
};

Status App::Impl::Make() {
  // Makes the state directory, too.
  ASSIGN_OR_RETURN(const std::string vch_key, LoadOrMakeVchKey(options.pod.state_dir));

  // ---- Kubernetes ----
  kube::RestConfig& rest = inputs.kube;
  cluster = rest.server.HostPort();
  host_ip =
      options.kube.node_ip.empty() ? LocalAddressTowards(rest.server.host, rest.server.port) : options.kube.node_ip;
  if (options.kube.rotate_certificates) {
    ASSIGN_OR_RETURN(client_certificate, kube::ClientCertificate::Adopt(
                                             clock, pool,
                                             {.node_name = options.kube.node_name,
                                              .store_file = options.pod.state_dir + "/kubelet-client-current.pem"},
                                             &rest));
  }
  ASSIGN_OR_RETURN(client, kube::Client::Create(executor, clock, pool, rest,
                                                {.qps = options.kube.qps,
                                                 .burst = options.kube.burst,
                                                 .http2 = options.kube.http2,
                                                 .timeout = options.kube.timeout}));
  if (options.election.enabled) {
    ASSIGN_OR_RETURN(election_client, kube::Client::Create(executor, clock, pool, *inputs.election, {}));
  }
  recorder = std::make_unique<kube::Recorder>(
      *client,
      kube::EventOptions{.host = options.kube.node_name, .queue = static_cast<size_t>(options.kube.event_queue)});
  pod_sink = std::make_unique<kube::StoreSink>(pods, kube::StoreSink::KeyBy::kUid);
  node_sink = std::make_unique<kube::StoreSink>(nodes, kube::StoreSink::KeyBy::kName);
  pod_reflector = std::make_unique<kube::Reflector>(
      *client, *pod_sink,
      kube::ReflectorOptions{.collection = {kube::kPods, "", ""},
                             .field_selector = absl::StrCat("spec.nodeName=", options.kube.node_name),
                             .streaming_list = options.kube.streaming_list,
                             .page_size = options.kube.page_size});
  node_reflector = std::make_unique<kube::Reflector>(
      *client, *node_sink,
      kube::ReflectorOptions{.collection = {kube::kNodes, "", ""},
                             .field_selector = absl::StrCat("metadata.name=", options.kube.node_name),
                             .streaming_list = options.kube.streaming_list,
                             .page_size = options.kube.page_size});
  NodeIdentity identity{.name = options.kube.node_name,
                        .vch_id = options.pod.vch_id,
                        .internal_ip = host_ip,
                        .kubelet_port = static_cast<uint16_t>(options.api.port),
                        .boot_id = FirstLine("/proc/sys/kernel/random/boot_id"),
                        .machine_id = FirstLine("/etc/machine-id")};
  ASSIGN_OR_RETURN(identity.labels, ParseLabels(options.kube.node_labels));
  for (std::string_view text : absl::StrSplit(options.kube.taints, ',', absl::SkipWhitespace())) {
    ASSIGN_OR_RETURN(Taint taint, ParseTaint(text));
    identity.taints.push_back(std::move(taint));
  }
  meter = std::make_unique<NodeMeter>(clock, identity.name, identity.machine_id, identity.boot_id);
  node = std::make_unique<NodeController>(
      NodeController::Deps{.clock = clock,
                           .client = *client,
                           .nodes = nodes,
                           .registry = registry,
                           .facts = [this] { return Facts(); },
                           .pod_cidr = [this](std::string_view cidr) { PodCidr(cidr); },
                           .created = [this] { lease->Kick(); }},
      std::move(identity),
      NodeThresholds{.datastore_free = options.kube.disk_pressure / 100,
                     .memory_free = options.kube.memory_pressure / 100,
                     .report_every = options.kube.status_report});
  lease = std::make_unique<kube::NodeLease>(*client,
                                            kube::NodeLeaseOptions{.node = options.kube.node_name,
                                                                   .duration = options.kube.lease_duration,
                                                                   .renew = options.kube.lease_duration / 4},
                                            [this] { return node->uid(); });

  // ---- vCenter ----
  ASSIGN_OR_RETURN(http::Url url, http::ParseUrl(options.vcenter.url));
  http::TlsOptions tls{
      .insecure = options.vcenter.insecure, .thumbprint = options.vcenter.thumbprint, .ca_pem = inputs.vcenter_ca_pem};
  http::ClientOptions http{.origin = url};
  if (url.scheme == "https") {
    auto context = http::TlsContext::Client(tls);
    if (!context.ok()) return Annotate(context.status(), "--vcenter-ca");
    http.tls = *context;
  }
  http.http2 = false;
  http.max_connections = options.vcenter.concurrency + 2;
  vcenter_http = http::Client::Create(executor, clock, http);
  vsphere::SessionOptions session_options;
  session_options.origin = url;
  if (!url.path.empty()) session_options.path = url.path;
  session_options.call_timeout = options.vcenter.call_timeout;
  session_options.keep_alive = options.vcenter.keepalive;
  session_options.credentials = [o = options.vcenter] { return VCenterCredentials(o); };
  session = std::make_unique<vsphere::Session>(clock, vcenter_http, session_options);

  // ---- guests ----
  ASSIGN_OR_RETURN(links, guestlink::Links::Create(executor, clock, registry,
                                                   {.key_pem = vch_key,
                                                    .connect_timeout = options.pod.guest_connect_timeout,
                                                    .keepalive = options.pod.guest_keepalive,
                                                    .max_handshakes = options.pod.guest_handshakes}));

  vm_queue = std::make_unique<flow::WorkQueue>(clock, registry, QueueOptions("pod_vm", options.reconcilers));
  status_queue = std::make_unique<flow::WorkQueue>(clock, registry, QueueOptions("pod_status", options.reconcilers));
  auto both = [this](const std::string& uid) {
    vm_queue->Add(uid);
    status_queue->Add(uid);
  };
  spec_sync =
      std::make_unique<SpecSync>(executor, *client,
                                 SpecSync::Deps{.changed = [this](const std::string& uid) { vm_queue->Add(uid); },
                                                .all_changed = [this] { EnqueueAll(); },
                                                .allocatable = [this] { return Allocatable(); },
                                                .events = Events()},
                                 SpecOptions());
  pods.Subscribe([this, both](const std::string& uid) {
    if (!pods.Contains(uid)) spec_sync->Release(uid);
    both(uid);
  });
  guest_events = std::make_unique<GuestEvents>(
      clock, *links, pods,
      [this](const kube::Object& pod, const std::string& container, bool warning, std::string reason,
             std::string message) { Record(pod, warning, std::move(reason), std::move(message), container); });
  links->states().Subscribe([this, both](const std::string& uid) {
    guest_events->Look(uid);
    both(uid);
  });
  if (!options.pod.address_range.empty()) {
    ASSIGN_OR_RETURN(AddressRange range, ParseRange(options.pod.address_range));
    ipam.SetRange(range);
  }
  if (options.api.port != 0) {
    ASSIGN_OR_RETURN(api, KubeletApi::Create({.executor = executor,
                                              .clock = clock,
                                              .pool = pool,
                                              .client = *client,
                                              .links = *links,
                                              .pods = pods,
                                              .archive =
                                                  [this](std::string uid, std::string container, bool previous) {
                                                    return OpenLog(std::move(uid), std::move(container), previous);
                                                  },
                                              .registry = registry,
                                              .node_stats = [this] { return meter->Now(KnownCapacity()); },
                                              .log = log},
                                             options, host_ip));
  }
  RegisterMetrics();
  if (!options.metrics_address.empty()) {
    ASSIGN_OR_RETURN(status_server, MakeStatusServer(executor, clock, options.metrics_address, registry,
                                                     [] { return absl::OkStatus(); }));
  }
  return absl::OkStatus();
}

void App::Impl::RegisterMetrics() {
  registry.counter("vch_kubelet_build_info", "Always 1; the version is a label.", {{"version", VCK_VERSION}})
      .Increment();
  auto value = [this](const char* name, const char* help, bool counter, std::function<double()> fn) {
    registry.callback(name, help, {}, counter, std::move(fn));
  };
  value("vch_kubelet_pods", "Pods bound to the node.", false, [this] { return static_cast<double>(pods.size()); });
  value("vch_kubelet_pod_vms", "VMs in the pod folder.", false,
        [this] { return vsphere ? static_cast<double>(vsphere->inventory.vms().size()) : 0; });
  value("vch_kubelet_addresses_free", "Pod addresses that are free.", false,
        [this] { return static_cast<double>(ipam.free()); });
  value("vch_kubelet_vcenter_calls_total", "Requests sent to vCenter.", true,
        [this] { return static_cast<double>(session->stats().calls); });
  value("vch_kubelet_vcenter_logins_total", "Logins at vCenter.", true,
        [this] { return static_cast<double>(session->stats().logins); });
  value("vch_kubelet_vcenter_up", "1 while vCenter answers.", false,
        [this] { return session->health().state == vsphere::Health::State::kOk ? 1.0 : 0.0; });
  value("vch_kubelet_inventory_rounds_total", "WaitForUpdatesEx rounds.", true,
        [this] { return vsphere ? static_cast<double>(vsphere->inventory.stats().rounds) : 0; });
  value("vch_kubelet_inventory_relists_total", "Full reads of the inventory.", true,
        [this] { return vsphere ? static_cast<double>(vsphere->inventory.stats().relists) : 0; });
  value("vch_kubelet_events_dropped_total", "Events that a full queue dropped.", true,
        [this] { return static_cast<double>(recorder->stats().dropped); });
  value("vch_kubelet_events_queued", "Events that wait to be sent.", false,
        [this] { return static_cast<double>(recorder->queued()); });
  value("kubelet_certificate_manager_client_ttl_seconds",
        "How long the node's client certificate is still valid, negative once it is not; +Inf: none that is renewed.",
        false, [this] {
          if (!client_certificate) return std::numeric_limits<double>::infinity();
          return absl::ToDoubleSeconds(client_certificate->expires() - clock.WallNow());
        });
  value("vch_kubelet_api_calls_total", "Requests sent to the API server.", true, [this] {
    double n = 0;
    for (const auto& [what, count] : client->calls()) n += static_cast<double>(count);
    return n;
  });
}

Task<Status> App::Impl::Run() {
  CO_RETURN_IF_ERROR(Make());
  Log(Severity::kInfo, "Starting",
      {{"version", VCK_VERSION}, {"node", options.kube.node_name}, {"vch", options.pod.vch_id}, {"nodeIP", host_ip}});
  if (options.vcenter.bootstrap_iso.empty()) {
    Log(Severity::kWarning,
        "There is no --bootstrap-iso: pod VMs have nothing to boot, so no pod becomes Ready unless guests are "
        "simulated");
  }
  TaskGroup group(executor);
  if (status_server) group.Spawn("status server", status_server->Run());
  group.Spawn("watchdog", Watchdog(group));
  // Also of a standby: it would take over with one that has expired.
  if (client_certificate) group.Spawn("client certificate", client_certificate->Run(*client));
  if (options.election.enabled) {
    kube::LeaderElectionOptions election{
        .ns = options.election.lease_namespace,
        .name = options.election.lease_name.empty() ? absl::StrCat("vch-kubelet-", options.kube.node_name)
                                                    : options.election.lease_name,
        .identity =
            options.election.identity.empty() ? absl::StrCat(HostName(), "_", RandomHex(4)) : options.election.identity,
        .lease_duration = options.election.lease_duration,
        .renew_deadline = options.election.renew_deadline,
        .retry_period = options.election.retry_period};
    auto elector = std::make_shared<kube::LeaderElector>(*election_client, election);
    auto elect = [](std::shared_ptr<kube::LeaderElector> candidate, Executor ex, Impl* self) -> Task<Status> {
      co_return co_await candidate->Run(ex, [self] { return self->Lead(); });
    };
    group.Spawn("leader election", elect(elector, executor, this));
  } else {
    group.Spawn("kubelet", Lead());
  }
  Status status = co_await group.Join();
  co_await recorder->Flush(clock.Now() + absl::Seconds(2));
  co_await Logout();
  co_await vcenter_http->Close();
  co_await client->Close();
  if (election_client) co_await election_client->Close();
  pool.join();
  Log(Severity::kInfo, "Stopped", {{"reason", status.ok() ? Status(absl::CancelledError("asked to")) : status}});
  co_return status;
}

// Sessions that nobody ends count against vCenter's limit until they expire.
Task<> App::Impl::Logout() {
  constexpr absl::Duration kTimeout = absl::Seconds(3);
  auto logout = [](auto& s) -> Task<Status> {
    co_await s.Logout();
    co_return absl::OkStatus();
  };
  if (vsphere) (void)co_await WithTimeout(clock, kTimeout, "REST logout", logout(vsphere->rest));
  (void)co_await WithTimeout(clock, kTimeout, "logout", logout(*session));
}

// Ends the group when asked to stop: first the intake, then what is in flight, then all.
Task<Status> App::Impl::Watchdog(TaskGroup& group) {
  co_await stop.Wait();
  Log(Severity::kInfo, "Stopping: draining operations in flight",
      {{"timeout", absl::FormatDuration(options.reconcilers.drain)}});
  // A second signal ends the drain.
  auto impatient = [](Event& now) -> Task<Status> {
    co_await now.Wait();
    co_return absl::CancelledError("asked twice");
  };
  TaskGroup drain(executor);
  auto drained = [](Impl* self, TaskGroup& both) -> Task<> {
    co_await self->Drain();
    both.Cancel();
  };
  drain.Spawn("impatience", impatient(stop_now));
  drain.Spawn("drain", drained(this, drain));
  (void)co_await drain.Join();
  group.Cancel();
  co_return absl::OkStatus();
}

Task<> App::Impl::Drain() {
  Instant deadline = clock.Now() + options.reconcilers.drain;
  vm_queue->ShutDown();
  status_queue->ShutDown();
  if (vsphere) co_await vsphere->calls.Drain(deadline);
}

Task<Status> App::Impl::Lead() {
  TaskGroup group(executor);
  group.Spawn("pods", pod_reflector->Run());
  group.Spawn("node watch", node_reflector->Run());
  group.Spawn("node", node->Run());
  group.Spawn("lease", lease->Run());
  group.Spawn("events", recorder->Run());
  group.Spawn("specs", spec_sync->Run());
  group.Spawn("links", links->Run());
  if (api) group.Spawn("kubelet API", api->Run());
  group.Spawn("vsphere session", session->Run());
  group.Spawn("vsphere", RunVSphere());
  co_return co_await group.Join();
}

Task<Status> App::Impl::RunVSphere() {
  session->OnHealth([this](const vsphere::Health&) {
    meter->Look(KnownCapacity());
    node->Kick();
  });
  // vCenter may be down, or its objects not there yet: tried for ever.
  Backoff backoff({.initial = absl::Seconds(1), .max = absl::Minutes(1)});
  while (true) {
    auto placement = co_await FindPlacement(*session, options.vcenter, options.pod.vch_id);
    if (placement.ok()) {
      placement_error.clear();
      vsphere.emplace(executor, clock, *session, *std::move(placement), options.vcenter, options.pod.vch_id,
                      vcenter_http);
      break;
    }
    if (placement_error != placement.status().message()) {
      placement_error = std::string(placement.status().message());
      Log(Severity::kError, "vCenter cannot be used yet, will retry", {{"err", placement.status()}});
      node->Kick();
    }
    co_await clock.Sleep(backoff.Next());
  }
  auto missing = co_await MissingPrivileges(*session, vsphere->placement);
  if (!missing.ok()) {
    Log(Severity::kInfo, "vCenter does not tell what its account may do here; what is missing shows when it is needed",
        {{"err", missing.status()}});
  } else if (!missing->empty()) {
    Log(Severity::kWarning, "The vCenter account lacks privileges that a VCH uses", {{"missing", *missing}});
  }
  FactSources facts{.clock = clock,
                    .pods = pods,
                    .vms = vsphere->index,
                    .links = *links,
                    .memories = memories,
                    .vch_id = options.pod.vch_id,
                    .fresh = [this] { return vsphere->inventory.fresh(); }};
  PodEvents events = Events();
  MakeImages();
  MakeArchive();
  VmReconcilerOptions vm_options;
  vm_options.vch_id = options.pod.vch_id;
  vm_options.node_name = options.kube.node_name;
  vm_options.tether_port = static_cast<uint16_t>(options.pod.tether_port);
  // Validate() has seen it.
  vm_options.sysctls =
      podvm::SysctlAllowlist::Make(absl::StrSplit(options.pod.unsafe_sysctls, ',', absl::SkipWhitespace())).value();
  vm_options.gateway = options.pod.gateway;
  if (!options.pod.dns.empty()) vm_options.dns = absl::StrSplit(options.pod.dns, ',');
  vm_options.orphan_interval = options.pod.orphan_interval;
  vm_options.create_unknown = options.vcenter.create_unknown;
  vm_options.power_on = {.initial = options.vcenter.power_on_retry_initial, .max = options.vcenter.power_on_retry_max};
  vm_options.plan.orphan_grace = options.pod.orphan_grace;
  vm_options.plan.boot_slack = options.pod.boot_slack;
  vm_options.plan.stop_slack = options.pod.stop_slack;
  vm_options.plan.halt_slack = options.pod.halt_slack;
  vm_options.plan.save_slack = options.pod.save_slack;
  vm_reconciler = std::make_unique<VmReconciler>(
      VmReconciler::Deps{
          .facts = facts,
          .nodes = nodes,
          .ops = vsphere->ops,
          .ipam = ipam,
          .sync_spec = [this](const SpecSync::Pod& pod, PodMemory& memory) { spec_sync->Sync(pod, memory); },
          .settings = [this] { return Settings(); },
          .images = &images->pods(),
          .archive = archive.get(),
          .events = events},
      vm_options);
  status_reconciler = std::make_unique<StatusReconciler>(
      facts, *client, host_ip, podvm::StatusOptions{.unreachable_after = options.pod.unreachable_after});
  // Every address that is seen is held at once, before any key is worked on: pods whose turn comes later keep theirs.
  vsphere->index.Subscribe([this](const std::string& uid) {
    for (const auto& vm : vsphere->index.Find(uid)) {
      const vch::PodKey* key = vsphere->index.KeyOf(vm->vm.value);
      if (key == nullptr) continue;
      if (!key->pod_ip.empty()) ipam.Hold(uid, key->pod_ip);
      if (vsphere->tagger && !vsphere->tagger->Knows(vm->vm))
        vsphere->tagger->Want(vm->vm, {{std::string(vch::kNamespaceCategory), key->pod_namespace},
                                       {std::string(vch::kClusterCategory), cluster}});
    }
    vm_queue->Add(uid);
    status_queue->Add(uid);
  });
  vsphere->inventory.vms().Subscribe([this](const std::string& moid) {
    if (vsphere->tagger && !vsphere->inventory.vms().Contains(moid)) vsphere->tagger->Drop({"VirtualMachine", moid});
  });
  vsphere->inventory.OnCapacity([this](const vsphere::Capacity&) {
    meter->Look(KnownCapacity());
    node->Kick();
  });

  TaskGroup group(executor);
  if (vsphere->tagger) group.Spawn("tags", vsphere->tagger->Run());
  group.Spawn("inventory", vsphere->inventory.Run());
  group.Spawn("images", images->Run());
  group.Spawn("logs of finished pods", KeepLogs());
  group.Spawn("first look", EnqueueWhenSynced());
  group.Spawn("pod_vm", flow::RunWorkers(
                            clock, *vm_queue,
                            {.workers = options.reconcilers.vm_workers, .deadline = options.vcenter.task_timeout * 2},
                            [this](std::string uid) { return vm_reconciler->Reconcile(std::move(uid)); }));
  group.Spawn("pod_status",
              flow::RunWorkers(clock, *status_queue,
                               {.workers = options.reconcilers.status_workers, .deadline = absl::Minutes(2)},
                               [this](std::string uid) { return status_reconciler->Reconcile(std::move(uid)); }));
  Status status;
  bool aborted = false;
  try {
    status = co_await group.Join();
  } catch (const boost::system::system_error& e) {
    if (!IsCancelled(e)) throw;
    aborted = true;
  }
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  co_await vsphere->calls.Drain(clock.Now());
  co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
  if (aborted) ThrowCancelled();
  co_return status;
}

// Keys that came before both sides were known are looked at now, and so are VMs whose pods are gone.
Task<> App::Impl::EnqueueWhenSynced() {
  co_await pods.WaitSynced();
  co_await vsphere->inventory.vms().WaitSynced();
  node->Kick();
  for (const auto& [uid, pod] : pods.items()) {
    vm_queue->Add(uid);
    status_queue->Add(uid);
  }
  for (const std::string& uid : vsphere->index.PodUids()) vm_queue->Add(uid);
  Log(Severity::kInfo, "Pods and VMs are known", {{"pods", pods.size()}, {"vms", vsphere->inventory.vms().size()}});
}

NodeFacts App::Impl::Facts() {
  NodeFacts facts;
  const vsphere::Health& health = session->health();
  facts.vcenter_refuses = !health.refusal.ok();
  facts.vcenter_ok = health.state == vsphere::Health::State::kOk && !facts.vcenter_refuses;
  facts.vcenter_connecting = health.state == vsphere::Health::State::kConnecting;
  if (!placement_error.empty()) {
    facts.vcenter_ok = false;
    facts.vcenter_message = placement_error;
  } else if (health.state == vsphere::Health::State::kOk && facts.vcenter_refuses) {
    facts.vcenter_message =
        absl::StrCat("invalid login; the session that there is goes on until it ends: ", health.refusal.message());
  } else if (!facts.vcenter_ok) {
    facts.vcenter_message =
        absl::StrCat(vsphere::HealthStateName(health.state), health.error.ok() ? "" : ": ", health.error.message());
  }
  facts.has_pod_range = ipam.range().has_value();
  if (session->epoch() != 0) {
    const auto& about = session->content().about;
    facts.vsphere_version = absl::StrCat(about.name, " ", about.version, " build-", about.build);
  }
  if (vsphere) {
    // With the pods: what is allocatable depends on how many there are.
    facts.inventory_synced = vsphere->inventory.synced() && pods.Synced();
    const vsphere::Capacity& c = vsphere->inventory.capacity();
    int64_t mhz = std::max<int64_t>(1, c.MhzPerCore());
    facts.capacity.cpu_millis = c.UsableCpuMhz() * 1000 / mhz;
    facts.capacity.memory_bytes = c.UsableMemoryMb() << 20;
    if (c.pool_used_memory_bytes >= 0 && facts.capacity.memory_bytes > 0) {
      facts.memory_free_ratio =
          1.0 - static_cast<double>(c.pool_used_memory_bytes) / static_cast<double>(facts.capacity.memory_bytes);
    }
    for (const auto& [moid, datastore] : c.datastores) {
      facts.capacity.ephemeral_bytes = datastore.capacity_bytes;
      facts.datastore_accessible = datastore.accessible;
      facts.datastore_free_ratio = datastore.capacity_bytes > 0 ? static_cast<double>(datastore.free_bytes) /
                                                                      static_cast<double>(datastore.capacity_bytes)
                                                                : 1.0;
    }
  }
  facts.capacity.pods = options.pod.max_pods;
  if (ipam.range()) facts.capacity.pods = std::min<int64_t>(facts.capacity.pods, ipam.range()->size());
  // What the guests' kernels and tethers need, if the node were full of pods, is not there for containers.
  facts.allocatable = facts.capacity;
  auto running = static_cast<int64_t>(pods.size());
  facts.allocatable.memory_bytes =
      std::max<int64_t>(0, facts.capacity.memory_bytes - running * Bytes(options.pod.memory_overhead));
  facts.allocatable.cpu_millis =
      std::max<int64_t>(0, facts.capacity.cpu_millis - running * Milli(options.pod.cpu_overhead));
  return facts;
}

// vCenter's figures of the node; null while they cannot be had.
const vsphere::Capacity* App::Impl::KnownCapacity() const {
  if (session->health().state != vsphere::Health::State::kOk || !vsphere || !vsphere->inventory.fresh()) return nullptr;
  return &vsphere->inventory.capacity();
}

void App::Impl::PodCidr(std::string_view cidr) {
  if (!options.pod.address_range.empty() || cidr.empty()) return;
  auto range = ParseRange(cidr);
  if (!range.ok()) {
    Log(Severity::kError, "The node's podCIDR cannot be used", {{"podCIDR", cidr}, {"err", range.status()}});
    return;
  }
  bool first = !ipam.range().has_value();
  ipam.SetRange(*range);
  if (first) EnqueueAll();
}

void App::Impl::EnqueueAll() {
  for (const auto& [uid, pod] : pods.items()) vm_queue->Add(uid);
}

void App::Impl::MakeImages() {
  Images::Deps deps{.executor = executor,
                    .clock = clock,
                    .pool = pool,
                    .registry = registry,
                    .calls = vsphere->calls,
                    .placement = vsphere->placement,
                    .vms = vsphere->index,
                    .vch_id = options.pod.vch_id,
                    .pull_secrets = [this](const kubeapi::PodView& pod) { return spec_sync->GetPullSecrets(pod); },
                    .changed = [this](const std::string& uid) { vm_queue->Add(uid); },
                    .event =
                        [this](const std::string& uid, const std::string& container, const image::ImageEvent& event) {
                          if (auto pod = pods.Get(uid))
                            Record(*pod, event.warning, event.reason, event.message, container);
                        },
                    .node_event =
                        [](const image::ImageEvent& event) {
                          Log(event.warning ? Severity::kWarning : Severity::kInfo, event.message,
                              {{"reason", event.reason}});
                        }};
  std::string work_dir = options.images.work_dir;
  if (work_dir.empty()) work_dir = absl::StrCat(options.pod.state_dir, "/images");
  images = std::make_unique<Images>(std::move(deps), options.images, inputs.registries, std::move(work_dir));
}

void App::Impl::MakeArchive() {
  const Placement& placement = vsphere->placement;
  files = std::make_unique<vsphere::DatastoreFiles>(vsphere->calls, placement.datacenter, placement.datacenter_path);
  log_files =
      std::make_unique<DatastoreLogs>(*files, placement.datastore, placement.datastore_name, options.pod.vch_id);
  archive =
      std::make_unique<LogArchive>(LogArchive::Deps{.executor = executor,
                                                    .clock = clock,
                                                    .links = *links,
                                                    .files = *log_files,
                                                    .changed = [this](const std::string& uid) { vm_queue->Add(uid); }});
}

Task<StatusOr<std::unique_ptr<http::BodyReader>>> App::Impl::OpenLog(std::string uid, std::string container,
                                                                     bool previous) {
  if (!archive) co_return absl::UnavailableError("vCenter has not answered yet");
  co_return co_await archive->Open(std::move(uid), std::move(container), previous);
}

// What an earlier process has left can be judged once the pods are known.
Task<Status> App::Impl::KeepLogs() {
  co_await pods.WaitSynced();
  co_return co_await archive->Run([this](const std::string& uid) { return pods.Contains(uid); });
}

podvm::Allocatable App::Impl::Allocatable() {
  const NodeFacts facts = Facts();
  return {.cpu_milli = facts.allocatable.cpu_millis,
          .memory_bytes = facts.allocatable.memory_bytes,
          .ephemeral_bytes = facts.allocatable.ephemeral_bytes};
}

SpecSyncOptions App::Impl::SpecOptions() {
  const PodOptions& o = options.pod;
  SpecSyncOptions spec{.node_name = options.kube.node_name,
                       .host_ip = host_ip,
                       .dns = {.cluster_dns = absl::StrSplit(o.cluster_dns, ',', absl::SkipEmpty()),
                               .cluster_domain = o.cluster_domain,
                               .host = std::nullopt},
                       .log_max_bytes = Bytes(o.log_max_size),
                       .log_max_files = o.log_max_files,
                       .streaming_list = options.kube.streaming_list,
                       .page_size = options.kube.page_size};
  if (!o.resolv_conf.empty()) {
    auto text = ReadFile(o.resolv_conf);
    if (!text.ok()) Log(Severity::kWarning, "There is no DNS configuration of the host's", {{"err", text.status()}});
    spec.dns.host = podvm::ParseResolvConf(text.value_or(""));
  }
  if (!o.dns.empty()) {
    if (!spec.dns.host) spec.dns.host.emplace();
    spec.dns.host->servers = absl::StrSplit(o.dns, ',');
  }
  return spec;
}

PodEvents App::Impl::Events() {
  return {.event = [this](const kube::Object& pod, bool warning, std::string reason,
                          std::string message) { Record(pod, warning, std::move(reason), std::move(message)); },
          .status_changed = [this](const std::string& uid) { status_queue->Add(uid); }};
}

podvm::VmSettings App::Impl::Settings() {
  podvm::VmSettings s;
  const Placement& p = vsphere->placement;
  s.guest_id = p.guest_id;
  s.hardware_version = p.hardware_version;
  s.network = p.network;
  s.datastore = p.datastore_name;
  s.iso_path = options.vcenter.bootstrap_iso;
  s.cpu_mhz_per_core = std::max<int64_t>(1, vsphere->inventory.capacity().MhzPerCore());
  s.default_memory_bytes = Bytes(options.pod.default_memory);
  s.default_cpu_milli = Milli(options.pod.default_cpu);
  s.default_ephemeral_bytes = Bytes(options.pod.default_ephemeral_storage);
  s.guest_overhead_bytes = Bytes(options.pod.memory_overhead);
  return s;
}

void App::Impl::Record(const kube::Object& pod, bool warning, std::string reason, std::string message,
                       const std::string& container) {
  kube::InvolvedObject object;
  object.ns = std::string(pod.ns());
  object.name = std::string(pod.name());
  object.uid = std::string(pod.uid());
  object.resource_version = std::string(pod.resource_version());
  if (!container.empty()) object.field_path = absl::StrCat("spec.containers{", container, "}");
  recorder->Event(object, warning ? kube::EventType::kWarning : kube::EventType::kNormal, std::move(reason),
                  std::move(message));
}

App::App(Executor executor, Clock& clock, Options options, Inputs inputs, const LogMemory& log)
    : impl_(std::make_unique<Impl>(executor, clock, std::move(options), std::move(inputs), log)) {}
App::~App() = default;
Task<Status> App::Run() { return impl_->Run(); }
void App::Stop() {
  if (impl_->stop.IsSet()) impl_->stop_now.Set();
  impl_->stop.Set();
}

}  // namespace vck::node
