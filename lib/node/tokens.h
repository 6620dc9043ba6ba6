// Tokens: the service account tokens of our pods, asked for once and renewed before they expire
// (k8s.io/kubernetes pkg/kubelet/token).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "async/backoff.h"
#include "async/clock.h"
#include "async/task.h"
#include "async/task_group.h"
#include "kube/client.h"
#include "kubeapi/pod_view.h"
#include "podvm/resolve_spec.h"

namespace vck::node {

class Tokens {
 public:
  // `changed` gets the UID of a pod when one of its tokens came, was renewed, or could not be had.
  Tokens(Executor executor, kube::Client& client, std::function<void(const std::string& uid)> changed);
  ~Tokens();

  // The first question asks the server for the token, bound to the pod, and keeps it fresh: a new one at 80 % of its
  // life or after 24 hours, whichever comes first. While it can't be renewed the old one serves as long as it is valid.
  // The result is valid until the next turn of the loop.
  podvm::TokenResult Get(const kubeapi::PodView& pod, const podvm::TokenRef& ref);
  // The pod is gone, or over: its tokens are forgotten.
  void Release(const std::string& uid) { pods_.erase(uid); }
  // Works until cancelled; questions may come before.
  Task<> Run();

  [[nodiscard]] size_t size() const { return pods_.size(); }

 private:
  struct Entry;
  void Fetch(const std::shared_ptr<Entry>& entry);
  static Task<> FetchOnce(Tokens* self, std::shared_ptr<Entry> entry);
  void Done(const std::shared_ptr<Entry>& entry, const StatusOr<std::string>& answer);

  Executor executor_;
  kube::Client& client_;
  Clock& clock_;
  std::function<void(const std::string&)> changed_;
  absl::flat_hash_map<std::string, std::map<podvm::TokenRef, std::shared_ptr<Entry>>> pods_;
  uint64_t random_;
  bool running_ = false;
  TaskGroup group_;
};

}  // namespace vck::node
