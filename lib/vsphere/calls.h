// Calls: what a VCH does to vCenter, each as a coroutine that ends when the task has ended. One limiter throttles all,
// deletes first. A change that is on the wire is never cancelled: when the caller is, the call goes on, and Drain()
// waits for it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/clock.h"
#include "async/limiter.h"
#include "async/task_group.h"
#include "vsphere/inventory.h"
#include "vsphere/session.h"

namespace vck::vsphere {

struct CallsOptions {
  int concurrency = 32;                             // changes in flight, tasks included
  absl::Duration task_timeout = absl::Minutes(10);  // waiting for a task; then the error says kReadBack
  absl::Duration power_on_batch =
      absl::Milliseconds(100);  // power-ons that come within this time share a task under DRS
  size_t power_on_max = 64;     // VMs of one PowerOnMultiVM
};

// Errors of all: see vimtypes/faults.h; RetryClassOf() says what to do.
class Calls {
 public:
  Calls(Executor executor, Clock& clock, Session& session, Inventory& inventory, CallsOptions options);
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  // Stops taking changes (Unavailable) and waits for those in flight, to `deadline` at most; then gives up waiting for
  // their tasks. Must be awaited before destruction.
  Task<> Drain(Instant deadline);

  // ---- VMs ----
  // The new VM. DuplicateName: FaultObject() is the VM that has the name, where the server tells.
  Task<StatusOr<MoRef>> CreateVm(MoRef folder, vim::VirtualMachineConfigSpec spec, MoRef pool,
                                 std::optional<MoRef> host = {});
  Task<Status> Reconfigure(MoRef vm, vim::VirtualMachineConfigSpec spec);
  // On already: OK. With a `datacenter` and DRS (Capacity::drs_enabled) what comes within one tick is one
  // PowerOnMultiVM_Task, with a result for each VM; else one PowerOnVM_Task each.
  Task<Status> PowerOn(MoRef vm, MoRef datacenter = {});
  // Off already: OK.
  Task<Status> PowerOff(MoRef vm);
  // Asks the guest; returns at once. FailedPrecondition (ToolsUnavailable) where nobody in there listens.
  Task<Status> ShutdownGuest(MoRef vm);
  // Gone already: OK. The VM must be off.
  Task<Status> Destroy(MoRef object);
  Task<Status> MarkAsTemplate(MoRef vm);
  Task<Status> Answer(MoRef vm, std::string question_id, std::string choice);

  // ---- inventory ----
  Task<StatusOr<MoRef>> CreateFolder(MoRef parent, std::string name);
  Task<StatusOr<MoRef>> CreateResourcePool(MoRef parent, std::string name, vim::ResourceConfigSpec spec);
  Task<Status> UpdateResourcePool(MoRef pool, std::optional<std::string> name,
                                  std::optional<vim::ResourceConfigSpec> spec);
  Task<Status> CancelTask(MoRef task);
  // Empty if there is none: "/DC0/vm/pods", or a child by its name.
  Task<StatusOr<MoRef>> FindByInventoryPath(std::string path);
  Task<StatusOr<MoRef>> FindChild(MoRef parent, std::string name);
  // Guest ids, firmware and hardware version that a host or cluster supports; by its environment browser.
  Task<StatusOr<vim::VirtualMachineConfigOption>> QueryConfigOption(MoRef environment_browser, std::string key = "",
                                                                    std::optional<MoRef> host = {});
  Task<StatusOr<vim::PlacementResult>> PlaceVm(MoRef cluster, vim::PlacementSpec spec);
  // Leaf properties of objects; all pages.
  Task<StatusOr<std::vector<ObjectChange>>> Retrieve(std::vector<MoRef> objects, std::vector<std::string> paths);
  Task<StatusOr<std::vector<ObjectChange>>> Retrieve(vim::PropertyFilterSpec spec);

  // Any other change whose method returns a task: throttled, shielded, awaited.
  Task<StatusOr<TaskResult>> RunTask(vim::Call<MoRef> call, Limiter::Priority priority = Limiter::Priority::kNormal);

  [[nodiscard]] Session& session() { return session_; }
  [[nodiscard]] Inventory& inventory() { return inventory_; }
  [[nodiscard]] size_t in_flight() const { return group_.size(); }

 private:
  template <class T>
  Task<T> Shield(std::string name, Task<T> work);
  Task<StatusOr<TaskResult>> TaskOnce(vim::Call<MoRef> call, Limiter::Priority priority);
  template <class Result>
  Task<vim::Outcome<Result>> Throttled(vim::Call<Result> call, Limiter::Priority priority);
  template <class Result>
  Task<vim::Outcome<Result>> Change(vim::Call<Result> call, Limiter::Priority priority = Limiter::Priority::kNormal);

  struct Joined {  // one VM of a power-on batch
    MoRef vm, datacenter;
    Waiter done;
    Status status;
  };
  Task<> PowerOnBatches();
  Task<> PowerOnTogether(MoRef datacenter, std::vector<std::shared_ptr<Joined>> some);
  Task<> AwaitOne(std::shared_ptr<Joined> joined, MoRef task);

  Executor executor_;
  Clock& clock_;
  Session& session_;
  Inventory& inventory_;
  CallsOptions options_;
  Limiter limiter_;
  TaskGroup group_;
  bool draining_ = false;
  std::vector<std::shared_ptr<Joined>> batch_;
  bool batching_ = false;
};

}  // namespace vck::vsphere
