// What the kubelet API tells of the node, its pods and itself: figures, configuration, state. For who may know it.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "async/clock.h"
#include "async/task.h"
#include "base/log_memory.h"
#include "guestlink/links.h"
#include "http/server.h"
#include "kubeletapi/guest_poll.h"
#include "kubeletapi/metric_text.h"
#include "kubeletapi/network_meter.h"
#include "kubeletapi/pod_directory.h"
#include "kubeletapi/stats.h"
#include "kubeletapi/target.h"
#include "metrics/metrics.h"

namespace vck::kubeletapi {

class Observer {
 public:
  struct Deps {
    Clock& clock;
    guestlink::Links& links;
    const PodDirectory& pods;
    metrics::Registry& registry;      // /metrics; counts how guests answer
    std::function<NodeStats()> node;  // what is known now
    std::string configz;              // JSON of a kubelet.config.k8s.io/v1beta1 KubeletConfiguration
    // Flags and their values, by name.
    std::vector<std::pair<std::string, std::string>> flags;
    std::string version;
    const LogMemory& log;  // the process's own
  };
  explicit Observer(Deps deps, PollOptions options = {});

  // True for paths that Serve() knows.
  static bool Knows(const Target& target);
  // Answers a GET that was let in.
  Task<Status> Serve(http::Exchange& exchange, Target target);
  // Asks the guests when their figures are wanted, until cancelled.
  Task<Status> Run();

 private:
  Task<Status> Summary(http::Exchange& exchange, bool all);
  Task<Status> Metrics(http::Exchange& exchange, std::span<const MetricFamily> families, bool resource);
  Task<Status> Probes(http::Exchange& exchange);
  [[nodiscard]] std::string Statusz() const;
  [[nodiscard]] std::string Flagz() const;

  // What is known of the node now.
  NodeStats Node();

  Deps deps_;
  absl::Time started_;
  NetworkMeter network_;
  GuestPoll<PodStats> stats_;
  GuestPoll<PodProbes> probes_;
};

}  // namespace vck::kubeletapi
