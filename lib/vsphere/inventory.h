// Inventory: the one property collector. It holds what is known of the VMs of one folder, completes tasks, and follows
// the capacity of the VCH's pool. No call per task, no polling, no waiter per object.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "async/backoff.h"
#include "async/clock.h"
#include "async/wait.h"
#include "flow/store.h"
#include "vimtypes/vm_record.h"
#include "vsphere/session.h"
#include "vsphere/update_set.h"

namespace vck::vsphere {

struct InventoryOptions {
  MoRef folder;                     // its VMs are followed; not those of folders below it
  MoRef resource_pool;              // capacity; may be empty
  MoRef compute_resource;           // the pool's owner: cluster or host; may be empty
  std::vector<MoRef> datastores;    // free space; may be empty
  std::string pod_key = "vch.pod";  // the two extraConfig keys of VmRecord
  std::string guest_key = "guestinfo.vch.guest";
  bool guest_info = false;                         // also follow guest.ipAddress and guest.toolsRunningStatus
  absl::Duration round = absl::Milliseconds(100);  // a WaitForUpdatesEx goes out at most once in this time
  absl::Duration tick = absl::Milliseconds(100);   // so does a change of the task list
  absl::Duration max_wait = absl::Minutes(5);      // of one long poll
  absl::Duration relist = absl::Minutes(10);       // everything anew, for updates that were lost; zero: never
  BackoffPolicy backoff = {.initial = absl::Milliseconds(500), .max = absl::Seconds(30)};
};

// What a task came to. A task that failed is an error with the fault's type.
struct TaskResult {
  MoRef task;
  vim::Any result;
  // The result as a reference (the VM that was created), empty if it is none.
  [[nodiscard]] MoRef ref() const {
    const auto* ref = std::get_if<MoRef>(&result);
    return ref == nullptr ? MoRef() : *ref;
  }
};

class Inventory {
 public:
  Inventory(Clock& clock, Session& session, InventoryOptions options);
  Inventory(const Inventory&) = delete;
  Inventory& operator=(const Inventory&) = delete;

  // Collects until cancelled; reconnects with backoff, and replaces the store's content at once after each gap.
  Task<Status> Run();

  // By moid ("vm-12"). Synced() after the first whole set; stays so through outages (see fresh()).
  [[nodiscard]] flow::Store<std::string, vim::VmRecord>& vms() { return vms_; }
  [[nodiscard]] bool synced() const { return vms_.Synced(); }
  // The collector is up and has shown everything: what is not in vms() is not in vCenter. False during an outage.
  [[nodiscard]] bool fresh() const { return fresh_; }

  // `fn` is called whenever fresh() has become true: what was not done during an outage, because nobody knew what there
  // is, is to be looked at again.
  void OnFresh(std::function<void()> fn) { fresh_callbacks_.push_back(std::move(fn)); }

  // Completes when the task does: the result, or the task's fault. DeadlineExceeded at `deadline`, and Unknown when the
  // task is gone (vCenter restarted): both say kReadBack, since the task may have done its work, or still do. Tasks
  // that ended before the call are seen. Cancellation only ends the waiting.
  Task<StatusOr<TaskResult>> AwaitTask(MoRef task, Instant deadline);

  [[nodiscard]] const Capacity& capacity() const { return capacity_; }
  // `fn` is called after each change of capacity().
  void OnCapacity(std::function<void(const Capacity&)> fn) { capacity_callbacks_.push_back(std::move(fn)); }

  // A whole relist as soon as possible: somebody has reason to believe that an update was lost.
  void RequestRelist();

  struct Stats {
    int64_t rounds = 0;
    int64_t relists = 0;
    int64_t list_changes = 0;
  };
  [[nodiscard]] const Stats& stats() const { return stats_; }

 private:
  // A task that somebody waits for.
  struct Waiting {
    MoRef task;
    std::vector<Waiter*> waiters;
    TaskProgress progress;
    bool listed = false;            // in the server's list view
    std::optional<Status> outcome;  // set when it has ended
  };
  class Turn;

  Task<Status> Collect();
  Task<Status> Open();
  Task<> Close();
  Task<Status> Rounds();
  Task<Status> KeepTaskList();
  Status Apply(const UpdateSet& set);
  void ApplyVm(const ObjectChange& change, absl::flat_hash_map<std::string, std::optional<vim::VmRecord>>& changed);
  void ApplyTask(const ObjectChange& change);
  void EndTask(Waiting& waiting, Status outcome);
  // What belonged to the session or collector is void.
  void Forget();

  Clock& clock_;
  Session& session_;
  InventoryOptions options_;
  RecordKeys keys_;
  Session::Subscription login_;
  flow::Store<std::string, vim::VmRecord> vms_;
  Capacity capacity_;
  std::vector<std::function<void(const Capacity&)>> capacity_callbacks_;
  std::vector<std::function<void()>> fresh_callbacks_;
  absl::flat_hash_map<std::string, std::unique_ptr<Waiting>> tasks_;
  std::vector<MoRef> done_in_list_;  // in the list view, and awaited no more
  Signal wake_;                      // the task list or relist_wanted_ changed
  bool fresh_ = false;
  bool keyed_ = true;  // the server takes config.extraConfig["key"]
  bool relist_wanted_ = false;
  bool listed_since_open_ = false;

  uint64_t epoch_ = 0;  // of the session that the following belong to
  MoRef collector_;
  MoRef view_;
  std::string version_;
  absl::flat_hash_map<std::string, vim::VmRecord> listing_;  // while the first, whole listing comes in
  Instant last_round_;
  Instant relist_at_;
  Stats stats_;
};

}  // namespace vck::vsphere
