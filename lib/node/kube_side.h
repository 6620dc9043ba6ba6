// KubeSide: what the kubelet has of Kubernetes: its clients, the pods of its node and the Node as watched, and events.
#pragma once

#include <memory>
#include <string>

#include <boost/asio/thread_pool.hpp>

#include "async/clock.h"
#include "async/task.h"
#include "async/task_group.h"
#include "base/status.h"
#include "kube/client.h"
#include "kube/client_certificate.h"
#include "kube/events.h"
#include "kube/reflector.h"
#include "metrics/metrics.h"
#include "node/inputs.h"
#include "node/options.h"
#include "node/pod_facts.h"

namespace vck::node {

struct KubeSide {
  // Takes the node's client certificate over if it is to be renewed. Blocks. All references outlive it.
  static StatusOr<std::unique_ptr<KubeSide>> Create(Executor executor, Clock& clock, asio::thread_pool& pool,
                                                    const Options& options, Inputs& inputs);
  KubeSide(std::unique_ptr<kube::ClientCertificate> own_certificate, std::unique_ptr<kube::Client> to_all,
           std::unique_ptr<kube::Client> to_elect, const KubeOptions& options);

  void RegisterMetrics(Clock& clock, metrics::Registry& registry) const;
  // What only the leader does: watches, and sends events.
  void Spawn(TaskGroup& group);
  // Sends what events are left, and ends the connections.
  Task<> Close(Clock& clock);

  // About the pod, or one of its containers.
  void Record(const kube::Object& pod, bool warning, std::string reason, std::string message,
              const std::string& container = "");
  // About the Node.
  void RecordNode(bool warning, std::string reason, std::string message);

  std::string node_name;
  std::unique_ptr<kube::ClientCertificate> certificate;  // null: not ours to renew
  std::unique_ptr<kube::Client> client;
  std::unique_ptr<kube::Client> election_client;  // null without leader election
  ObjectStore pods, nodes;
  kube::StoreSink pod_sink, node_sink;
  kube::Reflector pod_reflector, node_reflector;
  kube::Recorder recorder;
};

}  // namespace vck::node
