// The tether of one pod VM: serves the channel, runs the lifecycle over a container runtime, and ends when the guest
// shall power off. See docs/guest-protocol.md.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "async/clock.h"
#include "async/task.h"
#include "base/status.h"
#include "guestapi/identity.h"
#include "tether/journal.h"
#include "tether/lifecycle.h"
#include "tether/prober.h"
#include "tether/runtime.h"
#include "tether/streams.h"

namespace vck::tether {

struct Options {
  guestapi::BootConfig config;
  std::string boot_id;  // new at each boot
  RuntimeFactory runtime;
  ProberFactory prober = MakeProber;
  Capacity capacity;  // of this VM, for the containers
  // Null: a reboot of the guest begins anew. Outlives the tether. The pod goes on while it cannot be written.
  JournalStore* journal = nullptr;
  Streams* streams = nullptr;                          // null: such requests are not found. Outlives the tether
  absl::Duration coalesce = absl::Milliseconds(10);    // changes within this make one snapshot
  absl::Duration ack_timeout = absl::Seconds(5);       // a stopped guest waits so long for its last state to arrive
  absl::Duration bind_retry = absl::Milliseconds(50);  // first delay; doubles to 2 s
};

class Tether {
 public:
  // Makes the key and its self-signed certificate. InvalidArgument when the configuration's trust is unusable.
  static StatusOr<std::unique_ptr<Tether>> Create(Executor executor, Clock& clock, Options options);
  virtual ~Tether() = default;

  [[nodiscard]] virtual const guestapi::GuestAnnouncement& announcement() const = 0;
  // Binds (again and again, if it must), calls `ready` once it listens, and serves. OK when the guest shall power off:
  // after a stop whose end the kubelet knows, on the kubelet's word, or by PowerOff(). Nothing runs any more then.
  virtual Task<Status> Run(std::function<void()> ready) = 0;
  // The hypervisor asks the guest to shut down: containers are stopped with the pod's grace, then Run() ends.
  virtual void Shutdown() = 0;
  // Run() ends at once.
  virtual void PowerOff() = 0;
};

}  // namespace vck::tether
