// Does what probes and hooks say: exec, HTTP, TCP, gRPC, sleep.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "async/clock.h"
#include "async/task.h"
#include "guestapi/spec.h"
#include "tether/lifecycle.h"
#include "tether/runtime.h"

namespace vck::tether {

// What goes wrong is in the result; only cancellation unwinds.
class Prober {
 public:
  virtual ~Prober() = default;
  virtual Task<HandlerResult> Probe(std::string run_id, guestapi::Handler handler, absl::Duration timeout) = 0;
  virtual Task<HandlerResult> Hook(std::string run_id, HookKind kind, guestapi::Handler handler,
                                   absl::Duration timeout) = 0;
};

// `runtime` runs what is exec; `pod_ip` is the host of handlers that name none. Both are there as long as the prober.
using ProberFactory = std::function<std::unique_ptr<Prober>(Clock& clock, Runtime& runtime, std::string pod_ip)>;

// As k8s.io/kubernetes pkg/probe and pkg/kubelet/lifecycle: HTTP is fine from 200 to 399, redirects are followed on the
// same host only, certificates are not verified, a hook does not look at the HTTP status.
std::unique_ptr<Prober> MakeProber(Clock& clock, Runtime& runtime, std::string pod_ip);

}  // namespace vck::tether
