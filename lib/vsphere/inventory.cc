#include "vsphere/inventory.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "async/task_group.h"
#include "base/log.h"

namespace vck::vsphere {
namespace {

// A reply may be that much later than the wait that was asked for.
constexpr absl::Duration kPollSlack = absl::Seconds(60);
// Done tasks are taken off the list with the next addition, or when there are as many as this.
constexpr size_t kDoneInList = 64;

// Not an error: the collector shall be made anew.
Status RelistWanted() { return absl::CancelledError("relist"); }

Status TaskUnknown(const MoRef& task) {
  Status status = absl::UnknownError(absl::StrCat("task ", task.value, " is gone: what it did has to be looked up"));
  status.SetPayload(http::kMaybeSent, absl::Cord("1"));
  return status;
}

vim::PropertySpec Properties(std::string type, std::vector<std::string> paths) {
  return {.type = std::move(type), .all = false, .pathSet = std::move(paths)};
}

// `from`'s direct members by its property `path`.
vim::PropertyFilterSpec Members(const MoRef& from, std::string path, bool with_root,
                                std::vector<vim::PropertySpec> properties) {
  auto traversal = std::make_shared<vim::TraversalSpec>();
  traversal->type = from.type;
  traversal->path = std::move(path);
  traversal->skip = false;
  vim::ObjectSpec object{.obj = from, .skip = !with_root, .selectSet = {std::move(traversal)}};
  return {.propSet = std::move(properties), .objectSet = {std::move(object)}};
}

vim::PropertyFilterSpec VmFilter(const InventoryOptions& options, bool keyed) {
  std::vector<std::string> paths = {"name",
                                    "runtime.powerState",
                                    "runtime.connectionState",
                                    "runtime.host",
                                    "runtime.question",
                                    "config.template",
                                    "config.files.vmPathName"};
  if (options.guest_info) {
    paths.emplace_back("guest.ipAddress");
    paths.emplace_back("guest.toolsRunningStatus");
  }
  if (keyed) {
    for (const std::string& key : {options.pod_key, options.guest_key}) {
      paths.push_back(absl::StrCat("config.extraConfig[\"", key, "\"]"));
    }
  } else {
    paths.emplace_back("config.extraConfig");
  }
  // The folder itself is in, so that the first answer comes at once even when it is empty.
  return Members(options.folder, "childEntity", true,
                 {Properties("VirtualMachine", std::move(paths)), Properties("Folder", {"name"})});
}

vim::PropertyFilterSpec TaskFilter(const MoRef& view) {
  return Members(view, "view", false, {Properties("Task", {"info.state", "info.error", "info.result"})});
}

// `subtypes`: with a path that only the property's actual type has.
std::optional<vim::PropertyFilterSpec> CapacityFilter(const InventoryOptions& options, bool subtypes) {
  vim::PropertyFilterSpec spec;
  if (!options.compute_resource.empty()) {
    spec.objectSet.push_back({.obj = options.compute_resource});
    spec.propSet.push_back(
        Properties("ComputeResource",
                   {"summary.effectiveCpu", "summary.effectiveMemory", "summary.totalCpu", "summary.numCpuCores",
                    "summary.numCpuThreads", "summary.numHosts", "summary.numEffectiveHosts"}));
    if (options.compute_resource.type == "ClusterComputeResource") {
      std::vector<std::string> paths = {"configuration.drsConfig.enabled"};
      if (subtypes) paths.emplace_back("configurationEx.drsConfig.enabled");
      spec.propSet.push_back(Properties("ClusterComputeResource", std::move(paths)));
    }
  }
  if (!options.resource_pool.empty()) {
    spec.objectSet.push_back({.obj = options.resource_pool});
    spec.propSet.push_back(
        Properties("ResourcePool",
                   {"runtime.cpu.maxUsage", "runtime.cpu.overallUsage", "runtime.memory.maxUsage",
                    "runtime.memory.overallUsage", "config.cpuAllocation.limit", "config.cpuAllocation.reservation",
                    "config.memoryAllocation.limit", "config.memoryAllocation.reservation"}));
  }
  for (const MoRef& datastore : options.datastores) spec.objectSet.push_back({.obj = datastore});
  if (!options.datastores.empty()) {
    spec.propSet.push_back(Properties("Datastore", {"name", "summary.freeSpace", "summary.capacity",
                                                    "summary.accessible", "summary.maintenanceMode"}));
  }
  if (spec.objectSet.empty()) return std::nullopt;
  spec.reportMissingObjectsInResults = true;
  return spec;
}

// What is expected to happen to a collector now and then: made anew at once.
bool IsCollectorGone(const Status& status) {
  std::string fault = vim::FaultType(status);
  return fault == "InvalidCollectorVersion" || fault == "ManagedObjectNotFound" || fault == "NotAuthenticated";
}

}  // namespace

// One caller of AwaitTask among a task's waiters.
class Inventory::Turn {
 public:
  Turn(Inventory& inventory, Waiting& waiting, Waiter& waiter)
      : inventory_(inventory), waiting_(waiting), waiter_(waiter) {
    waiting_.waiters.push_back(&waiter_);
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() {
    std::erase(waiting_.waiters, &waiter_);
    if (!waiting_.waiters.empty()) return;
    if (waiting_.listed) inventory_.done_in_list_.push_back(waiting_.task);
    inventory_.tasks_.erase(waiting_.task.value);
    if (inventory_.done_in_list_.size() >= kDoneInList) inventory_.wake_.NotifyAll();
  }

 private:
  Inventory& inventory_;
  Waiting& waiting_;
  Waiter& waiter_;
};

Inventory::Inventory(Clock& clock, Session& session, InventoryOptions options)
    : clock_(clock),
      session_(session),
      options_(std::move(options)),
      keys_{.pod = options_.pod_key, .guest = options_.guest_key},
      last_round_(clock.Now() - options_.round) {
  login_ = session_.OnLogin([this] {
    // A poll on the old session may never be answered.
    if (epoch_ != 0 && session_.epoch() != epoch_) RequestRelist();
  });
}

void Inventory::RequestRelist() {
  relist_wanted_ = true;
  wake_.NotifyAll();
}

Task<StatusOr<TaskResult>> Inventory::AwaitTask(MoRef task, Instant deadline) {
  std::unique_ptr<Waiting>& slot = tasks_[task.value];
  if (slot == nullptr) {
    slot = std::make_unique<Waiting>();
    slot->task = task;
    wake_.NotifyAll();
  }
  Waiting& waiting = *slot;
  Waiter waiter;
  Turn turn(*this, waiting, waiter);
  if (!waiting.outcome.has_value()) {
    Clock::Timer timer = clock_.Schedule(deadline, [&waiter] { waiter.Wake(); });
    co_await waiter.Wait();
  }
  if (!waiting.outcome.has_value()) {
    Status status = absl::DeadlineExceededError(absl::StrCat("task ", task.value, " has not ended in time"));
    status.SetPayload(http::kMaybeSent, absl::Cord("1"));
    co_return status;
  }
  CO_RETURN_IF_ERROR(*waiting.outcome);
  co_return TaskResult{.task = std::move(task), .result = waiting.progress.result};
}

void Inventory::EndTask(Waiting& waiting, Status outcome) {
  if (waiting.outcome.has_value()) return;
  waiting.outcome = std::move(outcome);
  for (Waiter* waiter : waiting.waiters) waiter->Wake();
}

Task<Status> Inventory::Run() {
  Backoff backoff(options_.backoff);
  while (true) {
    Status status = co_await Collect();
    bool whole = std::exchange(listed_since_open_, false);
    if (whole) backoff.Reset();
    if (absl::IsCancelled(status)) {
      co_await Close();
      Forget();
      continue;
    }
    fresh_ = false;
    Forget();
    if (whole && IsCollectorGone(status)) {
      Log(Severity::kInfo, "Property collector is gone, making a new one", {{"error", status}});
      continue;
    }
    absl::Duration delay = backoff.Next();
    Log(Severity::kWarning, "Inventory is interrupted", {{"error", status}, {"retry", absl::FormatDuration(delay)}});
    co_await clock_.Sleep(delay);
  }
}

void Inventory::Forget() {
  collector_ = {};
  view_ = {};
  version_.clear();
  listing_.clear();
  done_in_list_.clear();
  for (auto& [id, waiting] : tasks_) waiting->listed = false;
}

Task<Status> Inventory::Open() {
  CO_RETURN_IF_ERROR(co_await session_.Connect());
  epoch_ = session_.epoch();
  relist_wanted_ = false;
  const vim::ServiceContent& content = session_.content();
  if (!content.viewManager) co_return absl::UnimplementedError("the server has no view manager");
  CO_ASSIGN_OR_RETURN(collector_, co_await session_.Invoke(vim::CreatePropertyCollector(content.propertyCollector)));
  CO_ASSIGN_OR_RETURN(view_, co_await session_.Invoke(vim::CreateListView(*content.viewManager, {})));
  StatusOr<MoRef> filter =
      co_await session_.Invoke(vim::CreateFilter(collector_, VmFilter(options_, keyed_), /*partialUpdates=*/false));
  if (keyed_ && vim::IsFault(filter.status(), "InvalidProperty")) {
    keyed_ = false;
    filter = co_await session_.Invoke(vim::CreateFilter(collector_, VmFilter(options_, keyed_), false));
  }
  CO_RETURN_IF_ERROR(filter.status());
  CO_RETURN_IF_ERROR((co_await session_.Invoke(vim::CreateFilter(collector_, TaskFilter(view_), false))).status());
  if (auto capacity = CapacityFilter(options_, true); capacity.has_value()) {
    filter = co_await session_.Invoke(vim::CreateFilter(collector_, *capacity, false));
    if (vim::IsFault(filter.status(), "InvalidProperty")) {
      filter = co_await session_.Invoke(vim::CreateFilter(collector_, *CapacityFilter(options_, false), false));
    }
    CO_RETURN_IF_ERROR(filter.status());
  }
  relist_at_ = options_.relist > absl::ZeroDuration() ? clock_.Now() + options_.relist : Instant::Never();
  co_return absl::OkStatus();
}

Task<> Inventory::Close() {
  if (session_.epoch() != epoch_) co_return;  // they went with their session
  if (!collector_.empty()) (void)co_await session_.Invoke(vim::DestroyPropertyCollector(collector_));
  if (!view_.empty()) (void)co_await session_.Invoke(vim::DestroyView(view_));
}

Task<Status> Inventory::Collect() {
  Status opened = co_await Open();
  if (!opened.ok()) co_return opened;
  TaskGroup group(co_await asio::this_coro::executor);
  group.Spawn("rounds", Rounds());
  group.Spawn("task list", KeepTaskList());
  co_return co_await group.Join();
}

Task<Status> Inventory::Rounds() {
  bool more = true;  // of the first listing, or of a truncated set
  while (true) {
    if (!more) {
      if (last_round_ + options_.round > clock_.Now()) co_await clock_.SleepUntil(last_round_ + options_.round);
      if (relist_wanted_ || clock_.Now() >= relist_at_) co_return RelistWanted();
    }
    last_round_ = clock_.Now();
    ++stats_.rounds;
    absl::Duration wait = std::min(options_.max_wait, relist_at_ - clock_.Now());
    auto seconds = static_cast<int32_t>(std::max<int64_t>(1, absl::ToInt64Seconds(wait)));
    auto call = vim::WaitForUpdatesEx(collector_, version_, vim::WaitOptions{.maxWaitSeconds = seconds});
    CO_ASSIGN_OR_RETURN(vim::Reply reply, co_await session_.Send(call.method, std::move(call.body),
                                                                 {.timeout = absl::Seconds(seconds) + kPollSlack}));
    CO_ASSIGN_OR_RETURN(std::optional<UpdateSet> set, ParseUpdateSet(reply));
    if (!set.has_value()) {
      more = false;
      continue;
    }
    CO_RETURN_IF_ERROR(Apply(*set));
    version_ = std::move(set->version);
    more = set->truncated;
  }
}

Status Inventory::Apply(const UpdateSet& set) {
  // Several updates of one object are one change for readers: extraConfig and powerState are seen together.
  absl::flat_hash_map<std::string, std::optional<vim::VmRecord>> changed;
  Capacity capacity = capacity_;
  for (const ObjectChange& change : set.objects) {
    if (SaysNotAuthenticated(change)) {
      session_.Invalidate(epoch_);
      return absl::UnauthenticatedError("the session is gone");
    }
    if (change.object.type == "VirtualMachine") {
      if (keyed_ && RefusesKeyedPaths(change)) {
        Log(Severity::kInfo, "The server takes no keyed extraConfig paths: following the whole array");
        keyed_ = false;
        return RelistWanted();
      }
      ApplyVm(change, changed);
    } else if (change.object.type != "Task" && change.object.type != "Folder") {
      ApplyChange(change, capacity);
    }
  }
  if (listed_since_open_) {
    for (auto& [id, record] : changed) {
      if (!record.has_value()) {
        vms_.Erase(id);
      } else if (auto old = vms_.Get(id); old == nullptr || *old != *record) {
        vms_.Put(id, std::make_shared<const vim::VmRecord>(*std::move(record)));
      }
    }
  } else if (!set.truncated) {
    std::vector<std::pair<std::string, std::shared_ptr<const vim::VmRecord>>> all;
    all.reserve(listing_.size());
    for (auto& [id, record] : listing_) {
      all.emplace_back(id, std::make_shared<const vim::VmRecord>(std::move(record)));
    }
    listing_ = {};
    listed_since_open_ = true;
    const bool news = !std::exchange(fresh_, true);
    ++stats_.relists;
    vms_.Replace(std::move(all), std::equal_to<vim::VmRecord>());
    if (news) {
      for (const auto& fn : fresh_callbacks_) fn();
    }
  }
  if (capacity != capacity_) {
    capacity_ = std::move(capacity);
    for (const auto& fn : capacity_callbacks_) fn(capacity_);
  }
  // Tasks last: who waited for one finds its effects in the store.
  for (const ObjectChange& change : set.objects) {
    if (change.object.type == "Task") ApplyTask(change);
  }
  return absl::OkStatus();
}

void Inventory::ApplyVm(const ObjectChange& change,
                        absl::flat_hash_map<std::string, std::optional<vim::VmRecord>>& changed) {
  const std::string& id = change.object.value;
  bool leaves = change.kind == ObjectChange::Kind::kLeave;
  if (!listed_since_open_) {
    if (leaves) {
      listing_.erase(id);
    } else {
      ApplyChange(keys_, change, listing_[id]);
    }
    return;
  }
  if (leaves) {
    changed[id] = std::nullopt;
    return;
  }
  std::optional<vim::VmRecord>& record = changed[id];
  if (!record.has_value()) {
    auto old = vms_.Get(id);
    record = old == nullptr ? vim::VmRecord{.incomplete = change.kind != ObjectChange::Kind::kEnter} : *old;
  }
  ApplyChange(keys_, change, *record);
}

void Inventory::ApplyTask(const ObjectChange& change) {
  auto it = tasks_.find(change.object.value);
  if (it == tasks_.end() || it->second->outcome.has_value()) return;
  Waiting& waiting = *it->second;
  bool gone = std::ranges::any_of(change.missing, [](const auto& m) { return m.second == "ManagedObjectNotFound"; });
  if (change.kind == ObjectChange::Kind::kLeave || gone) {
    waiting.listed = false;
    EndTask(waiting, TaskUnknown(waiting.task));
    return;
  }
  ApplyChange(change, waiting.progress);
  if (waiting.progress.state == "success") {
    EndTask(waiting, absl::OkStatus());
  } else if (waiting.progress.state == "error") {
    EndTask(waiting, vim::FaultStatus(waiting.progress.error.value_or(vim::Fault{.type = "MethodFault"})));
  }
}

Task<Status> Inventory::KeepTaskList() {
  while (true) {
    std::vector<MoRef> add;
    for (auto& [id, waiting] : tasks_) {
      if (!waiting->listed && !waiting->outcome.has_value()) add.push_back(waiting->task);
    }
    if (relist_wanted_) co_return RelistWanted();
    if (add.empty() && done_in_list_.size() < kDoneInList) {
      co_await wake_.Wait();
      continue;
    }
    for (const MoRef& task : add) tasks_[task.value]->listed = true;
    std::vector<MoRef> remove = std::exchange(done_in_list_, {});
    ++stats_.list_changes;
    Instant next = clock_.Now() + options_.tick;
    CO_ASSIGN_OR_RETURN(std::vector<MoRef> unresolved,
                        co_await session_.Invoke(vim::ModifyListView(view_, add, remove)));
    for (const MoRef& task : unresolved) {
      auto it = tasks_.find(task.value);
      if (it == tasks_.end()) continue;
      it->second->listed = false;
      EndTask(*it->second, TaskUnknown(task));
    }
    // However many tasks come: the list changes once in a tick.
    co_await clock_.SleepUntil(next);
  }
}

}  // namespace vck::vsphere
