// What is served on port 10250. Requests are let in by Auth; everything of a pod comes from its tether.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "async/clock.h"
#include "async/task.h"
#include "guestlink/links.h"
#include "http/server.h"
#include "kubeletapi/auth.h"
#include "kubeletapi/log_options.h"
#include "kubeletapi/observer.h"
#include "kubeletapi/pod_directory.h"
#include "kubeletapi/target.h"
#include "metrics/metrics.h"

namespace vck::kubeletapi {

// A log that was kept when its pod finished, in CRI format from the beginning. NotFound if there is none.
using OpenLogArchive = std::function<Task<StatusOr<std::unique_ptr<http::BodyReader>>>(
    std::string pod_uid, std::string container, bool previous)>;

struct ApiOptions {
  absl::Duration idle_timeout = absl::Hours(4);  // of exec, attach and port-forward
  absl::Duration creation_timeout = absl::Seconds(30);
  absl::Duration linger = absl::Minutes(15);    // for a client to take the end
  absl::Duration run_timeout = absl::Hours(4);  // of /run
};

class Api {
 public:
  struct Deps {
    Clock& clock;
    guestlink::Links& links;
    const PodDirectory& pods;
    Auth& auth;
    OpenLogArchive archive;          // may be empty
    std::function<Status()> health;  // may be empty: healthy
    Observer* observer = nullptr;    // null: figures and configuration are not found
    metrics::Registry* registry = nullptr;
  };
  Api(Deps deps, ApiOptions options) : deps_(std::move(deps)), options_(options) {}

  // An http::Handler.
  Task<Status> Handle(http::Exchange& exchange);

 private:
  struct Call {
    http::Exchange& exchange;
    Target target;
  };
  // A container of a pod, by the path's segments.
  struct Place {
    kube::ObjectPtr pod;
    std::string uid, name, ns, container;
  };
  Task<Status> Serve(Call call);
  Task<Status> Healthz(http::Exchange& exchange);
  Task<Status> Pods(http::Exchange& exchange, bool running);
  Task<Status> ContainerLogs(Call call);
  Task<Status> ExecOrAttach(Call call, bool attach);
  Task<Status> PortForward(Call call);
  Task<Status> Run(Call call);

  // The log of a container of a pod without guest. Empty reader: there is none either.
  Task<Status> ArchivedLogs(http::Exchange& exchange, Place place, LogOptions options, Status why);
  // One more stream; `protocol` is one that we know.
  void Count(const char* kind, bool websocket, std::string_view protocol);
  Task<StatusOr<guestlink::OpenedStream>> OpenTunnel(std::string uid, uint16_t port);

  Deps deps_;
  ApiOptions options_;
};

}  // namespace vck::kubeletapi
