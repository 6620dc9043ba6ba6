#include "node/node_controller.h"

#include <algorithm>

#include "base/log.h"
#include "kubeapi/node_view.h"

namespace vck::node {

NodeController::NodeController(Deps deps, NodeIdentity identity, NodeThresholds thresholds)
    : deps_(std::move(deps)),
      identity_(std::move(identity)),
      thresholds_(thresholds),
      queue_(deps_.clock, deps_.registry,
             {.name = "node",
              .backoff = {.initial = absl::Milliseconds(200), .max = absl::Seconds(5), .factor = 2, .jitter = 0.2}}) {
  deps_.nodes.Subscribe([this](const std::string& name) {
    if (name == identity_.name) Kick();
  });
}

std::string NodeController::uid() const {
  auto node = deps_.nodes.Get(identity_.name);
  return node == nullptr ? "" : std::string(node->uid());
}

Task<Status> NodeController::Run() {
  co_await deps_.nodes.WaitSynced();
  Kick();
  co_return co_await flow::RunWorkers(deps_.clock, queue_, {.workers = 1, .deadline = absl::Minutes(1)},
                                      [this](std::string) { return Reconcile(); });
}

Task<StatusOr<flow::Result>> NodeController::Reconcile() {
  auto node = deps_.nodes.Get(identity_.name);
  if (node == nullptr) {
    CO_RETURN_IF_ERROR(co_await Register());
    co_return flow::Result{.requeue_after = absl::Seconds(5)};
  }
  last_ = node;
  CO_ASSIGN_OR_RETURN(auto document, json::Document::Parse(node->json()));
  deps_.pod_cidr(kubeapi::NodeView(document.root()).pod_cidr());
  kube::ObjectRef ref{kube::kNodes, "", identity_.name};
  if (auto patch = BuildMetadataPatch(identity_, document.root())) {
    auto answer = co_await deps_.client.Patch(ref, kube::PatchType::kMerge, *std::move(patch), {});
    if (!answer.ok() && !absl::IsNotFound(answer.status())) co_return Annotate(answer.status(), "labels of the node");
  }
  if (auto patch = BuildStatusPatch(identity_, deps_.facts(), document.root(), thresholds_, deps_.clock.WallNow())) {
    kube::PatchOptions options;
    options.subresource = "status";
    auto answer = co_await deps_.client.Patch(ref, kube::PatchType::kStrategic, *std::move(patch), options);
    if (!answer.ok() && !absl::IsNotFound(answer.status())) co_return Annotate(answer.status(), "status of the node");
  }
  co_return flow::Result{.requeue_after = std::min(absl::Seconds(20), thresholds_.report_every)};
}

Task<Status> NodeController::Register() {
  std::optional<json::Document> previous;
  if (last_ != nullptr) {
    CO_ASSIGN_OR_RETURN(auto document, json::Document::Parse(last_->json()));
    previous.emplace(std::move(document));
  }
  std::string body =
      BuildNode(identity_, deps_.facts(), previous ? &previous->root() : nullptr, thresholds_, deps_.clock.WallNow());
  auto created = co_await deps_.client.Create({kube::kNodes, "", identity_.name}, std::move(body));
  if (absl::IsAlreadyExists(created.status())) co_return absl::OkStatus();  // the watch will show it: it is adopted
  if (!created.ok()) co_return Annotate(created.status(), "register the node");
  Log(Severity::kInfo, last_ == nullptr ? "Node registered" : "Node was deleted and has been registered again",
      {{"node", identity_.name}});
  deps_.created();
  co_return absl::OkStatus();
}

}  // namespace vck::node
