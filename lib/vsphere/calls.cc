#include "vsphere/calls.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"

namespace vck::vsphere {
namespace {

constexpr Limiter::Priority kHigh = Limiter::Priority::kHigh;
constexpr Limiter::Priority kNormal = Limiter::Priority::kNormal;

// What a shielded call and the caller that may have left share.
template <class T>
struct Shared {
  Waiter done;
  std::optional<T> value;
};

template <class T>
Task<> Fill(std::shared_ptr<Shared<T>> shared, Task<T> work) {
  // Join() reports exceptions; a cancel (when a drain gives up) must not leave the caller waiting.
  try {
    shared->value.emplace(co_await std::move(work));
  } catch (const boost::system::system_error& e) {
    if (!IsCancelled(e)) throw;
    Status status = absl::UnavailableError("shutting down");
    status.SetPayload(http::kMaybeSent, absl::Cord("1"));
    shared->value.emplace(std::move(status));
  }
  shared->done.Wake();
}

bool IsAlready(const Status& status, std::string_view state) {
  return vim::RetryClassOf(status) == vim::RetryClass::kAlreadyThere && vim::ExistingPowerState(status) == state;
}

StatusOr<vim::ClusterPowerOnVmResult> PowerOnOutcome(const StatusOr<TaskResult>& result) {
  if (!result.ok()) return result.status();
  const auto* raw = std::get_if<vim::RawXml>(&result->result);
  if (raw == nullptr) return vim::ClusterPowerOnVmResult();
  return vim::FromRaw<vim::ClusterPowerOnVmResult>(*raw);
}

}  // namespace

Calls::Calls(Executor executor, Clock& clock, Session& session, Inventory& inventory, CallsOptions options)
    : executor_(std::move(executor)),
      clock_(clock),
      session_(session),
      inventory_(inventory),
      options_(options),
      limiter_(options.concurrency),
      group_(executor_) {}

template <class T>
Task<T> Calls::Shield(std::string name, Task<T> work) {
  if (draining_) co_return absl::UnavailableError("shutting down");
  auto shared = std::make_shared<Shared<T>>();
  group_.Spawn(std::move(name), Fill<T>(shared, std::move(work)));
  co_await shared->done.Wait();
  co_return std::move(*shared->value);
}

Task<> Calls::Drain(Instant deadline) {
  draining_ = true;
  Clock::Timer timer = clock_.Schedule(deadline, [this] {
    Log(Severity::kWarning, "Changes to vCenter are still in flight at shutdown", {{"count", group_.size()}});
    group_.Cancel();
  });
  Status status = co_await group_.Join();
  if (!status.ok()) Log(Severity::kWarning, "A change to vCenter failed at shutdown", {{"error", status}});
}

Task<StatusOr<TaskResult>> Calls::TaskOnce(vim::Call<MoRef> call, Limiter::Priority priority) {
  Limiter::Permit permit = co_await limiter_.Acquire(priority);
  CO_ASSIGN_OR_RETURN(MoRef task, co_await session_.Invoke(std::move(call)));
  co_return co_await inventory_.AwaitTask(std::move(task), clock_.Now() + options_.task_timeout);
}

Task<StatusOr<TaskResult>> Calls::RunTask(vim::Call<MoRef> call, Limiter::Priority priority) {
  std::string name(call.method);
  return Shield(std::move(name), TaskOnce(std::move(call), priority));
}

template <class Result>
Task<vim::Outcome<Result>> Calls::Throttled(vim::Call<Result> call, Limiter::Priority priority) {
  Limiter::Permit permit = co_await limiter_.Acquire(priority);
  co_return co_await session_.Invoke(std::move(call));
}

template <class Result>
Task<vim::Outcome<Result>> Calls::Change(vim::Call<Result> call, Limiter::Priority priority) {
  std::string name(call.method);
  return Shield(std::move(name), Throttled(std::move(call), priority));
}

Task<StatusOr<MoRef>> Calls::CreateVm(MoRef folder, vim::VirtualMachineConfigSpec spec, MoRef pool,
                                      std::optional<MoRef> host) {
  CO_ASSIGN_OR_RETURN(TaskResult result, co_await RunTask(vim::CreateVM_Task(folder, spec, pool, host)));
  if (!result.ref().empty()) co_return result.ref();
  // A success that doesn't say of what.
  CO_ASSIGN_OR_RETURN(MoRef vm, co_await FindChild(std::move(folder), spec.name.value_or("")));
  if (vm.empty()) co_return absl::UnknownError("the VM was created, and is not there");
  co_return vm;
}

Task<Status> Calls::Reconfigure(MoRef vm, vim::VirtualMachineConfigSpec spec) {
  co_return (co_await RunTask(vim::ReconfigVM_Task(vm, spec))).status();
}

Task<Status> Calls::PowerOn(MoRef vm, MoRef datacenter) {
  Status status;
  if (datacenter.empty() || !inventory_.capacity().drs_enabled) {
    status = (co_await RunTask(vim::PowerOnVM_Task(vm, std::nullopt))).status();
  } else {
    if (draining_) co_return absl::UnavailableError("shutting down");
    auto joined = std::make_shared<Joined>();
    joined->vm = std::move(vm);
    joined->datacenter = std::move(datacenter);
    batch_.push_back(joined);
    if (!batching_) {
      batching_ = true;
      group_.Spawn("power-on batch", PowerOnBatches());
    }
    co_await joined->done.Wait();
    status = joined->status;
  }
  co_return IsAlready(status, "poweredOn") ? absl::OkStatus() : status;
}

// Collects for one tick, then sends what has come, a task for each datacenter and each power_on_max VMs.
Task<> Calls::PowerOnBatches() {
  bool aborted = false;
  try {
    co_await clock_.Sleep(options_.power_on_batch);
  } catch (const boost::system::system_error& e) {
    if (!IsCancelled(e)) throw;
    aborted = true;
  }
  batching_ = false;
  while (!batch_.empty()) {
    std::vector<std::shared_ptr<Joined>> some;
    MoRef datacenter = batch_.front()->datacenter;
    for (auto it = batch_.begin(); it != batch_.end() && some.size() < options_.power_on_max;) {
      if ((*it)->datacenter == datacenter) {
        some.push_back(std::move(*it));
        it = batch_.erase(it);
      } else {
        ++it;
      }
    }
    if (aborted) {
      for (const auto& joined : some) {
        joined->status = absl::UnavailableError("shutting down");
        joined->done.Wake();
      }
    } else {
      group_.Spawn("power-on", PowerOnTogether(std::move(datacenter), std::move(some)));
    }
  }
}

Task<> Calls::PowerOnTogether(MoRef datacenter, std::vector<std::shared_ptr<Joined>> some) {
  std::vector<MoRef> vms;
  vms.reserve(some.size());
  for (const auto& joined : some) vms.push_back(joined->vm);
  StatusOr<TaskResult> result = absl::UnavailableError("shutting down");
  try {
    result = co_await TaskOnce(vim::PowerOnMultiVM_Task(datacenter, vms, {}), kNormal);
  } catch (const boost::system::system_error& e) {
    if (!IsCancelled(e)) throw;
    Status status = result.status();
    status.SetPayload(http::kMaybeSent, absl::Cord("1"));
    result = status;
  }
  StatusOr<vim::ClusterPowerOnVmResult> outcome = PowerOnOutcome(result);
  std::vector<MoRef> tasks(some.size());
  for (size_t i = 0; i < some.size(); ++i) {
    Joined& joined = *some[i];
    if (!outcome.ok()) {
      joined.status = outcome.status();
      continue;
    }
    // Neither tried nor refused: a manual-mode cluster that only recommends. The VM's power state will tell.
    joined.status = absl::UnavailableError("vCenter has not tried to power on the VM");
    for (const vim::ClusterAttemptedVmInfo& attempted : outcome->attempted) {
      if (attempted.vm != joined.vm) continue;
      joined.status = absl::OkStatus();
      if (attempted.task) tasks[i] = *attempted.task;
    }
    for (const vim::ClusterNotAttemptedVmInfo& refused : outcome->notAttempted) {
      if (refused.vm == joined.vm) joined.status = vim::FaultStatus(refused.fault);
    }
  }
  for (size_t i = 0; i < some.size(); ++i) {
    if (tasks[i].empty()) {
      some[i]->done.Wake();
    } else {
      group_.Spawn("power-on of one", AwaitOne(some[i], tasks[i]));
    }
  }
}

Task<> Calls::AwaitOne(std::shared_ptr<Joined> joined, MoRef task) {
  try {
    joined->status = (co_await inventory_.AwaitTask(task, clock_.Now() + options_.task_timeout)).status();
  } catch (const boost::system::system_error& e) {
    if (!IsCancelled(e)) throw;
    joined->status = absl::UnavailableError("shutting down");
    joined->status.SetPayload(http::kMaybeSent, absl::Cord("1"));
  }
  joined->done.Wake();
}

Task<Status> Calls::PowerOff(MoRef vm) {
  Status status = (co_await RunTask(vim::PowerOffVM_Task(vm), kHigh)).status();
  co_return IsAlready(status, "poweredOff") ? absl::OkStatus() : status;
}

Task<Status> Calls::ShutdownGuest(MoRef vm) {
  Status status = co_await Change(vim::ShutdownGuest(vm), kHigh);
  co_return IsAlready(status, "poweredOff") ? absl::OkStatus() : status;
}

Task<Status> Calls::Destroy(MoRef object) {
  Status status = (co_await RunTask(vim::Destroy_Task(object), kHigh)).status();
  // Something else that is gone, the host say, is no success.
  bool gone =
      vim::IsGone(status) && (vim::FaultObject(status).empty() || vim::FaultObject(status).value == object.value);
  co_return gone ? absl::OkStatus() : status;
}

Task<Status> Calls::MarkAsTemplate(MoRef vm) { return Change(vim::MarkAsTemplate(vm)); }

Task<Status> Calls::Answer(MoRef vm, std::string question_id, std::string choice) {
  return Change(vim::AnswerVM(vm, question_id, choice));
}

Task<StatusOr<MoRef>> Calls::CreateFolder(MoRef parent, std::string name) {
  return Change(vim::CreateFolder(parent, name));
}

Task<StatusOr<MoRef>> Calls::CreateResourcePool(MoRef parent, std::string name, vim::ResourceConfigSpec spec) {
  return Change(vim::CreateResourcePool(parent, name, spec));
}

Task<Status> Calls::UpdateResourcePool(MoRef pool, std::optional<std::string> name,
                                       std::optional<vim::ResourceConfigSpec> spec) {
  return Change(vim::UpdateConfig(pool, name, spec));
}

Task<Status> Calls::CancelTask(MoRef task) { return Change(vim::CancelTask(task), kHigh); }

Task<StatusOr<MoRef>> Calls::FindByInventoryPath(std::string path) {
  CO_RETURN_IF_ERROR(co_await session_.Connect());
  if (!session_.content().searchIndex) co_return absl::UnimplementedError("the server has no search index");
  CO_ASSIGN_OR_RETURN(std::optional<MoRef> found,
                      co_await session_.Invoke(vim::FindByInventoryPath(*session_.content().searchIndex, path)));
  co_return found.value_or(MoRef());
}

Task<StatusOr<MoRef>> Calls::FindChild(MoRef parent, std::string name) {
  CO_RETURN_IF_ERROR(co_await session_.Connect());
  if (!session_.content().searchIndex) co_return absl::UnimplementedError("the server has no search index");
  CO_ASSIGN_OR_RETURN(std::optional<MoRef> found,
                      co_await session_.Invoke(vim::FindChild(*session_.content().searchIndex, parent, name)));
  co_return found.value_or(MoRef());
}

Task<StatusOr<vim::VirtualMachineConfigOption>> Calls::QueryConfigOption(MoRef environment_browser, std::string key,
                                                                         std::optional<MoRef> host) {
  std::optional<std::string> version;
  if (!key.empty()) version = std::move(key);
  CO_ASSIGN_OR_RETURN(std::optional<vim::VirtualMachineConfigOption> option,
                      co_await session_.Invoke(vim::QueryConfigOption(environment_browser, version, host)));
  if (!option.has_value()) co_return absl::NotFoundError("the server tells no configuration options");
  co_return *std::move(option);
}

Task<StatusOr<vim::PlacementResult>> Calls::PlaceVm(MoRef cluster, vim::PlacementSpec spec) {
  return session_.Invoke(vim::PlaceVm(cluster, spec));
}

Task<StatusOr<std::vector<ObjectChange>>> Calls::Retrieve(std::vector<MoRef> objects, std::vector<std::string> paths) {
  vim::PropertyFilterSpec spec;
  for (const MoRef& object : objects) {
    bool known = std::ranges::any_of(spec.propSet, [&](const vim::PropertySpec& p) { return p.type == object.type; });
    if (!known) spec.propSet.push_back({.type = object.type, .all = false, .pathSet = paths});
    spec.objectSet.push_back({.obj = object});
  }
  if (objects.empty()) co_return std::vector<ObjectChange>();
  co_return co_await Retrieve(std::move(spec));
}

Task<StatusOr<std::vector<ObjectChange>>> Calls::Retrieve(vim::PropertyFilterSpec spec) {
  for (int attempt = 0;; ++attempt) {
    CO_RETURN_IF_ERROR(co_await session_.Connect());
    uint64_t epoch = session_.epoch();
    MoRef collector = session_.content().propertyCollector;
    auto first = vim::RetrievePropertiesEx(collector, {spec}, vim::RetrieveOptions{});
    StatusOr<vim::Reply> reply = co_await session_.Send(first.method, std::move(first.body));
    std::vector<ObjectChange> all;
    bool gone = false;
    while (true) {
      CO_RETURN_IF_ERROR(reply.status());
      std::string token;
      CO_ASSIGN_OR_RETURN(std::vector<ObjectChange> page, ParseObjects(*reply, &token));
      gone |= std::ranges::any_of(page, SaysNotAuthenticated);
      std::ranges::move(page, std::back_inserter(all));
      if (token.empty()) break;
      auto next = vim::ContinueRetrievePropertiesEx(collector, token);
      reply = co_await session_.Send(next.method, std::move(next.body));
    }
    if (!gone) co_return all;
    if (attempt > 0) co_return absl::UnauthenticatedError("the session is gone");
    session_.Invalidate(epoch);  // a 200 that says in its missingSet what others say in a fault
  }
}

}  // namespace vck::vsphere
