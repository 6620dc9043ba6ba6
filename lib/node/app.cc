#include "node/app.h"

#include <algorithm>
#include <optional>

#include <boost/asio/thread_pool.hpp>

#include "absl/strings/str_cat.h"
#include "async/task_group.h"
#include "async/wait.h"
#include "base/log.h"
#include "guestlink/links.h"
#include "kube/lease.h"
#include "node/guest_events.h"
#include "node/host.h"
#include "node/images.h"
#include "node/ipam.h"
#include "node/kube_side.h"
#include "node/kubelet_api.h"
#include "node/log_archive.h"
#include "node/node_controller.h"
#include "node/node_facts.h"
#include "node/node_stats.h"
#include "node/settings.h"
#include "node/spec_sync.h"
#include "node/status_reconciler.h"
#include "node/status_server.h"
#include "node/vcenter.h"
#include "node/vch_key.h"
#include "node/vm_reconciler.h"
#include "vch/keys.h"

namespace vck::node {

struct App::Impl {
  Impl(Executor e, Clock& c, Options o, Inputs i, const LogMemory& l)
      : executor(e),
        clock(c),
        options(std::move(o)),
        inputs(std::move(i)),
        log(l),
        pool(options.reconcilers.worker_threads) {}

  // In this order; vCenter has not been asked anything yet.
  Status Make();
  Status MakeNode();
  Status MakeGuests(const std::string& vch_key);
  Status MakeServers();
  void RegisterMetrics();
  // Once vCenter has answered.
  void MakeImages();
  void MakeArchive();
  void MakeReconcilers();
  void FollowVms();

  Task<Status> Run();
  Task<Status> Lead();
  Task<Status> RunVSphere();
  Task<Status> Work();
  Task<> EnqueueWhenSynced();
  Task<Status> KeepLogs();
  Task<Status> Watchdog(TaskGroup& group);
  Task<> Drain();

  NodeFacts Facts();
  std::optional<std::string> HostResolvConf();
  podvm::Allocatable Allocatable();
  PodEvents Events();
  void PodCidr(std::string_view cidr);
  void LookAtCapacity();
  void Enqueue(const std::string& uid);
  void EnqueueAll();
  Task<StatusOr<std::unique_ptr<http::BodyReader>>> OpenLog(std::string uid, std::string container, bool previous);

  Executor executor;
  Clock& clock;
  Options options;
  Inputs inputs;
  const LogMemory& log;
  asio::thread_pool pool;
  metrics::Registry registry;
  Event stop;
  Event stop_now;

  std::string host_ip;
  std::string cluster;  // its API server's host and port: the value of the cluster tag
  std::unique_ptr<KubeSide> kube;
  std::unique_ptr<VCenter> vcenter;
  std::unique_ptr<guestlink::Links> links;
  std::unique_ptr<http::Server> status_server;
  std::unique_ptr<KubeletApi> api;

  std::unique_ptr<NodeController> node;
  std::unique_ptr<NodeMeter> meter;
  std::unique_ptr<kube::NodeLease> lease;
  std::unique_ptr<SpecSync> spec_sync;
  std::unique_ptr<GuestEvents> guest_events;

