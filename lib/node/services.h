// Services: the cluster's Services as far as containers are told about them in their environment.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "async/task.h"
#include "kube/reflector.h"
#include "kubeapi/pod_view.h"
#include "podvm/service_env.h"

namespace vck::node {

class Services : public kube::ReflectorSink {
 public:
  // `synced` is called once, when all are known.
  explicit Services(std::function<void()> synced) : synced_call_(std::move(synced)) {}

  // What the pod is told: those of its namespace (unless enableServiceLinks is false), and the API server. Computed
  // when first asked for a pod and the same ever after, whatever comes or goes: a pod does not change while it runs.
  // Null before the first list.
  std::shared_ptr<const podvm::ServiceEnv> EnvOf(const kubeapi::PodView& pod);
  // The pod is gone.
  void Release(const std::string& uid) { pods_.erase(uid); }
  [[nodiscard]] bool synced() const { return synced_; }

  void Replace(std::vector<kube::ObjectPtr> objects) override;
  void Upsert(kube::ObjectPtr object) override;
  void Delete(kube::ObjectPtr last_state) override;
  [[nodiscard]] kube::ObjectPtr Find(const kube::Object&) const override { return nullptr; }
  void ListFailed(const Status& error) override;

 private:
  using Namespace = std::map<std::string, podvm::ServiceInfo, std::less<>>;
  std::shared_ptr<const podvm::ServiceEnv> Make(std::string_view ns, bool links) const;
  void Put(const kube::Object& object);

  std::function<void()> synced_call_;
  bool synced_ = false;
  std::map<std::string, Namespace, std::less<>> namespaces_;
  // Shared by the pods that begin between two changes.
  std::map<std::pair<std::string, bool>, std::shared_ptr<const podvm::ServiceEnv>> made_;
  absl::flat_hash_map<std::string, std::shared_ptr<const podvm::ServiceEnv>> pods_;
};

}  // namespace vck::node
