// /metrics and /healthz on a local port.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "http/server.h"
#include "metrics/metrics.h"

namespace vck::node {

// `health` returns OK, or why the process should be restarted. `address` is "ADDRESS:PORT". Registers the process's own
// metrics under client libraries' usual names.
StatusOr<std::unique_ptr<http::Server>> MakeStatusServer(Executor executor, Clock& clock, const std::string& address,
                                                         metrics::Registry& registry, std::function<Status()> health);

}  // namespace vck::node
