// Sends a container's log to a client. Not for other layers.
#pragma once

#include <memory>

#include "async/task.h"
#include "http/client.h"
#include "http/server.h"
#include "kubeapi/pod_view.h"
#include "kubeletapi/api.h"
#include "kubeletapi/log_options.h"

namespace vck::kubeletapi::internal {

// Answers 200 and copies until the body, or the client, has ended.
Task<Status> SendLog(http::Exchange& exchange, std::unique_ptr<http::BodyReader> body);

// The same of a log in CRI format that was kept: filters it. Reads it twice for a tail. `since` is absolute.
Task<Status> SendArchivedLog(http::Exchange& exchange, OpenLogArchive open, std::string pod_uid, std::string container,
                             LogOptions options, absl::Time now);

// Why there can be no log yet, in the kubelet's words (validateContainerLogStatus); OK if the API's status tells of a
// run.
Status CheckLogStatus(const kubeapi::PodView& pod, std::string_view container, bool previous);

}  // namespace vck::kubeletapi::internal
