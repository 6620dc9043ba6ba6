// What the tether serves beside the channel: exec, attach, logs, port-forward and stats of the guest's containers.
// docs/guest-protocol.md describes the requests.
#pragma once

#include "guestos/crun_runtime.h"
#include "guestos/query.h"
#include "tether/streams.h"

namespace vck::guestos {

class GuestStreams : public tether::Streams {
 public:
  // Outlives this.
  explicit GuestStreams(CrunRuntime* runtime) : runtime_(runtime) {}
  Task<Status> Serve(http::Exchange* exchange) override;

 private:
  Task<Status> Exec(http::Exchange* exchange, Query query);
  Task<Status> Attach(http::Exchange* exchange, Query query);
  Task<Status> Logs(http::Exchange* exchange, Query query);
  Task<Status> LogFile(http::Exchange* exchange, Query query);
  Task<Status> PortForward(http::Exchange* exchange, Query query);
  Task<Status> Stats(http::Exchange* exchange);
  Task<Status> SendLog(http::Exchange* exchange, RunLog log, LogReadOptions options);
  Task<StatusOr<std::shared_ptr<StreamPeer>>> UpgradeToFrames(http::Exchange* exchange);

  CrunRuntime* runtime_;
};

}  // namespace vck::guestos