  Ipam ipam;
  PodMemories memories;
  std::unique_ptr<flow::WorkQueue> vm_queue, status_queue;
  std::unique_ptr<Images> images;
  std::unique_ptr<LogArchive> archive;
  std::unique_ptr<VmReconciler> vm_reconciler;
  std::unique_ptr<StatusReconciler> status_reconciler;
};

// ---- parts ----

Status App::Impl::Make() {
  // Makes the state directory, too.
  ASSIGN_OR_RETURN(const std::string vch_key, LoadOrMakeVchKey(options.pod.state_dir));
  const http::Url& server = inputs.kube.server;
  cluster = server.HostPort();
  host_ip = options.kube.node_ip.empty() ? LocalAddressTowards(server.host, server.port) : options.kube.node_ip;
  ASSIGN_OR_RETURN(kube, KubeSide::Create(executor, clock, pool, options, inputs));
  ASSIGN_OR_RETURN(vcenter,
                   VCenter::Create(executor, clock, options.vcenter, options.pod.vch_id, inputs.vcenter_ca_pem));
  RETURN_IF_ERROR(MakeNode());
  RETURN_IF_ERROR(MakeGuests(vch_key));
  RETURN_IF_ERROR(MakeServers());
  RegisterMetrics();
  return absl::OkStatus();
}

Status App::Impl::MakeNode() {
  ASSIGN_OR_RETURN(NodeIdentity identity, IdentityOf(options, host_ip));
  meter = std::make_unique<NodeMeter>(clock, identity.name, identity.machine_id, identity.boot_id);
  node = std::make_unique<NodeController>(
      NodeController::Deps{.clock = clock,
                           .client = *kube->client,
                           .nodes = kube->nodes,
                           .registry = registry,
                           .facts =
                               [this] {
                                 NodeFacts facts = Facts();
                                 if (images) facts.images = images->List();
                                 return facts;
                               },
                           .pod_cidr = [this](std::string_view cidr) { PodCidr(cidr); },
                           .created = [this] { lease->Kick(); }},
      std::move(identity), ThresholdsOf(options));
  lease = std::make_unique<kube::NodeLease>(*kube->client, LeaseOf(options), [this] { return node->uid(); });
  if (options.pod.address_range.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(AddressRange range, ParseRange(options.pod.address_range));
  ipam.SetRange(range);
  return absl::OkStatus();
}

Status App::Impl::MakeGuests(const std::string& vch_key) {
  ASSIGN_OR_RETURN(links, guestlink::Links::Create(executor, clock, registry,
                                                   {.key_pem = vch_key,
                                                    .connect_timeout = options.pod.guest_connect_timeout,
                                                    .keepalive = options.pod.guest_keepalive,
                                                    .max_handshakes = options.pod.guest_handshakes}));
  vm_queue = std::make_unique<flow::WorkQueue>(clock, registry, QueueOf(options, "pod_vm"));
  status_queue = std::make_unique<flow::WorkQueue>(clock, registry, QueueOf(options, "pod_status"));
  spec_sync =
      std::make_unique<SpecSync>(executor, *kube->client,
                                 SpecSync::Deps{.changed = [this](const std::string& uid) { vm_queue->Add(uid); },
                                                .all_changed = [this] { EnqueueAll(); },
                                                .allocatable = [this] { return Allocatable(); },
                                                .events = Events()},
                                 SpecOf(options, host_ip, HostResolvConf()));
  kube->pods.Subscribe([this](const std::string& uid) {
    if (!kube->pods.Contains(uid)) spec_sync->Release(uid);
    Enqueue(uid);
  });
  guest_events = std::make_unique<GuestEvents>(
      clock, *links, kube->pods,
      [this](const kube::Object& pod, const std::string& container, bool warning, std::string reason,
             std::string message) { kube->Record(pod, warning, std::move(reason), std::move(message), container); });
  links->states().Subscribe([this](const std::string& uid) {
    guest_events->Look(uid);
    Enqueue(uid);
  });
  return absl::OkStatus();
}

Status App::Impl::MakeServers() {
  if (options.api.port != 0) {
    ASSIGN_OR_RETURN(api, KubeletApi::Create({.executor = executor,
                                              .clock = clock,
                                              .pool = pool,
                                              .client = *kube->client,
                                              .links = *links,
                                              .pods = kube->pods,
                                              .archive =
                                                  [this](std::string uid, std::string container, bool previous) {
                                                    return OpenLog(std::move(uid), std::move(container), previous);
                                                  },
                                              .registry = registry,
                                              .node_stats = [this] { return meter->Now(vcenter->KnownCapacity()); },
                                              .log = log},
                                             options, host_ip));
  }
  if (options.metrics_address.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(status_server, MakeStatusServer(executor, clock, options.metrics_address, registry,
                                                   [] { return absl::OkStatus(); }));
  return absl::OkStatus();
}

void App::Impl::RegisterMetrics() {
  registry.counter("vch_kubelet_build_info", "Always 1; the version is a label.", {{"version", VCK_VERSION}})
      .Increment();
  kube->RegisterMetrics(clock, registry);
  vcenter->RegisterMetrics(registry);
  registry.callback("vch_kubelet_addresses_free", "Pod addresses that are free.", {}, false,
                    [this] { return static_cast<double>(ipam.free()); });
}

void App::Impl::MakeImages() {
  VSphereSide& vsphere = *vcenter->side();
  Images::Deps deps{
      .executor = executor,
      .clock = clock,
      .pool = pool,
      .registry = registry,
      .calls = vsphere.calls,
      .placement = vsphere.placement,
      .vms = vsphere.index,
      .vch_id = options.pod.vch_id,
      .pull_secrets = [this](const kubeapi::PodView& pod) { return spec_sync->GetPullSecrets(pod); },
      .changed = [this](const std::string& uid) { vm_queue->Add(uid); },
      .event =
          [this](const std::string& uid, const std::string& container, const image::ImageEvent& event) {
            if (auto pod = kube->pods.Get(uid))
              kube->Record(*pod, event.warning, event.reason, event.message, container);
          },
      .node_event =
          [this](const image::ImageEvent& event) { kube->RecordNode(event.warning, event.reason, event.message); }};
  images = std::make_unique<Images>(std::move(deps), ImagesOf(options), inputs.registries);
}

void App::Impl::MakeArchive() {
  archive =
      std::make_unique<LogArchive>(LogArchive::Deps{.executor = executor,
                                                    .clock = clock,
                                                    .links = *links,
                                                    .files = vcenter->side()->logs,
                                                    .changed = [this](const std::string& uid) { vm_queue->Add(uid); }});
}

void App::Impl::MakeReconcilers() {
  VSphereSide& vsphere = *vcenter->side();
  FactSources facts{.clock = clock,
                    .pods = kube->pods,
                    .vms = vsphere.index,
                    .links = *links,
                    .memories = memories,
                    .vch_id = options.pod.vch_id,
                    .fresh = [&vsphere] { return vsphere.inventory.fresh(); }};
  vm_reconciler = std::make_unique<VmReconciler>(
      VmReconciler::Deps{
          .facts = facts,
          .nodes = kube->nodes,
          .ops = vsphere.ops,
          .ipam = ipam,
          .sync_spec = [this](const SpecSync::Pod& pod, PodMemory& memory) { spec_sync->Sync(pod, memory); },
          .settings =
              [this, &vsphere] {
                return PodVmOf(options, vsphere.placement, vsphere.inventory.capacity().MhzPerCore());
              },
          .images = &images->pods(),
          .archive = archive.get(),
          .events = Events()},
      VmReconcilerOf(options));
  status_reconciler = std::make_unique<StatusReconciler>(
      facts, *kube->client, host_ip, podvm::StatusOptions{.unreachable_after = options.pod.unreachable_after});
}

void App::Impl::FollowVms() {
  VSphereSide& vsphere = *vcenter->side();
  // Every address that is seen is held at once, before any key is worked on: pods whose turn comes later keep theirs.
  vsphere.index.Subscribe([this, &vsphere](const std::string& uid) {
    for (const auto& vm : vsphere.index.Find(uid)) {
      const vch::PodKey* key = vsphere.index.KeyOf(vm->vm.value);
      if (key == nullptr) continue;
      if (!key->pod_ip.empty()) ipam.Hold(uid, key->pod_ip);
      if (vsphere.tagger && !vsphere.tagger->Knows(vm->vm))
        vsphere.tagger->Want(vm->vm, {{std::string(vch::kNamespaceCategory), key->pod_namespace},
                                      {std::string(vch::kClusterCategory), cluster}});
    }
    Enqueue(uid);
  });
  vsphere.inventory.vms().Subscribe([&vsphere](const std::string& moid) {
    if (vsphere.tagger && !vsphere.inventory.vms().Contains(moid)) vsphere.tagger->Drop({"VirtualMachine", moid});
  });
  vsphere.inventory.OnFresh([this] {
    for (const auto& [uid, pod] : kube->pods.items()) Enqueue(uid);
  });
  vsphere.inventory.OnCapacity([this](const vsphere::Capacity&) { LookAtCapacity(); });
}

// ---- life cycle ----

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
  if (kube->certificate) group.Spawn("client certificate", kube->certificate->Run(*kube->client));
  if (options.election.enabled) {
    auto elector = std::make_shared<kube::LeaderElector>(*kube->election_client, ElectionOf(options));
    auto elect = [](std::shared_ptr<kube::LeaderElector> candidate, Executor ex, Impl* self) -> Task<Status> {
      co_return co_await candidate->Run(ex, [self] { return self->Lead(); });
    };
    group.Spawn("leader election", elect(elector, executor, this));
  } else {
    group.Spawn("kubelet", Lead());
  }
  Status status = co_await group.Join();
  co_await kube->Close(clock);
  co_await vcenter->Close();
  pool.join();
  Log(Severity::kInfo, "Stopped", {{"reason", status.ok() ? Status(absl::CancelledError("asked to")) : status}});
  co_return status;
}

Task<Status> App::Impl::Lead() {
  TaskGroup group(executor);
  kube->Spawn(group);
  group.Spawn("node", node->Run());
  group.Spawn("lease", lease->Run());
  group.Spawn("specs", spec_sync->Run());
  group.Spawn("links", links->Run());
  if (api) group.Spawn("kubelet API", api->Run());
  group.Spawn("vsphere session", vcenter->session().Run());
  group.Spawn("vsphere", RunVSphere());
  co_return co_await group.Join();
}

Task<Status> App::Impl::RunVSphere() {
  vcenter->session().OnHealth([this](const vsphere::Health&) { LookAtCapacity(); });
  co_await vcenter->Find([this] { node->Kick(); });
  MakeImages();
  MakeArchive();
  MakeReconcilers();
  FollowVms();
  Status status;
  bool aborted = false;
  try {
    status = co_await Work();
  } catch (const boost::system::system_error& e) {
    if (!IsCancelled(e)) throw;
    aborted = true;
  }
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  co_await vcenter->side()->calls.Drain(clock.Now());
  co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
  if (aborted) ThrowCancelled();
  co_return status;
}

Task<Status> App::Impl::Work() {
  VSphereSide& vsphere = *vcenter->side();
  TaskGroup group(executor);
  if (vsphere.tagger) group.Spawn("tags", vsphere.tagger->Run());
  group.Spawn("inventory", vsphere.inventory.Run());
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
  co_return co_await group.Join();
}

// Keys that came before both sides were known are looked at now, and so are VMs whose pods are gone.
Task<> App::Impl::EnqueueWhenSynced() {
  VSphereSide& vsphere = *vcenter->side();
  co_await kube->pods.WaitSynced();
  co_await vsphere.inventory.vms().WaitSynced();
  node->Kick();
  for (const auto& [uid, pod] : kube->pods.items()) Enqueue(uid);
  for (const std::string& uid : vsphere.index.PodUids()) vm_queue->Add(uid);
  Log(Severity::kInfo, "Pods and VMs are known",
      {{"pods", kube->pods.size()}, {"vms", vsphere.inventory.vms().size()}});
}

// What an earlier process has left can be judged once the pods are known.
Task<Status> App::Impl::KeepLogs() {
  co_await kube->pods.WaitSynced();
  co_return co_await archive->Run([this](const std::string& uid) { return kube->pods.Contains(uid); });
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
  if (VSphereSide* vsphere = vcenter->side()) co_await vsphere->calls.Drain(deadline);
}

// ---- what parts ask of each other ----

NodeFacts App::Impl::Facts() {
  const VSphereSide* vsphere = vcenter->side();
  const auto& range = ipam.range();
  return MakeNodeFacts({.health = vcenter->session().health(),
                        .placement_error = vcenter->error(),
                        .vsphere_version = vcenter->Version(),
                        // With the pods: what is allocatable depends on how many there are.
                        .inventory_synced = vsphere != nullptr && vsphere->inventory.synced() && kube->pods.Synced(),
                        .capacity = vsphere != nullptr ? &vsphere->inventory.capacity() : nullptr,
                        .pods = static_cast<int64_t>(kube->pods.size()),
                        .max_pods = options.pod.max_pods,
                        .addresses = range ? std::optional(range->size()) : std::nullopt,
                        .overhead = OverheadOf(options)});
}

// Of --resolv-conf.
std::optional<std::string> App::Impl::HostResolvConf() {
  if (options.pod.resolv_conf.empty()) return std::nullopt;
  auto text = ReadFile(options.pod.resolv_conf);
  if (!text.ok()) Log(Severity::kWarning, "There is no DNS configuration of the host's", {{"err", text.status()}});
  return text.value_or("");
}

podvm::Allocatable App::Impl::Allocatable() {
  const NodeFacts facts = Facts();
  return {.cpu_milli = facts.allocatable.cpu_millis,
          .memory_bytes = facts.allocatable.memory_bytes,
          .ephemeral_bytes = facts.allocatable.ephemeral_bytes};
}

PodEvents App::Impl::Events() {
  return {.event = [this](const kube::Object& pod, bool warning, std::string reason,
                          std::string message) { kube->Record(pod, warning, std::move(reason), std::move(message)); },
          .status_changed = [this](const std::string& uid) { status_queue->Add(uid); }};
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

void App::Impl::LookAtCapacity() {
  meter->Look(vcenter->KnownCapacity());
  node->Kick();
}

void App::Impl::Enqueue(const std::string& uid) {
  vm_queue->Add(uid);
  status_queue->Add(uid);
}

void App::Impl::EnqueueAll() {
  for (const auto& [uid, pod] : kube->pods.items()) vm_queue->Add(uid);
}

Task<StatusOr<std::unique_ptr<http::BodyReader>>> App::Impl::OpenLog(std::string uid, std::string container,
                                                                     bool previous) {
  if (!archive) co_return absl::UnavailableError("vCenter has not answered yet");
  co_return co_await archive->Open(std::move(uid), std::move(container), previous);
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
