// What a WaitForUpdatesEx reply says, decoded; pure.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "vimtypes/soap.h"
#include "vimtypes/types.gen.h"
#include "vimtypes/vm_record.h"

namespace vck::vsphere {

namespace vim = ::vck::vimtypes;
using vim::MoRef;

// One property of one object. A value that is absent (`remove`, or unset on the server) has `set` false.
struct PropertyValue {
  std::string name;  // "runtime.powerState", "config.extraConfig[\"vch.pod\"]"
  bool set = false;
  vim::Any value;                                            // scalars, enums (as text) and references
  std::vector<std::pair<std::string, std::string>> options;  // OptionValue, or an array of them, as text
  // Apart, because hardly any property has them, and the first listing holds those of all VMs at once.
  std::shared_ptr<const vim::Fault> fault;  // LocalizedMethodFault (task errors)
  std::shared_ptr<const vim::VirtualMachineQuestionInfo> question;
};

struct ObjectChange {
  enum class Kind { kEnter, kModify, kLeave };
  Kind kind = Kind::kModify;
  MoRef object;
  std::vector<PropertyValue> changes;  // in the server's order
  // Properties that the server would not show, with the fault's type.
  std::vector<std::pair<std::string, std::string>> missing;
};

struct UpdateSet {
  std::string version;
  bool truncated = false;  // more of the same comes with the next call
  std::vector<ObjectChange> objects;
};

// nullopt: the wait ended without a change.
StatusOr<std::optional<UpdateSet>> ParseUpdateSet(const vim::Reply& reply);
// The same for the objects of RetrievePropertiesEx and its continuation; `token` gets the next page's, empty at the
// end.
StatusOr<std::vector<ObjectChange>> ParseObjects(const vim::Reply& reply, std::string* token);

// Which extraConfig keys go into a VmRecord.
struct RecordKeys {
  std::string pod;
  std::string guest;
};
// Applies a change to a record: idempotent, unknown properties skipped. kEnter starts from an empty record.
void ApplyChange(const RecordKeys& keys, const ObjectChange& change, vim::VmRecord& record);
// True if the server does not take keyed paths into config.extraConfig.
bool RefusesKeyedPaths(const ObjectChange& change);
// True if what is missing is missing because the session is gone (a simulator says so in a 200).
bool SaysNotAuthenticated(const ObjectChange& change);

// A task as far as its updates tell.
struct TaskProgress {
  std::string state;  // queued, running, success, error; empty: not seen yet
  vim::Any result;
  std::optional<vim::Fault> error;
  [[nodiscard]] bool done() const { return state == "success" || state == "error"; }
};
void ApplyChange(const ObjectChange& change, TaskProgress& task);

// What a VCH may use. All figures are the server's; zero or -1 where it has not said (yet).
struct Capacity {
  // The cluster's or host's, without what is down or in maintenance.
  int64_t effective_cpu_mhz = 0;
  int64_t effective_memory_mb = 0;
  int cpu_cores = 0;
  int cpu_threads = 0;
  int hosts = 0, effective_hosts = 0;
  int64_t total_cpu_mhz = 0;
  bool drs_enabled = false;
  // The pool's; limit -1: none.
  int64_t pool_cpu_limit_mhz = -1, pool_cpu_reservation_mhz = 0, pool_max_cpu_mhz = 0;
  int64_t pool_memory_limit_mb = -1, pool_memory_reservation_mb = 0, pool_max_memory_bytes = 0;
  int64_t pool_used_memory_bytes = -1;  // of hosts, by its VMs; -1: unknown
  int64_t pool_used_cpu_mhz = -1;       // likewise
  struct Datastore {
    std::string name;
    int64_t free_bytes = 0, capacity_bytes = 0;
    bool accessible = false;
    std::string maintenance_mode;  // "normal", "inMaintenance", …
    friend bool operator==(const Datastore&, const Datastore&) = default;
  };
  std::map<std::string, Datastore> datastores;  // by moid
  // What a pod may get at most, all together: the smaller of pool and cluster.
  [[nodiscard]] int64_t UsableCpuMhz() const;
  [[nodiscard]] int64_t UsableMemoryMb() const;
  // MHz of one core; 0 if unknown.
  [[nodiscard]] int64_t MhzPerCore() const { return cpu_cores > 0 ? total_cpu_mhz / cpu_cores : 0; }
  friend bool operator==(const Capacity&, const Capacity&) = default;
};
// For objects of type ComputeResource, ClusterComputeResource, ResourcePool, VirtualApp and Datastore.
void ApplyChange(const ObjectChange& change, Capacity& capacity);

}  // namespace vck::vsphere
