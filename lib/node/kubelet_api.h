// Port 10250: the kubelet API with its certificates and rights, as the options want it.
#pragma once

#include <functional>
#include <memory>

#include <boost/asio/thread_pool.hpp>

#include "async/clock.h"
#include "async/task.h"
#include "base/log_memory.h"
#include "guestlink/links.h"
#include "kube/client.h"
#include "kubeletapi/api.h"
#include "kubeletapi/stats.h"
#include "metrics/metrics.h"
#include "node/options.h"
#include "node/pod_facts.h"

namespace vck::node {

class KubeletApi {
 public:
  struct Deps {
    Executor executor;
    Clock& clock;
    asio::thread_pool& pool;
    kube::Client& client;
    guestlink::Links& links;
    const ObjectStore& pods;
    kubeletapi::OpenLogArchive archive;  // may be empty
    metrics::Registry& registry;
    std::function<kubeletapi::NodeStats()> node_stats;
    const LogMemory& log;  // the process's own
  };
  // Reads the certificate files; errors name the flag. `options.api.port` is not 0.
  static StatusOr<std::unique_ptr<KubeletApi>> Create(Deps deps, const Options& options, const std::string& node_ip);
  virtual ~KubeletApi() = default;
  // Serves until cancelled. A port that is taken (by the instance that leads, or one that is about to end) is tried
  // again and again.
  virtual Task<Status> Run() = 0;
};

}  // namespace vck::node
