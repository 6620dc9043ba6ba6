#include "kube/lease.h"

#include <utility>

#include "async/timeout.h"
#include "base/log.h"
#include "json/json.h"

namespace vck::kube {
namespace {

constexpr char kNodeLeaseNamespace[] = "kube-node-lease";

std::optional<absl::Time> ReadTime(const json::Value* spec, std::string_view key) {
  absl::Time time;
  if (!absl::ParseTime(absl::RFC3339_full, json::String(spec, key), &time, nullptr)) return std::nullopt;
  return time;
}

json::Value NodeOwner(const std::string& node, const std::string& uid) {
  return json::Array{json::Object{{"apiVersion", "v1"}, {"kind", "Node"}, {"name", node}, {"uid", uid}}};
}

}  // namespace

std::string FormatMicroTime(absl::Time t) { return absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", t, absl::UTCTimeZone()); }

StatusOr<LeaseRecord> ParseLease(std::string_view text) {
  ASSIGN_OR_RETURN(json::Value lease, json::Parse(text));
  if (json::String(lease, "kind") != "Lease") return absl::InvalidArgumentError("expected a Lease");
  const json::Value* spec = json::Get(lease, "spec");
  LeaseRecord record;
  record.holder = json::String(spec, "holderIdentity");
  record.lease_seconds = static_cast<int>(json::Int(spec, "leaseDurationSeconds"));
  record.acquire_time = ReadTime(spec, "acquireTime");
  record.renew_time = ReadTime(spec, "renewTime");
  record.transitions = static_cast<int>(json::Int(spec, "leaseTransitions"));
  record.resource_version = json::String(json::Get(lease, "metadata"), "resourceVersion");
  return record;
}

// ---- the node's heartbeat ----

NodeLease::NodeLease(Client& client, NodeLeaseOptions options, std::function<std::string()> node_uid)
    : client_(client),
      clock_(client.clock()),
      options_(std::move(options)),
      node_uid_(std::move(node_uid)),
      backoff_(options_.retry),
      random_(RandomSeed()) {}

// One patch, whatever the lease's version: nobody else writes to it.
Task<Status> NodeLease::Renew() {
  ObjectRef ref{kLeases, kNodeLeaseNamespace, options_.node};
  std::string uid = node_uid_();
  json::Object spec{{"holderIdentity", options_.node},
                    {"leaseDurationSeconds", absl::ToInt64Seconds(options_.duration)},
                    {"renewTime", FormatMicroTime(clock_.WallNow())}};
  json::Object body{{"spec", std::move(spec)}};
  bool own = !uid.empty() && uid != owner_uid_;
  if (own) body["metadata"] = json::Object{{"ownerReferences", NodeOwner(options_.node, uid)}};
  PatchOptions patch_options;
  patch_options.timeout = options_.renew;
  auto patched = co_await client_.Patch(ref, PatchType::kMerge, json::Serialize(json::Value(body)), patch_options);
  if (absl::IsNotFound(patched.status())) {
    json::Object metadata{{"name", options_.node}, {"namespace", kNodeLeaseNamespace}};
    if (!uid.empty()) metadata["ownerReferences"] = NodeOwner(options_.node, uid);
    body["apiVersion"] = "coordination.k8s.io/v1";
    body["kind"] = "Lease";
    body["metadata"] = std::move(metadata);
    own = true;
    patched = co_await client_.Create(ref, json::Serialize(json::Value(body)), {.timeout = options_.renew});
  }
  CO_RETURN_IF_ERROR(patched.status());
  if (own) owner_uid_ = uid;
  last_renewal_ = clock_.Now();
  co_return absl::OkStatus();
}

Task<> NodeLease::WaitKick(absl::Duration d) {
  if (!std::exchange(kicked_, false)) {
    Clock::Timer timer = clock_.Schedule(clock_.Now() + d, [this] { kick_.NotifyAll(); });
    co_await kick_.Wait();
    kicked_ = false;
  }
}

Task<> NodeLease::Run() {
  while (true) {
    last_error_ = co_await Renew();
    absl::Duration next = options_.renew * (1 + 0.04 * NextRandom(random_));
    if (last_error_.ok()) {
      backoff_.Reset();
    } else {
      next = backoff_.Next();
      Log(Severity::kWarning, "Node lease not renewed",
          {{"err", last_error_}, {"retryIn", absl::FormatDuration(next)}});
    }
    co_await WaitKick(next);
  }
}

void NodeLease::Kick() {
  kicked_ = true;
  kick_.NotifyAll();
}

// ---- leader election ----

Status LeaderElector::Validate(const LeaderElectionOptions& o) {
  if (o.ns.empty() || o.name.empty())
    return absl::InvalidArgumentError("leader election: expected a namespace and a name");
  if (o.identity.empty()) return absl::InvalidArgumentError("leader election: expected an identity");
  if (o.retry_period <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError("leader election: expected a retry period above 0");
  }
  if (o.renew_deadline <= 1.2 * o.retry_period) {
    return absl::InvalidArgumentError("leader election: expected a renew deadline above 1.2 times the retry period");
  }
  if (o.lease_duration <= o.renew_deadline || o.lease_duration < absl::Seconds(1)) {
    return absl::InvalidArgumentError(
        "leader election: expected a lease duration above the renew deadline, 1 s at least");
  }
  return absl::OkStatus();
}

LeaderElector::LeaderElector(Client& client, LeaderElectionOptions options)
    : client_(client), clock_(client.clock()), options_(std::move(options)), random_(RandomSeed()) {}

void LeaderElector::Observe(LeaseRecord record) {
  bool same = observed_at_ && record.holder == observed_.holder && record.renew_time == observed_.renew_time &&
              record.acquire_time == observed_.acquire_time && record.transitions == observed_.transitions &&
              record.lease_seconds == observed_.lease_seconds;
  observed_ = std::move(record);
  if (!same) observed_at_ = clock_.Now();
}

// Writes the record over the version that was seen last; Aborted when somebody was faster.
Task<Status> LeaderElector::Write(LeaseRecord next) {
  ObjectRef ref{kLeases, options_.ns, options_.name};
  json::Object spec{{"holderIdentity", next.holder},
                    {"leaseDurationSeconds", next.lease_seconds},
                    {"acquireTime", FormatMicroTime(next.acquire_time.value_or(clock_.WallNow()))},
                    {"renewTime", FormatMicroTime(next.renew_time.value_or(clock_.WallNow()))},
                    {"leaseTransitions", next.transitions}};
  StatusOr<std::string> written;
  if (next.resource_version.empty()) {
    json::Object body{{"apiVersion", "coordination.k8s.io/v1"},
                      {"kind", "Lease"},
                      {"metadata", json::Object{{"name", options_.name}, {"namespace", options_.ns}}},
                      {"spec", std::move(spec)}};
    written = co_await client_.Create(ref, json::Serialize(json::Value(std::move(body))),
                                      {.timeout = options_.renew_deadline});
    if (absl::IsAlreadyExists(written.status())) co_return absl::AbortedError("another candidate was faster");
  } else {
    json::Object body{{"metadata", json::Object{{"resourceVersion", next.resource_version}}},
                      {"spec", std::move(spec)}};
    PatchOptions patch_options;
    patch_options.timeout = options_.renew_deadline;
    written =
        co_await client_.Patch(ref, PatchType::kMerge, json::Serialize(json::Value(std::move(body))), patch_options);
  }
  CO_RETURN_IF_ERROR(written.status());
  CO_ASSIGN_OR_RETURN(LeaseRecord record, ParseLease(*written));
  Observe(std::move(record));
  co_return absl::OkStatus();
}

Task<Status> LeaderElector::TryAcquireOrRenew() {
  LeaseRecord next{.holder = options_.identity,
                   .lease_seconds = static_cast<int>(absl::ToInt64Seconds(options_.lease_duration)),
                   .acquire_time = clock_.WallNow(),
                   .renew_time = clock_.WallNow()};
  bool holding = leading_ && observed_.holder == options_.identity;
  if (holding) {
    // The version that we wrote last is most likely the current one.
    next.acquire_time = observed_.acquire_time;
    next.transitions = observed_.transitions;
    next.resource_version = observed_.resource_version;
    Status status = co_await Write(next);
    if (status.ok() || (!absl::IsAborted(status) && !absl::IsNotFound(status))) co_return status;
  }
  auto current = co_await client_.Get({kLeases, options_.ns, options_.name}, {.timeout = options_.renew_deadline});
  if (absl::IsNotFound(current.status())) {
    next.acquire_time = clock_.WallNow();
    next.transitions = 0;
    next.resource_version.clear();
    co_return co_await Write(next);
  }
  CO_RETURN_IF_ERROR(current.status());
  CO_ASSIGN_OR_RETURN(LeaseRecord record, ParseLease(*current));
  Observe(std::move(record));
  bool mine = observed_.holder == options_.identity;
  if (!mine && !observed_.holder.empty() && clock_.Now() < *observed_at_ + absl::Seconds(observed_.lease_seconds)) {
    co_return absl::AbortedError(absl::StrCat("held by ", observed_.holder));
  }
  next.resource_version = observed_.resource_version;
  next.transitions = observed_.transitions + (mine ? 0 : 1);
  if (mine && observed_.acquire_time) next.acquire_time = observed_.acquire_time;
  co_return co_await Write(next);
}

Task<Status> LeaderElector::RenewLoop(LeaderElector* self) {
  Instant renewed = self->clock_.Now();
  while (true) {
    co_await self->clock_.Sleep(self->options_.retry_period);
    Instant deadline = renewed + self->options_.renew_deadline;
    Status status = co_await WithDeadline(self->clock_, deadline, "renewing the lease", self->TryAcquireOrRenew());
    if (status.ok()) {
      renewed = self->clock_.Now();
      continue;
    }
    bool taken = self->observed_.holder != self->options_.identity;
    if (taken || self->clock_.Now() >= deadline) {
      co_return absl::AbortedError(absl::StrCat("leadership lost: ", status.message()));
    }
    Log(Severity::kWarning, "Leader lease not renewed", {{"lease", self->options_.name}, {"err", status}});
  }
}

Task<Status> LeaderElector::Lead(std::function<Task<Status>()> lead, TaskGroup* group, Status* result) {
  *result = co_await lead();
  group->Cancel();
  co_return absl::OkStatus();
}

Task<Status> LeaderElector::Release() {
  LeaseRecord next = observed_;
  if (next.holder != options_.identity) co_return absl::OkStatus();
  next.holder = "";
  next.lease_seconds = 1;
  next.acquire_time = next.renew_time = clock_.WallNow();
  co_return co_await Write(std::move(next));
}

Task<Status> LeaderElector::Run(Executor executor, std::function<Task<Status>()> lead) {
  CO_RETURN_IF_ERROR(Validate(options_));
  while (true) {
    Status status = co_await WithTimeout(clock_, options_.renew_deadline, "acquiring the lease", TryAcquireOrRenew());
    if (status.ok()) break;
    LogV(2, "Leader lease not acquired", {{"lease", options_.name}, {"err", status}});
    co_await clock_.Sleep(options_.retry_period * (1 + 1.2 * NextRandom(random_)));
  }
  leading_ = true;
  Log(Severity::kInfo, "Became leader", {{"lease", options_.name}, {"identity", options_.identity}});
  bool aborted = false;
  Status result;
  Status lost;
  std::exception_ptr exception;
  {
    TaskGroup group(executor);
    group.Spawn("lead", Lead(std::move(lead), &group, &result));
    group.Spawn("renew", RenewLoop(this));
    try {
      lost = co_await group.Join();
    } catch (const boost::system::system_error& e) {
      if (IsCancelled(e)) {
        aborted = true;
      } else {
        exception = std::current_exception();
      }
    } catch (...) {
      exception = std::current_exception();
    }
  }
  leading_ = false;
  // `lead` has ended. Whoever stands by need not wait for the lease to expire.
  if (lost.ok() && options_.release_on_cancel) {
    if (aborted) co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    Status released = co_await WithTimeout(clock_, absl::Seconds(5), "releasing the lease", Release());
    if (!released.ok()) Log(Severity::kWarning, "Leader lease not released", {{"err", released}});
    if (aborted) co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
  }
  if (aborted) ThrowCancelled();
  if (exception) std::rethrow_exception(exception);
  if (!lost.ok()) {
    Log(Severity::kError, "Leadership lost", {{"lease", options_.name}, {"err", lost}});
    co_return lost;
  }
  co_return result;
}

}  // namespace vck::kube
