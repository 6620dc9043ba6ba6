// What a tether runs containers with.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "guestapi/spec.h"
#include "tether/lifecycle.h"

namespace vck::tether {

// Every Start() is answered by Started and Exited, by Exited alone, or by StartFailed; never from within a call.
class Runtime {
 public:
  using Sink = std::function<void(Event)>;
  virtual ~Runtime() = default;  // kills what runs; no events after that
  // The pod's spec: before anything of it is started, and whenever a newer one came.
  virtual void Apply(std::shared_ptr<const guestapi::GuestSpec>) {}
  virtual void Start(const std::string& run_id, const guestapi::ContainerSpec& spec) = 0;
  // An unknown run, or one that has ended, is ignored: its event is on the way.
  virtual void Signal(const std::string& run_id, int signal) = 0;
};

using RuntimeFactory = std::function<std::unique_ptr<Runtime>(Runtime::Sink)>;

}  // namespace vck::tether
