// The Node object as this kubelet writes it. Pure: facts in, JSON out.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"
#include "json/json.h"

namespace vck::node {

// What a node has to give.
struct Resources {
  int64_t cpu_millis = 0;
  int64_t memory_bytes = 0;
  int64_t ephemeral_bytes = 0;
  int64_t pods = 0;
  friend bool operator==(const Resources&, const Resources&) = default;
};

struct Taint {
  std::string key, value, effect;
  friend bool operator==(const Taint&, const Taint&) = default;
};
// "key[=value]:effect", effect one of NoSchedule, PreferNoSchedule, NoExecute.
StatusOr<Taint> ParseTaint(std::string_view text);

// What does not change while the kubelet runs.
struct NodeIdentity {
  std::string name;
  std::string vch_id;
  std::string internal_ip;                    // "" if none is known
  uint16_t kubelet_port = 0;                  // 0: no kubelet API is served
  std::map<std::string, std::string> labels;  // of --node-labels
  std::vector<Taint> taints;                  // set at creation only
  std::string boot_id, machine_id;
};

struct NodeImage {
  std::vector<std::string> names;
  int64_t bytes = 0;
  friend bool operator==(const NodeImage&, const NodeImage&) = default;
};

// What changes, and is looked at again and again.
struct NodeFacts {
  Resources capacity, allocatable;
  std::string vsphere_version;    // "VMware vCenter Server 8.0.3 build-1"
  bool inventory_synced = false;  // the pod VMs have been seen since the start
  bool has_pod_range = false;
  bool vcenter_ok = false;
  bool vcenter_refuses = false;     // the login
  bool vcenter_connecting = false;  // since the start it has neither answered nor failed to
  std::string vcenter_message;      // why not
  bool datastore_accessible = true;
  double datastore_free_ratio = 1.0;
  double memory_free_ratio = 1.0;  // of the pool's or cluster's memory
  // The largest first, of which 50 are told, as the kubelet does; nullopt while they are not known, and then what the
  // Node has stands.
  std::optional<std::vector<NodeImage>> images;
  friend bool operator==(const NodeFacts&, const NodeFacts&) = default;
};

struct NodeThresholds {
  double datastore_free = 0.10;                    // below: DiskPressure (kubelet's nodefs.available default)
  double memory_free = 0.02;                       // below: MemoryPressure
  absl::Duration report_every = absl::Minutes(5);  // heartbeat of an unchanged status
};

// The object to create. `previous` (may be null) is the last state of a Node of this name that was deleted: its labels,
// annotations, taints, podCIDRs and providerID live on, except labels that a node may not set itself (NodeRestriction).
std::string BuildNode(const NodeIdentity& identity, const NodeFacts& facts, const json::Value* previous,
                      const NodeThresholds& thresholds, absl::Time now);
// True if a node may set this label on itself (NodeRestriction admission).
bool MaySetOwnLabel(std::string_view key);

// Strategic-merge patch that brings status of `current` (a Node) to the facts; nothing while it is right and its
// heartbeat is younger than report_every. Conditions of others are left alone; transition times move only on change.
// While the inventory has not been seen since the start, what vCenter told an earlier run (resources, pressures, Ready)
// stands.
std::optional<std::string> BuildStatusPatch(const NodeIdentity& identity, const NodeFacts& facts,
                                            const json::Value& current, const NodeThresholds& thresholds,
                                            absl::Time now);
// Labels (os, arch, hostname, type, --node-labels) and providerID that are missing in `current`: a merge patch, or
// nothing.
std::optional<std::string> BuildMetadataPatch(const NodeIdentity& identity, const json::Value& current);

}  // namespace vck::node
