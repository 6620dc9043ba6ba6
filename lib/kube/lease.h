// coordination.k8s.io/v1 Leases: the node's heartbeat, and leader election.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "async/backoff.h"
#include "async/clock.h"
#include "async/task.h"
#include "async/task_group.h"
#include "async/wait.h"
#include "kube/client.h"

namespace vck::kube {

// The fields of a Lease that are used here. Times have microseconds (metav1.MicroTime).
struct LeaseRecord {
  std::string holder;
  int lease_seconds = 0;
  std::optional<absl::Time> acquire_time, renew_time;
  int transitions = 0;
  std::string resource_version;
};
StatusOr<LeaseRecord> ParseLease(std::string_view json);
std::string FormatMicroTime(absl::Time t);  // 2026-01-02T03:04:05.000006Z

struct NodeLeaseOptions {
  std::string node;
  absl::Duration duration = absl::Seconds(40);  // leaseDurationSeconds
  absl::Duration renew = absl::Seconds(10);     // with up to 4 % jitter
  BackoffPolicy retry{.initial = absl::Milliseconds(200), .max = absl::Seconds(7), .factor = 2, .jitter = 0.2};
};

// Renews kube-node-lease/<node>. Creates it (owned by the Node) when it is missing.
class NodeLease {
 public:
  // `node_uid` gives the UID of the Node object, "" while there is none: the lease is then made without an owner and
  // gets it with a later renewal.
  NodeLease(Client& client, NodeLeaseOptions options, std::function<std::string()> node_uid);
  Task<> Run();  // until cancelled
  // Renews now, e.g. when the Node was created anew.
  void Kick();
  [[nodiscard]] std::optional<Instant> last_renewal() const { return last_renewal_; }
  [[nodiscard]] const Status& last_error() const { return last_error_; }

 private:
  Task<Status> Renew();
  // Returns after `d`, or when Kick() is called.
  Task<> WaitKick(absl::Duration d);

  Client& client_;
  Clock& clock_;
  NodeLeaseOptions options_;
  std::function<std::string()> node_uid_;
  std::string owner_uid_;  // as the lease has it, as far as we know
  std::optional<Instant> last_renewal_;
  Status last_error_;
  Backoff backoff_;
  Signal kick_;
  bool kicked_ = false;
  uint64_t random_;
};

struct LeaderElectionOptions {
  std::string ns, name;                               // of the Lease
  std::string identity;                               // unique among the candidates
  absl::Duration lease_duration = absl::Seconds(15);  // others wait as long since they last saw a renewal
  absl::Duration renew_deadline = absl::Seconds(10);  // the leader gives up when it could not renew for as long
  absl::Duration retry_period = absl::Seconds(2);
  bool release_on_cancel = true;
};

// client-go's leader election: expiry is judged by one's own clock since the record was last seen to change, so clocks
// need not agree.
class LeaderElector {
 public:
  // InvalidArgument unless lease_duration > renew_deadline > 1.2 retry_period > 0 and the names are set.
  static Status Validate(const LeaderElectionOptions& options);
  LeaderElector(Client& client, LeaderElectionOptions options);

  // Waits until this candidate leads, then runs `lead` while it does. Returns lead's result, or Aborted when leadership
  // was lost (then `lead` has been cancelled and has ended). When cancelled, cancels `lead`, joins it and gives the
  // lease up.
  Task<Status> Run(Executor executor, std::function<Task<Status>()> lead);

  [[nodiscard]] bool leading() const { return leading_; }
  [[nodiscard]] const std::string& leader() const { return observed_.holder; }  // as last seen; may be empty

 private:
  // Aborted when another holds it, or was faster.
  Task<Status> TryAcquireOrRenew();
  Task<Status> Write(LeaseRecord next);
  // Ends with Aborted when leadership is lost.
  static Task<Status> RenewLoop(LeaderElector* self);
  static Task<Status> Lead(std::function<Task<Status>()> lead, TaskGroup* group, Status* result);
  Task<Status> Release();
  void Observe(LeaseRecord record);

  Client& client_;
  Clock& clock_;
  LeaderElectionOptions options_;
  LeaseRecord observed_;
  std::optional<Instant> observed_at_;
  bool leading_ = false;
  uint64_t random_;
};

}  // namespace vck::kube
