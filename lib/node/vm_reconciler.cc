#include "node/vm_reconciler.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/digest.h"
#include "base/log.h"
#include "guestapi/identity.h"
#include "json/json.h"
#include "kubeapi/node_view.h"
#include "vch/names.h"
#include "vimtypes/faults.h"

namespace vck::node {

struct VmReconciler::Look {
  std::string uid;
  PodMemory* memory = nullptr;
  PodFacts facts;
  podvm::PlanInputs in;
  std::string ip;
  std::optional<podvm::ImageDisks> disks;  // of a VM that is to be made, or to be added to the one that there is
  std::vector<vch::PodImage> images;       // what the disks of the VM hold
  [[nodiscard]] const kubeapi::PodView* pod() const { return facts.pod ? &*facts.pod : nullptr; }
};

VmReconciler::VmReconciler(Deps deps, VmReconcilerOptions options)
    : deps_(std::move(deps)), options_(std::move(options)) {}

Task<StatusOr<flow::Result>> VmReconciler::Reconcile(std::string uid) {
  StatusOr<flow::Result> result = co_await Run(uid);
  if (result.ok() || !vimtypes::NeedsPeople(result.status())) co_return result;
  // What changes meanwhile enqueues the key as ever.
  const absl::Duration delay = SlowRetry();
  Log(Severity::kWarning, "vCenter refuses, will retry slowly",
      {{"key", uid}, {"retry", absl::FormatDuration(delay)}, {"err", result.status()}});
  co_return flow::Result{.requeue_after = delay};
}

absl::Duration VmReconciler::SlowRetry() { return options_.slow_retry * (0.8 + 0.4 * NextRandom(jitter_)); }

Task<StatusOr<flow::Result>> VmReconciler::Run(std::string uid) {
  // Before both sides are known, absence means nothing; their first full set enqueues every key again.
  if (!deps_.facts.pods.Synced() || !deps_.facts.vms.Synced()) co_return flow::Result{};
  Look look;
  look.uid = uid;
  CO_RETURN_IF_ERROR(Prepare(look));
  if (look.facts.object == nullptr && look.facts.records.empty() && !look.memory->creating && !look.memory->created) {
    Forget(uid);
    co_return flow::Result{};
  }
  if (look.memory->creating) {
    CO_RETURN_IF_ERROR(co_await SettleUnknownCreate(look));
    look.in.vm.create_in_flight = look.memory->creating || look.memory->created.has_value();
  }
  absl::Time now = look.in.now;
  // An orphan is one only at the second sighting: the first may be a store that lags.
  if (look.facts.object == nullptr && !look.in.vm.synced) co_return flow::Result{.requeue_after = absl::Seconds(5)};
  if (look.facts.object == nullptr) {
    if (!look.memory->orphan_since) look.memory->orphan_since = now;
    absl::Duration left = *look.memory->orphan_since + options_.orphan_interval - now;
    if (left > absl::ZeroDuration()) co_return flow::Result{.requeue_after = left};
  } else {
    look.memory->orphan_since.reset();
  }
  podvm::Plan plan = podvm::PlanVm(look.in, options_.plan);
  if (LogEnabled(2)) {
    std::string steps;
    for (const auto& action : plan.actions)
      absl::StrAppend(&steps, steps.empty() ? "" : ",", podvm::ActionName(action.kind));
    LogV(2, "Planned", {{"uid", uid}, {"vm", plan.vm.value}, {"steps", steps}, {"wait", plan.wait}});
  }
  if (!plan.warning.empty()) Warn(look, plan.warning_reason, plan.warning);
  if (plan.gone) {
    Forget(uid);
    deps_.events.status_changed(uid);
    co_return flow::Result{};
  }
  Link(look, plan);
  for (const podvm::Action& action : plan.actions) CO_RETURN_IF_ERROR(co_await Act(look, action));
  flow::Result result;
  if (plan.requeue_at) result.requeue_after = std::max(*plan.requeue_at - now, absl::Milliseconds(1));
  // An outage of vCenter: its end changes nothing that would enqueue this key.
  if (!look.in.vm.synced) {
    result.requeue_after = std::min(result.requeue_after.value_or(absl::Seconds(5)), absl::Seconds(5));
  }
  // Effects are seen through the inventory; this is for the case that nothing changes there.
  if (!plan.actions.empty())
    result.requeue_after = std::min(result.requeue_after.value_or(absl::Seconds(10)), absl::Seconds(10));
  if (look.memory->create_not_before && look.in.vm.vms.empty() && *look.memory->create_not_before > now) {
    absl::Duration left = *look.memory->create_not_before - now;
    result.requeue_after = std::min(result.requeue_after.value_or(left), left);
  }
  if (look.memory->creating || look.memory->created)
    result.requeue_after = std::min(result.requeue_after.value_or(absl::Seconds(5)), absl::Seconds(5));
  co_return result;
}

Status VmReconciler::Prepare(Look& look) {
  auto& slot = deps_.facts.memories[look.uid];
  if (!slot) {
    slot = std::make_unique<PodMemory>();
    slot->since = deps_.facts.clock.Now();
  }
  look.memory = slot.get();
  PodMemory& memory = *look.memory;
  ASSIGN_OR_RETURN(look.facts, GatherFacts(deps_.facts, look.uid, deps_.facts.pods.Get(look.uid), look.memory));
  podvm::PlanInputs& in = look.in;
  in.now = deps_.facts.clock.WallNow();
  // A VM of ours in the inventory settles what became of a create.
  if (std::any_of(look.facts.vm.vms.begin(), look.facts.vm.vms.end(), [](const auto& v) { return v.ours; })) {
    memory.creating = false;
    memory.create_unknown_since.reset();
    memory.created.reset();
  }
  // Created and still not in the inventory: it was destroyed at once, or an update was lost and a relist will tell.
  if (memory.created && in.now - memory.created_at > absl::Minutes(1)) memory.created.reset();
  look.facts.vm.create_in_flight = memory.creating || memory.created.has_value();
  look.ip = look.facts.ip;
  if (!look.ip.empty()) deps_.ipam.Hold(look.uid, look.ip);
  in.pod = look.pod();
  in.pods_synced = true;
  in.vm = look.facts.vm;
  in.guest = look.facts.guest;
  if (in.guest.known() && in.guest.state->finished) {
    if (!memory.finished_since) memory.finished_since = in.now;
  } else {
    memory.finished_since.reset();
  }
  const podvm::VmSighting* sighting = podvm::ChooseVm(in.vm);
  if (sighting == nullptr || sighting->vm->power != vimtypes::PowerState::kOn ||
      guestapi::DecodeAnnouncement(sighting->vm->guest_key).ok()) {
    memory.booting_since.reset();
  } else if (!memory.booting_since) {
    memory.booting_since = in.now;
  }
  // A VM that stays on has overcome whatever kept it off.
  if (in.guest.connected) memory.power_failures = 0, memory.power_on_not_before.reset();
  if (in.pod != nullptr) {
    if (kubeapi::IsTerminal(in.pod->phase())) {
      GiveBack(memory);
      if (deps_.images != nullptr) deps_.images->Release(look.uid);
      if (!memory.final_since) memory.final_since = in.now;
      in.logs_saved = deps_.archive == nullptr || deps_.archive->Saved(look.uid);
    } else if (in.vm.vms.empty()) {
      AdmitPod(look);
    } else {
      memory.admitted = true;
      WantMoreImages(look);
    }
    if (memory.admitted && !kubeapi::IsTerminal(in.pod->phase())) Count(look);
    KeepSpecWhileNeeded(look);
    Resolve(look);
  }
  in.may_create = memory.admitted && memory.waits_for().admitted() && (deps_.images == nullptr || look.disks);
  in.may_not_reason = memory.waits_for().message;
  if (in.may_create && memory.create_not_before && *memory.create_not_before > in.now) {
    in.may_create = false;
    in.may_not_reason = "BackOff";
  }
  in.images_to_add = !in.vm.vms.empty() && look.disks && !look.disks->images.empty();
  in.spec_revision = memory.lacks_spec() ? 0 : memory.spec_revision;
  in.pushed_revision = memory.pushed_revision;
  in.booting_since = memory.booting_since;
  in.stop_since = memory.stop_since;
  in.finished_since = memory.finished_since;
  in.final_since = memory.final_since;
  in.power_on_not_before = memory.power_on_not_before;
  return absl::OkStatus();
}

// Each time, because a resize changes what it takes.
void VmReconciler::Count(Look& look) {
  usage_ -= look.memory->usage;
  look.memory->usage = podvm::NodeUsage::Of(*look.pod());
  usage_ += look.memory->usage;
}

void VmReconciler::AdmitPod(Look& look) {
  PodMemory& memory = *look.memory;
  if (look.pod()->deleting() || kubeapi::IsTerminal(look.pod()->phase())) return;
  podvm::Verdict before = memory.verdict;
  if (!memory.admitted) {
    std::shared_ptr<const json::Document> document;
    std::optional<kubeapi::NodeView> node;
    if (auto object = deps_.nodes.Get(options_.node_name)) {
      if (auto parsed = deps_.facts.documents->Get(object); parsed.ok()) {
        document = *std::move(parsed);
        node.emplace(document->root());
      }
    }
    podvm::AdmissionInputs inputs;
    inputs.pod = look.pod();
    inputs.node = node ? &*node : nullptr;
    inputs.used = usage_;
    inputs.tether_port = options_.tether_port;
    inputs.sysctls = &options_.sysctls;
    memory.verdict = podvm::Admit(inputs);
    memory.admitted = memory.verdict.admitted();
  }
  // Without a fresh inventory it is not known which addresses are taken.
  if (memory.admitted && look.in.vm.synced) {
    memory.verdict = {};
    auto ip = deps_.ipam.Allocate(look.uid);
    look.in.address_available = ip.ok();
    if (ip.ok()) {
      look.ip = *ip;
    } else {
      memory.verdict = podvm::Verdict::Wait("ContainerCreating", std::string(ip.status().message()));
    }
    WantImages(look);
  }
  if (!memory.verdict.admitted() && memory.verdict.message != memory.last_warning) {
    memory.last_warning = memory.verdict.message;
    deps_.events.event(
        *look.facts.object, true,
        memory.verdict.kind == podvm::Verdict::Kind::kReject ? memory.verdict.reason : "FailedCreatePodSandBox",
        memory.verdict.message);
  }
  if (before.message != memory.verdict.message || before.kind != memory.verdict.kind)
    deps_.events.status_changed(look.uid);
}

// A pull is never awaited: its end enqueues the pod.
void VmReconciler::WantImages(Look& look) {
  if (deps_.images == nullptr) return;
  PodMemory& memory = *look.memory;
  const auto before = memory.image_waits;
  auto disks = deps_.images->Want(*look.pod(), memory);
  if (disks.ok()) {
    look.disks = *std::move(disks);
  } else {
    memory.verdict = podvm::Verdict::Wait("ContainerCreating", std::string(disks.status().message()));
  }
  if (memory.image_waits != before) deps_.events.status_changed(look.uid);
}

void VmReconciler::WantMoreImages(Look& look) {
  PodMemory& memory = *look.memory;
  // A VM says what its disks hold.
  for (const auto& vm : look.facts.records) {
    const vch::PodKey* key = deps_.facts.vms.KeyOf(vm->vm.value);
    if (key == nullptr) continue;
    auto parsed = vch::ParseImages(key->images);
    if (!parsed.ok()) continue;
    look.images = *std::move(parsed);
    break;
  }
  if (deps_.images == nullptr || look.images.empty()) return;
  // Nothing of it will be started any more.
  if (look.pod()->deleting()) return deps_.images->Release(look.uid);
  const auto before = memory.image_waits;
  PodImages::More more = deps_.images->WantMore(*look.pod(), look.images, memory);
  look.disks = std::move(more.disks);
  if (!more.room.ok()) Warn(look, "Failed", std::string(more.room.message()));
  if (memory.image_waits != before) deps_.events.status_changed(look.uid);
}

void VmReconciler::KeepSpecWhileNeeded(Look& look) {
  PodMemory& memory = *look.memory;
  if (!look.in.guest.known() || memory.spec_revision == 0) return;
  if (look.in.guest.state->spec_revision >= memory.spec_revision) {
    memory.spec.reset();
  } else if (memory.spec == nullptr) {
    // The guest had it, and lost it with its disk: made and pushed once more.
    memory.spec_source.clear();
    memory.pushed_revision = 0;
  }
}

void VmReconciler::Resolve(Look& look) {
  std::vector<std::pair<std::string, std::string>> images;
  images.reserve(look.images.size());
  for (const vch::PodImage& image : look.images) images.emplace_back(image.reference, image.id);
  deps_.sync_spec({.object = *look.facts.object,
                   .view = *look.pod(),
                   .ip = look.ip,
                   .images = std::move(images),
                   .now = look.in.now},
                  *look.memory);
}

void VmReconciler::Link(Look& look, const podvm::Plan& plan) {
  const vimtypes::VmRecord* vm = nullptr;
  for (const auto& candidate : look.facts.records) {
    if (candidate->vm == plan.vm) vm = candidate.get();
  }
  if (plan.link == podvm::Plan::Link::kDisconnect) {
    if (look.facts.link != nullptr) deps_.facts.links.Disconnect(look.uid);
    return;
  }
  if (plan.link == podvm::Plan::Link::kKeep || vm == nullptr) return;
  auto announcement = guestapi::DecodeAnnouncement(vm->guest_key);
  if (!announcement.ok()) return;  // not up yet, or rebooting: the old channel breaks by itself
  const vch::PodKey* key = deps_.facts.vms.KeyOf(vm->vm.value);
  std::string address = key != nullptr && !key->pod_ip.empty() ? key->pod_ip : vm->guest_ip;
  if (address.empty()) return;
  deps_.facts.links.Connect(look.uid, {.vm = vm->vm.value,
                                       .address = std::move(address),
                                       .port = options_.tether_port,
                                       .guest = *std::move(announcement)});
}

Task<Status> VmReconciler::Act(Look& look, const podvm::Action& action) {
  using Kind = podvm::Action::Kind;
  PodMemory& memory = *look.memory;
  switch (action.kind) {
    case Kind::kCreateVm:
      co_return co_await Create(look);
    case Kind::kPowerOn: {
      Status status = co_await deps_.ops.PowerOn(action.vm);
      if (vimtypes::IsGone(status)) co_return absl::OkStatus();
      // A VM that does not come on, or does not stay on, is tried again ever more slowly.
      ++memory.power_failures;
      memory.power_on_not_before =
          deps_.facts.clock.WallNow() + Backoff::Delay(options_.power_on, memory.power_failures);
      if (!status.ok())
        Warn(look, "FailedCreatePodSandBox", absl::StrCat("could not power the pod VM on: ", status.message()));
      co_return status;
    }
    case Kind::kAddImages:
      co_return co_await AddImages(look, action.vm);
    case Kind::kPushSpec:
      if (memory.spec) {
        deps_.facts.links.Push(look.uid, memory.spec);
        memory.pushed_revision = memory.spec->revision;
      }
      co_return absl::OkStatus();
    case Kind::kAskStop:
      if (!memory.stop_since) {
        memory.stop_since = deps_.facts.clock.WallNow();
        if (look.facts.object != nullptr)
          deps_.events.event(*look.facts.object, false, "Killing", "Stopping containers and the pod VM");
      }
      if (!memory.asked_grace || action.grace < *memory.asked_grace || memory.asked_to_stay_on != action.stay_on) {
        memory.asked_grace = std::min(action.grace, memory.asked_grace.value_or(action.grace));
        memory.asked_to_stay_on = action.stay_on;
        deps_.facts.links.Stop(look.uid,
                               {.grace_seconds = absl::ToInt64Seconds(*memory.asked_grace),
                                .reason = look.pod() != nullptr && !look.pod()->deleting() ? "ended" : "deleted",
                                .stay_on = action.stay_on});
      }
      co_return absl::OkStatus();
    case Kind::kSaveLogs:
      if (deps_.archive != nullptr) deps_.archive->Save(look.uid, *look.in.guest.state);
      co_return absl::OkStatus();
    case Kind::kHaltGuest:
      deps_.facts.links.PowerOff(look.uid);
      co_return absl::OkStatus();
    case Kind::kPowerOff: {
      if (!memory.stop_since && (look.facts.object == nullptr || look.pod()->deleting()))
        memory.stop_since = deps_.facts.clock.WallNow();
      Status status = co_await deps_.ops.PowerOff(action.vm);
      co_return vimtypes::IsGone(status) ? absl::OkStatus() : status;
    }
    case Kind::kDestroy: {
      deps_.facts.links.Disconnect(look.uid);
      Status status = co_await deps_.ops.Destroy(action.vm);
      co_return vimtypes::IsGone(status) ? absl::OkStatus() : status;
    }
    case Kind::kAnswerQuestion:
      co_return co_await deps_.ops.Answer(action.vm, action.question_id, action.choice);
  }
  co_return absl::InternalError("unknown action");
}

Task<Status> VmReconciler::Create(Look& look) {
  PodMemory& memory = *look.memory;
  if (look.ip.empty()) co_return absl::FailedPreconditionError("no address for the pod");
  podvm::VmSettings settings = deps_.settings();
  const bool scratch = podvm::SizeOf(*look.pod(), settings).scratch_bytes > 0;
  const podvm::ImageDisks images = look.disks.value_or(podvm::ImageDisks{});
  const auto& range = deps_.ipam.range();
  guestapi::BootConfig boot{.pod_uid = look.uid,
                            .host_name = std::string(look.pod()->hostname()),
                            .address = absl::StrCat(look.ip, "/", range ? range->prefix : 32),
                            .gateway = !options_.gateway.empty() ? options_.gateway
                                       : range                   ? FormatIp(range->gateway)
                                                                 : "",
                            .dns = options_.dns,
                            .scratch_unit = scratch ? guestapi::UnitOfDisk(images.disks.size()) : -1,
                            .port = options_.tether_port,
                            .kubelet_key_hash = deps_.facts.links.key_hash(),
                            .kubelet_ca = deps_.facts.links.ca_pem()};
  // The scratch disk follows those of the images.
  std::vector<vch::PodImage> held = images.images;
  if (!held.empty() && scratch) held.emplace_back();
  vch::PodKey key{.vch_id = options_.vch_id,
                  .pod_uid = look.uid,
                  .pod_namespace = std::string(look.pod()->ns()),
                  .pod_name = std::string(look.pod()->name()),
                  .pod_ip = look.ip,
                  .node = options_.node_name,
                  .spec_hash = "",
                  .images = vch::EncodeImages(held)};
  podvm::VmIdentity identity{
      .name = look.facts.vm_name,
      .pod_key = vch::Encode(key),
      .boot_config = guestapi::Encode(boot),
      .annotation = absl::StrCat("Pod ", look.pod()->ns(), "/", look.pod()->name(), " of node ", options_.node_name)};
  memory.creating = true;
  memory.create_unknown_since = look.in.now;  // until an answer says otherwise; also if this run is cancelled
  auto created = co_await deps_.ops.Create(podvm::BuildCreateSpec(*look.pod(), identity, settings, images.disks));
  if (!created.ok()) {
    Status status = created.status();
    const vimtypes::RetryClass retry = vimtypes::RetryClassOf(status);
    if (retry != vimtypes::RetryClass::kReadBack) {
      memory.creating = false;
      memory.create_unknown_since.reset();
    }
    if (vimtypes::NeedsPeople(status)) memory.create_not_before = deps_.facts.clock.WallNow() + SlowRetry();
    if (retry == vimtypes::RetryClass::kAlreadyThere && absl::IsAlreadyExists(status)) {
      // An earlier create of ours whose answer was lost, most likely: the inventory will show whose it is.
      LogV(2, "A VM of that name exists", {{"uid", look.uid}, {"vm", look.facts.vm_name}});
    } else {
      Warn(look, "FailedCreatePodSandBox", absl::StrCat("could not create the pod VM: ", status.message()));
    }
    co_return Annotate(std::move(status), "create pod VM");
  }
  memory.creating = false;
  memory.create_unknown_since.reset();
  if (deps_.facts.vms.KeyOf(created->value) == nullptr) {
    memory.created = *created;
    memory.created_at = deps_.facts.clock.WallNow();
  }
  LogV(2, "Pod VM created", {{"uid", look.uid}, {"pod", look.facts.object->Key()}, {"vm", created->value}});
  // The second of two tasks. A failure is seen by the next run as a VM that is off.
  Status on = co_await deps_.ops.PowerOn(*created);
  if (on.ok()) {
    deps_.events.event(*look.facts.object, false, "Created", absl::StrCat("Created pod VM ", look.facts.vm_name));
  } else if (!vimtypes::IsGone(on)) {
    Warn(look, "FailedCreatePodSandBox", absl::StrCat("could not power the pod VM on: ", on.message()));
  }
  co_return on;
}

Task<Status> VmReconciler::AddImages(Look& look, vimtypes::MoRef vm) {
  const vch::PodKey* have = deps_.facts.vms.KeyOf(vm.value);
  if (have == nullptr) co_return absl::OkStatus();  // gone in the meantime
  vch::PodKey key = *have;
  std::vector<vch::PodImage> held = look.images;
  std::vector<VmOps::ImageAtUnit> added;
  for (size_t i = 0; i < look.disks->images.size(); ++i) {
    added.push_back({.unit = guestapi::UnitOfDisk(held.size()), .disk = look.disks->disks[i]});
    held.push_back(look.disks->images[i]);
  }
  key.images = vch::EncodeImages(held);
  LogV(2, "Image disks are added to a pod VM", {{"uid", look.uid}, {"vm", vm.value}, {"images", key.images}});
  Status status = co_await deps_.ops.AddImages(vm, std::move(added), vch::Encode(key));
  if (vimtypes::IsGone(status)) co_return absl::OkStatus();
  if (!status.ok()) {
    Warn(look, "Failed", absl::StrCat("could not add the disk of an image to the pod VM: ", status.message()));
  }
  co_return status;
}

Task<Status> VmReconciler::SettleUnknownCreate(Look& look) {
  PodMemory& memory = *look.memory;
  std::string name = look.facts.vm_name;
  if (name.empty()) {
    // The pod is gone, so its name is unknown; the VM, if there is one, shows up with its key.
    if (look.in.now - *memory.create_unknown_since > options_.create_unknown)
      memory.creating = false, memory.create_unknown_since.reset();
    co_return absl::OkStatus();
  }
  CO_ASSIGN_OR_RETURN(auto found, co_await deps_.ops.FindByName(name));
  if (found) {
    memory.created = *found;
    memory.created_at = look.in.now;
    memory.creating = false;
    memory.create_unknown_since.reset();
  } else if (look.in.now - *memory.create_unknown_since > options_.create_unknown) {
    memory.creating = false;
    memory.create_unknown_since.reset();
  }
  co_return absl::OkStatus();
}

void VmReconciler::GiveBack(PodMemory& memory) {
  usage_ -= memory.usage;
  memory.usage = {};
}

void VmReconciler::Forget(const std::string& uid) {
  auto it = deps_.facts.memories.find(uid);
  if (it != deps_.facts.memories.end() && deps_.facts.pods.Get(uid) == nullptr) {
    GiveBack(*it->second);
    deps_.facts.memories.erase(it);
  }
  deps_.ipam.Release(uid);
  deps_.facts.links.Forget(uid);
  if (deps_.images != nullptr) deps_.images->Release(uid);
  if (deps_.archive != nullptr && deps_.facts.pods.Get(uid) == nullptr) deps_.archive->Forget(uid);
}

void VmReconciler::Warn(Look& look, std::string reason, std::string message) {
  if (look.facts.object == nullptr || look.memory->last_warning == message) return;
  look.memory->last_warning = message;
  deps_.events.event(*look.facts.object, true, std::move(reason), std::move(message));
}

}  // namespace vck::node
