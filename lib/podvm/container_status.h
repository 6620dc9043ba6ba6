// A container's status: what the API has, what the guest says, and what is known to be lost, put together.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "guestapi/state.h"
#include "kubeapi/pod_view.h"

namespace vck::podvm {

// Times are RFC 3339 text, "" if unknown.
struct Terminated {
  int64_t exit_code = 0, signal = 0;
  std::string reason, message, started_at, finished_at, container_id;
};

struct ContainerStatus {
  enum class State { kWaiting, kRunning, kTerminated };
  kubeapi::ContainerView::Kind kind = kubeapi::ContainerView::Kind::kMain;
  std::string name, image, image_id, container_id;
  State state = State::kWaiting;
  std::string reason, message;  // waiting
  std::string started_at;       // running
  Terminated terminated;        // terminated
  std::optional<Terminated> last;
  int64_t restart_count = 0;
  bool ready = false, started = false;
  // ResourceRequirements that its cgroup has, and the requests of them; of the pod's JSON. Null: none.
  const json::Value* resources = nullptr;
  const json::Value* allocated = nullptr;
};

// What is true of all containers of the pod.
struct Situation {
  std::string boot;  // prefix of the current boot; "" unknown
  absl::Duration clock_offset;
  absl::Time now;
  bool vm_dead = false;       // powered off or removed: nothing runs
  bool rebooted = false;      // the guest runs again, and all runs that the API has are of another boot
  bool restarts = false;      // what is lost will be started again
  bool ended = false;         // nothing will ever be started: a container that never was is lost, too
  bool keep_waiting = false;  // nothing new is known of containers that wait
  // What is below is of this container alone, and counts before what guest and API say it waits for.
  bool own_reason = false;
  // For containers that have not been created.
  std::string_view waiting_reason, waiting_message, init_waiting_reason, init_waiting_message;
};

// From the API's status (null: none).
ContainerStatus FromApi(const kubeapi::ContainerView& container, const json::Value* api);
// `guest`: null if the current boot's guest says nothing of this container. Sets *lost if a running container was found
// to be lost just now.
ContainerStatus Merge(const kubeapi::ContainerView& container, const json::Value* api,
                      const guestapi::ContainerState* guest, const Situation& situation, bool* lost);
// The API has just this.
bool Same(const ContainerStatus& status, const json::Value* api);

}  // namespace vck::podvm
