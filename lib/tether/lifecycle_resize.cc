// In-place resize: running containers get the resources of a newer spec, as far as their VM has them. As
// k8s.io/kubernetes pkg/kubelet/allocation, whose node is the VM here.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tether/lifecycle.h"

namespace vck::tether {

using guestapi::ContainerSpec;
using guestapi::GuestSpec;
using guestapi::Resources;
using Kind = ContainerSpec::Kind;

namespace {

// Of those that run at the same time.
struct Sum {
  int64_t cpu_requests = 0, largest_cpu_limit = 0, memory = 0;

  void Add(const ContainerSpec& c) {
    if (c.kind != Kind::kMain && c.kind != Kind::kSidecar) return;
    cpu_requests += c.cpu_request_milli;
    largest_cpu_limit = std::max(largest_cpu_limit, c.cpu_limit_milli);
    memory += std::max(c.memory_limit_bytes, c.memory_request_bytes);
  }
};

}  // namespace

std::string Lifecycle::WhyInfeasible(const GuestSpec& next) const {
  Sum have, want;
  bool changes = false;
  for (const ContainerSpec& wanted : next.containers) {
    auto same = std::find_if(containers_.begin(), containers_.end(),
                             [&](const Container& c) { return c.spec.name == wanted.name; });
    want.Add(wanted);
    if (same == containers_.end()) continue;
    have.Add(same->spec);
    changes = changes || same->spec.resources() != wanted.resources();
  }
  if (!changes) return "";
  // The VM was made for what the pod had; so only more than that can be too much.
  const auto lacks = [](std::string_view what, int64_t had, int64_t wanted, int64_t capacity) {
    if (capacity == 0 || wanted <= capacity || wanted <= had) return std::string();
    return absl::StrCat("The pod's VM didn't have enough capacity: ", what, ", requested: ", wanted,
                        ", capacity: ", capacity, "; its size is settled when it is made");
  };
  std::string why = lacks("memory", have.memory, want.memory, capacity_.memory_bytes);
  if (why.empty()) why = lacks("cpu", have.cpu_requests, want.cpu_requests, capacity_.cpu_milli);
  if (why.empty()) why = lacks("cpu", have.largest_cpu_limit, want.largest_cpu_limit, capacity_.cpu_milli);
  return why;
}

void Lifecycle::DriveResize(Container* container, Stamp now) {
  if (container->phase != Phase::kHook && container->phase != Phase::kRunning) return;
  const Resources wanted = container->spec.resources();
  const Resources& has = container->resources;
  if (has == wanted || container->resizing || container->end.begun || !container->spec.config_error.empty()) return;
  if (now.mono < container->resize_at) return WakeAt(container->resize_at);
  const bool cpu = has.cpu_limit_milli != wanted.cpu_limit_milli || has.cpu_request_milli != wanted.cpu_request_milli;
  const bool memory =
      has.memory_limit_bytes != wanted.memory_limit_bytes || has.memory_request_bytes != wanted.memory_request_bytes;
  if ((cpu && container->spec.restart_for_cpu) || (memory && container->spec.restart_for_memory)) {
    container->again = true;
    container->backoff = absl::ZeroDuration();
    return Kill(container, now.mono + absl::Seconds(spec_->grace_seconds),
                absl::StrCat("Container ", container->spec.name, " resize requires restart"), now);
  }
  container->resizing = true;
  actions_.emplace_back(ResizeContainer{.run_id = container->alive_id(), .resources = wanted});
}

void Lifecycle::On(const Resized& event, Stamp now) {
  Container* container = Find(event.run_id);
  if (container == nullptr || !std::exchange(container->resizing, false)) return;
  container->resize_error = event.error;
  const std::string& name = container->spec.name;
  if (event.error.empty()) {
    container->resources = event.resources;
    Tell(name, false, "ResizeCompleted", absl::StrCat("Pod resize completed: container ", name), now);
  } else {
    container->resize_at = now.mono + kResizeRetry;
    Tell(name, true, "ResizeError", absl::StrCat("Pod resize error: container ", name, ": ", event.error), now);
  }
  Changed();
}

}  // namespace vck::tether
