#include "node/status_reconciler.h"

#include <algorithm>

#include "base/log.h"

namespace vck::node {
namespace {

// An object that should be gone: the watch says so, and then nobody looks again. If it does not, the answer was wrong
// (an API server that starts knows little yet), or a finalizer holds the object.
constexpr absl::Duration kLookAgain = absl::Seconds(10);

}  // namespace

Task<StatusOr<flow::Result>> StatusReconciler::Reconcile(std::string uid) {
  kube::ObjectPtr object = facts_.pods.Get(uid);
  if (object == nullptr) {
    written_.erase(uid);
    co_return flow::Result{};
  }
  // What we wrote last counts until the watch has shown it, or something newer.
  if (auto it = written_.find(uid); it != written_.end()) {
    if (object->resource_version() == it->second.seen) {
      object = it->second.answer;
    } else {
      written_.erase(it);
    }
  }
  // Before the first sight of vCenter nothing can be said that the API does not know already.
  if (!facts_.vms.Synced()) co_return flow::Result{};
  auto memory = facts_.memories.find(uid);
  CO_ASSIGN_OR_RETURN(PodFacts facts, GatherFacts(facts_, uid, std::move(object),
                                                  memory == facts_.memories.end() ? nullptr : memory->second.get()));
  podvm::StatusInputs in;
  in.pod = &*facts.pod;
  in.vm = facts.vm;
  in.guest = facts.guest;
  in.pod_ip = facts.ip;
  in.host_ip = host_ip_;
  if (memory != facts_.memories.end()) {
    in.verdict = memory->second->waits_for();
    in.waits = &memory->second->image_waits;
  }
  in.now = facts_.clock.WallNow();
  podvm::StatusResult status = podvm::ComputeStatus(in, options_);
  flow::Result result;
  if (status.recompute_at) result.requeue_after = std::max(*status.recompute_at - in.now, absl::Milliseconds(10));
  kube::ObjectRef ref{kube::kPods, std::string(facts.object->ns()), std::string(facts.object->name())};
  if (!status.patch.empty()) {
    std::string seen;
    if (auto current = facts_.pods.Get(uid)) seen = std::string(current->resource_version());
    kube::PatchOptions options;
    options.subresource = "status";
    auto answer = co_await client_.Patch(ref, kube::PatchType::kStrategic, std::move(status.patch), options);
    if (absl::IsNotFound(answer.status())) co_return flow::Result{.requeue_after = kLookAgain};
    // Another pod has the name (the UID in the patch does not match), or the object changed: look again with fresh
    // eyes.
    if (!answer.ok()) co_return Annotate(answer.status(), absl::StrCat("status of ", ref.ns, "/", ref.name));
    CO_ASSIGN_OR_RETURN(kube::ObjectPtr written, kube::Object::Parse(*answer));
    LogV(2, "Status written",
         {{"pod", facts.object->Key()}, {"phase", kubeapi::PhaseName(status.phase)}, {"ready", status.ready}});
    auto current = facts_.pods.Get(uid);
    if (current == nullptr) co_return flow::Result{};
    if (current->resource_version() == seen) written_[uid] = {.seen = seen, .answer = written};
    if (!written->deleting()) co_return result;
    CO_RETURN_IF_ERROR(facts.SetPod(facts_, std::move(written)));
  }
  if (!facts.object->deleting()) co_return result;
  // Facts may have moved while the patch was under way.
  memory = facts_.memories.find(uid);
  const PodFacts now =
      GatherVmFacts(facts_, uid, facts.object, memory == facts_.memories.end() ? nullptr : memory->second.get());
  if (podvm::ReadyToDelete(*facts.pod, now.vm)) {
    kube::DeleteOptions options;
    options.uid = uid;
    options.grace_period_seconds = 0;
    auto deleted = co_await client_.Delete(ref, options);
    if (!deleted.ok() && !absl::IsNotFound(deleted.status())) {
      co_return Annotate(deleted.status(), absl::StrCat("delete ", ref.ns, "/", ref.name));
    }
    LogV(2, "Pod removed from the API", {{"pod", facts.object->Key()}, {"uid", uid}});
    result.requeue_after = kLookAgain;
  }
  co_return result;
}

}  // namespace vck::node
