// GuestState: what a tether has seen, as one whole snapshot. The kubelet keeps the newest by (boot id, sequence).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"
#include "guestapi/spec.h"
#include "json/json.h"

namespace vck::guestapi {

// How a run of a container ended.
struct Termination {
  std::string id, reason, message;
  int exit_code = 0;
  int signal = 0;
  absl::Time started_at = absl::InfinitePast();
  absl::Time finished_at = absl::InfinitePast();
};

struct ContainerState {
  using Termination = guestapi::Termination;
  enum class Phase { kWaiting, kRunning, kTerminated };
  std::string name;
  Phase phase = Phase::kWaiting;
  std::string reason;  // waiting: ContainerCreating, CrashLoopBackOff…; terminated: Completed, Error, OOMKilled…
  std::string message;
  std::string id;                                // of the current (or last) run, new at each start; "" before the first
  absl::Time started_at = absl::InfinitePast();  // guest clock; InfinitePast: unknown
  absl::Time finished_at = absl::InfinitePast();
  int exit_code = 0;  // terminated
  int signal = 0;
  int restart_count = 0;
  bool started = false;  // startup probe passed, or none and running
  bool ready = false;    // readiness probe passed, or none and started
  std::string image_id;
  std::optional<Resources> resources;  // of the running container

  std::optional<Termination> last;  // the run before this one
};

// What people shall read of in the pod's events, in the kubelet's words.
struct GuestEvent {
  int64_t number = 0;  // of its last occurrence; grows within a boot
  bool warning = false;
  std::string container;  // "": the pod
  std::string reason;     // Started, Unhealthy, BackOff…
  std::string message;
  absl::Time at;  // of the last occurrence, guest clock
  int count = 1;  // occurrences, with this container, reason and message
};

struct GuestState {
  std::string boot_id;  // new at each boot of the guest
  // The boot in which the restart counts began: boot_id, or an older one whose journal was found. Runs of containers
  // are told apart by it (podvm/status.h).
  std::string first_boot;
  int64_t sequence = 0;            // grows with each snapshot within a boot
  std::string pod_uid;             // of the spec it runs; "" before the first spec
  int64_t spec_revision = 0;       // applied
  int64_t generation = 0;          // of the applied spec
  absl::Time guest_now;            // when the snapshot was made, by the guest's clock: offsets are corrected with it
  bool stopping = false;           // a stop was asked for
  bool deadline_exceeded = false;  // activeDeadlineSeconds was reached
  std::string evicted;             // why the pod was ended: it has written more than it may. "": it was not
  // Why the resources of the spec are not those of the containers: they do not fit the VM, and are not given to any
  // of them; or giving them to one that runs has failed, and is tried again. "": neither.
  std::string resize_infeasible, resize_error;
  // All containers have ended for good (by restartPolicy, or because the pod was stopped).
  bool finished = false;
  std::vector<ContainerState> containers;
  // The newest, by number. What is not here any more was forgotten: nobody confirms events.
  std::vector<GuestEvent> events;

  [[nodiscard]] const std::string& history() const { return first_boot.empty() ? boot_id : first_boot; }
};

// JSON, times as Unix nanoseconds. Decoding skips unknown fields; InvalidArgument names the field that is wrong.
std::string Encode(const GuestState& state);
StatusOr<GuestState> DecodeState(std::string_view text);

json::Object ToJson(const GuestState& state, const boost::json::storage_ptr& storage = {});
StatusOr<GuestState> StateFromJson(const json::Value& value);

}  // namespace vck::guestapi
