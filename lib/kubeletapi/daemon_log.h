// GET /logs/: the kubelet's own log, as far as it is remembered.
#pragma once

#include "base/log_memory.h"
#include "http/server.h"
#include "kubeletapi/target.h"

namespace vck::kubeletapi {

// /logs/ lists the one file that there is, /logs/vch-kubelet.log is it, and /logs/?query=kubelet what a node log query
// wants of it (k8s.io/kubernetes pkg/kubelet/kubelet_server_journal.go: sinceTime, untilTime, tailLines). Not pattern:
// regular expressions are not run for anybody here.
http::Response DaemonLog(const Target& target, const LogMemory& log);

}  // namespace vck::kubeletapi
