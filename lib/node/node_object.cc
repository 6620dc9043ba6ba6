#include "node/node_object.h"

#include <algorithm>
#include <array>

#include <sys/utsname.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace vck::node {
namespace {

using json::Array;
using json::Object;
using json::Value;

// The kubelet's --node-status-max-images and MaxNamesPerImageInNodeStatus.
constexpr size_t kMaxImages = 50, kMaxImageNames = 5;

std::string Stamp(absl::Time t) { return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", t, absl::UTCTimeZone()); }

struct Condition {
  const char* type;
  std::string status;
  std::string reason;
  std::string message;
};
const char* TrueIf(bool truth) { return truth ? "True" : "False"; }

// MemoryPressure, DiskPressure, PIDPressure and NetworkUnavailable as every kubelet (and its network plugin) reports
// them; VCenterUnavailable is our own. A vCenter outage leaves Ready alone: the pods run on, and their tethers answer.
std::vector<Condition> Conditions(const NodeFacts& f, const NodeThresholds& t) {
  std::vector<Condition> out;
  bool memory = f.memory_free_ratio < t.memory_free;
  out.push_back(
      {"MemoryPressure", TrueIf(memory), memory ? "VSphereHasInsufficientMemory" : "KubeletHasSufficientMemory",
       memory ? absl::StrFormat("%.1f%% of the memory of the VCH's resources is free", f.memory_free_ratio * 100)
              : "the VCH's resources have sufficient memory available"});
  bool disk = !f.datastore_accessible || f.datastore_free_ratio < t.datastore_free;
  out.push_back({"DiskPressure", TrueIf(disk),
                 !f.datastore_accessible ? "DatastoreInaccessible"
                 : disk                  ? "DatastoreFull"
                                         : "KubeletHasNoDiskPressure",
                 !f.datastore_accessible ? std::string("vCenter reports the datastore as inaccessible")
                 : disk ? absl::StrFormat("%.1f%% of the datastore is free", f.datastore_free_ratio * 100)
                        : "the datastore has sufficient space available"});
  out.push_back({"PIDPressure", "False", "KubeletHasSufficientPID", "every pod has process ids of its own"});
  out.push_back({"NetworkUnavailable", TrueIf(!f.has_pod_range), f.has_pod_range ? "PodRangeKnown" : "NoPodCIDR",
                 f.has_pod_range ? "pod addresses can be assigned"
                                 : "neither spec.podCIDR nor --pod-address-range gives addresses for pods"});
  out.push_back({"VCenterUnavailable", TrueIf(!f.vcenter_ok),
                 f.vcenter_ok        ? "VCenterAnswers"
                 : f.vcenter_refuses ? "VCenterRefusesLogin"
                                     : "VCenterDoesNotAnswer",
                 f.vcenter_ok ? "vCenter answers" : f.vcenter_message});
  bool ready = f.inventory_synced && f.has_pod_range;
  out.push_back({"Ready", TrueIf(ready), ready ? "KubeletReady" : "KubeletNotReady",
                 ready ? "kubelet is posting ready status"
                 : !f.inventory_synced
                     ? absl::StrCat("the VCH's VMs have not been seen yet",
                                    f.vcenter_message.empty() ? "" : absl::StrCat(": ", f.vcenter_message))
                     : "no addresses for pods: spec.podCIDR is not set"});
  return out;
}

const Value* FindCondition(const Value& node, std::string_view type) {
  for (const Value& c : json::Items(json::Get(node, "status"), "conditions")) {
    if (json::String(c, "type") == type) return &c;
  }
  return nullptr;
}

// True while this run has not seen vCenter and `node` (may be null) has what an earlier one saw. That stands until
// vCenter says otherwise: the pods run on, and a NotReady node would have them evicted.
bool Stands(const NodeFacts& f, const Value* node) {
  return node != nullptr && !f.inventory_synced && json::Path(*node, {"status", "capacity"}) != nullptr &&
         FindCondition(*node, "Ready") != nullptr;
}

// Once a run has seen the cluster, its capacity is not zero.
bool HasServed(const Value& node) {
  std::string_view cpu = json::String(json::Path(node, {"status", "capacity"}), "cpu");
  return !cpu.empty() && cpu != "0";
}

// Puts what only vCenter tells back to what `node` says.
void CarryOver(const NodeFacts& f, const Value& node, Condition* c) {
  std::string_view type = c->type;
  const bool pressure = type == "MemoryPressure" || type == "DiskPressure";
  const bool ready = type == "Ready" && f.has_pod_range;
  const bool unasked = type == "VCenterUnavailable" && f.vcenter_connecting;
  const Value* old = FindCondition(node, type);
  if (old == nullptr || !(pressure || ready || unasked)) return;
  std::string status(json::String(old, "status"));
  if (status == "Unknown") {
    // The controller manager's word for a kubelet that was not heard of; now it is.
    if (ready && HasServed(node)) *c = {"Ready", "True", "KubeletReady", "kubelet is posting ready status"};
    if (pressure) *c = {c->type, status, "VCenterNotSeen", "vCenter has not answered since the kubelet's start"};
    return;
  }
  if (ready && status != "True") return;  // why it is not Ready is told anew
  *c = {c->type, std::move(status), std::string(json::String(old, "reason")),
        std::string(json::String(old, "message"))};
}

std::vector<Condition> ConditionsOf(const NodeFacts& f, const NodeThresholds& t, const Value* node) {
  std::vector<Condition> out = Conditions(f, t);
  if (Stands(f, node)) {
    for (Condition& c : out) CarryOver(f, *node, &c);
  }
  return out;
}

Object ResourceList(const Resources& r) {
  std::string cpu = r.cpu_millis % 1000 == 0 ? absl::StrCat(r.cpu_millis / 1000) : absl::StrCat(r.cpu_millis, "m");
  return {{"cpu", cpu},
          {"memory", absl::StrCat(r.memory_bytes / 1024, "Ki")},
          {"ephemeral-storage", absl::StrCat(r.ephemeral_bytes / 1024, "Ki")},
          {"pods", absl::StrCat(r.pods)}};
}

Array Addresses(const NodeIdentity& identity) {
  Array out;
  if (!identity.internal_ip.empty()) out.push_back(Object{{"type", "InternalIP"}, {"address", identity.internal_ip}});
  out.push_back(Object{{"type", "Hostname"}, {"address", identity.name}});
  return out;
}

const std::string& KernelRelease() {
  static const std::string* release = [] {
    utsname name{};
    return new std::string(uname(&name) == 0 ? name.release : "unknown");
  }();
  return *release;
}

Object NodeInfo(const NodeIdentity& identity, const NodeFacts& facts, const Value* node) {
  std::string os_image = facts.vsphere_version;
  if (os_image.empty() && node != nullptr)
    os_image = json::String(json::Path(*node, {"status", "nodeInfo"}), "osImage");
  if (os_image.empty()) os_image = "VMware vSphere";
  return {{"machineID", identity.machine_id},
          {"systemUUID", identity.vch_id},
          {"bootID", identity.boot_id},
          {"kernelVersion", KernelRelease()},
          {"osImage", os_image},
          {"containerRuntimeVersion", "vch://" VCK_VERSION},
          {"kubeletVersion", "v1.36.3-vch." VCK_VERSION},
          {"kubeProxyVersion", ""},
          {"operatingSystem", "linux"},
          {"architecture", "amd64"}};
}

Array ImagesOf(const std::vector<NodeImage>& images) {
  Array out;
  for (const NodeImage& image : images) {
    if (out.size() == kMaxImages) break;
    Array names;
    for (const std::string& name : image.names) {
      if (names.size() < kMaxImageNames) names.push_back(json::Value(name));
    }
    out.push_back(Object{{"names", std::move(names)}, {"sizeBytes", image.bytes}});
  }
  return out;
}

// Without conditions, and without resources where those of `node` (may be null) stand.
Object StatusOf(const NodeIdentity& identity, const NodeFacts& facts, const Value* node) {
  Object status{{"addresses", Addresses(identity)}, {"nodeInfo", NodeInfo(identity, facts, node)}};
  if (!Stands(facts, node)) {
    status["capacity"] = ResourceList(facts.capacity);
    status["allocatable"] = ResourceList(facts.allocatable);
  }
  // The API server leaves out a list of none.
  const bool told = node != nullptr && !json::Items(json::Get(*node, "status"), "images").empty();
  if (facts.images && (told || !facts.images->empty())) status["images"] = ImagesOf(*facts.images);
  if (identity.kubelet_port != 0) {
    status["daemonEndpoints"] = Object{{"kubeletEndpoint", Object{{"Port", identity.kubelet_port}}}};
    // Tells the API server that it need not translate kubectl's WebSockets to SPDY for us.
    status["declaredFeatures"] = Array{"ExtendWebSocketsToKubelet"};
  }
  return status;
}

std::map<std::string, std::string> OwnLabels(const NodeIdentity& identity) {
  std::map<std::string, std::string> labels{{"kubernetes.io/hostname", identity.name},
                                            {"kubernetes.io/os", "linux"},
                                            {"kubernetes.io/arch", "amd64"},
                                            {"type", "virtual-kubelet"}};
  for (const auto& [key, value] : identity.labels) labels[key] = value;
  return labels;
}

std::string ProviderId(const NodeIdentity& identity) { return absl::StrCat("vch://", identity.vch_id); }

// True if every member of `want` is in `have` with an equal value (resource lists, nodeInfo).
bool Contains(const Value* have, const Value& want) {
  if (have == nullptr) return false;
  if (!want.is_object()) return *have == want;
  const Object* object = have->if_object();
  if (object == nullptr) return false;
  return std::all_of(want.get_object().begin(), want.get_object().end(),
                     [&](const auto& member) { return Contains(object->if_contains(member.key()), member.value()); });
}

}  // namespace

StatusOr<Taint> ParseTaint(std::string_view text) {
  auto bad = [&] {
    return absl::InvalidArgumentError(absl::StrCat("taint \"", text,
                                                   "\": expected key[=value]:effect with effect NoSchedule, "
                                                   "PreferNoSchedule or NoExecute"));
  };
  size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad();
  Taint taint;
  taint.effect = std::string(text.substr(colon + 1));
  std::pair<std::string_view, std::string_view> kv = absl::StrSplit(text.substr(0, colon), absl::MaxSplits('=', 1));
  taint.key = std::string(kv.first);
  taint.value = std::string(kv.second);
  if (taint.key.empty() ||
      (taint.effect != "NoSchedule" && taint.effect != "PreferNoSchedule" && taint.effect != "NoExecute")) {
    return bad();
  }
  return taint;
}

// plugin/pkg/admission/noderestriction: labels under kubernetes.io and k8s.io that a kubelet may set.
bool MaySetOwnLabel(std::string_view key) {
  size_t slash = key.find('/');
  if (slash == std::string_view::npos) return true;
  std::string_view domain = key.substr(0, slash);
  auto within = [&](std::string_view parent) {
    return domain == parent || absl::EndsWith(domain, absl::StrCat(".", parent));
  };
  if (!within("kubernetes.io") && !within("k8s.io")) return true;
  if (within("kubelet.kubernetes.io") || within("node.kubernetes.io")) return true;
  static constexpr std::array<std::string_view, 14> kAllowed = {"kubernetes.io/hostname",
                                                                "kubernetes.io/arch",
                                                                "kubernetes.io/os",
                                                                "beta.kubernetes.io/instance-type",
                                                                "node.kubernetes.io/instance-type",
                                                                "failure-domain.beta.kubernetes.io/region",
                                                                "failure-domain.beta.kubernetes.io/zone",
                                                                "failure-domain.kubernetes.io/region",
                                                                "failure-domain.kubernetes.io/zone",
                                                                "topology.kubernetes.io/region",
                                                                "topology.kubernetes.io/zone",
                                                                "beta.kubernetes.io/os",
                                                                "beta.kubernetes.io/arch",
                                                                "kubernetes.io/instance-type"};
  return std::find(kAllowed.begin(), kAllowed.end(), key) != kAllowed.end();
}

std::string BuildNode(const NodeIdentity& identity, const NodeFacts& facts, const Value* previous,
                      const NodeThresholds& thresholds, absl::Time now) {
  Object labels, annotations, spec;
  if (previous != nullptr) {
    const Value* meta = json::Get(previous, "metadata");
    for (const auto& [key, value] : json::Members(meta, "labels")) {
      if (MaySetOwnLabel(key)) labels[key] = value;
    }
    annotations = json::Members(meta, "annotations");
    const Value* old = json::Get(previous, "spec");
    for (const char* field : {"podCIDR", "podCIDRs", "taints", "unschedulable"}) {
      if (const Value* value = json::Get(old, field)) spec[field] = *value;
    }
  } else {
    Array taints;
    for (const Taint& t : identity.taints) {
      Object taint{{"key", t.key}, {"effect", t.effect}};
      if (!t.value.empty()) taint["value"] = t.value;
      taints.push_back(std::move(taint));
    }
    if (!taints.empty()) spec["taints"] = std::move(taints);
  }
  for (const auto& [key, value] : OwnLabels(identity)) labels[key] = value;
  spec["providerID"] = ProviderId(identity);
  Object status = StatusOf(identity, facts, previous);
  if (Stands(facts, previous)) {
    for (const char* field : {"capacity", "allocatable"})
      status[field] = json::Members(json::Get(previous, "status"), field);
  }
  Array conditions;
  for (const Condition& c : ConditionsOf(facts, thresholds, previous)) {
    conditions.push_back(Object{{"type", c.type},
                                {"status", c.status},
                                {"reason", c.reason},
                                {"message", c.message},
                                {"lastHeartbeatTime", Stamp(now)},
                                {"lastTransitionTime", Stamp(now)}});
  }
  status["conditions"] = std::move(conditions);
  Object meta{{"name", identity.name}, {"labels", std::move(labels)}};
  if (!annotations.empty()) meta["annotations"] = std::move(annotations);
  return json::Serialize(Object{{"apiVersion", "v1"},
                                {"kind", "Node"},
                                {"metadata", std::move(meta)},
                                {"spec", std::move(spec)},
                                {"status", std::move(status)}});
}

std::optional<std::string> BuildStatusPatch(const NodeIdentity& identity, const NodeFacts& facts, const Value& current,
                                            const NodeThresholds& thresholds, absl::Time now) {
  Value status = StatusOf(identity, facts, &current);
  const Value* told = json::Get(current, "status");
  // API servers before 1.35 drop declaredFeatures; one that is missing is no reason to write, again and again.
  const bool declares = status.get_object().contains("declaredFeatures");
  const bool declared = json::Get(told, "declaredFeatures") != nullptr;
  Value compared = status;
  if (declares && !declared) compared.get_object().erase("declaredFeatures");
  bool changed = !Contains(told, compared);
  if (declared && !declares) {
    status.get_object()["declaredFeatures"] = nullptr;
    changed = true;
  }
  bool stale = false;
  Array conditions;
  for (const Condition& c : ConditionsOf(facts, thresholds, &current)) {
    const Value* old = FindCondition(current, c.type);
    bool flipped = json::String(old, "status") != c.status;
    changed |= flipped || json::String(old, "reason") != c.reason || json::String(old, "message") != c.message;
    absl::Time beat;
    if (!absl::ParseTime(absl::RFC3339_full, json::String(old, "lastHeartbeatTime"), &beat, nullptr) ||
        now - beat >= thresholds.report_every) {
      stale = true;
    }
    std::string since(json::String(old, "lastTransitionTime"));
    if (flipped || since.empty()) since = Stamp(now);
    conditions.push_back(Object{{"type", c.type},
                                {"status", c.status},
                                {"reason", c.reason},
                                {"message", c.message},
                                {"lastHeartbeatTime", Stamp(now)},
                                {"lastTransitionTime", since}});
  }
  if (!changed && !stale) return std::nullopt;
  Object& object = status.get_object();
  object["conditions"] = std::move(conditions);
  // Lists merge by type; an address that is no longer ours has to go.
  object["addresses"].get_array().push_back(Object{{"$patch", "replace"}});
  return json::Serialize(Object{{"status", std::move(status)}});
}

std::optional<std::string> BuildMetadataPatch(const NodeIdentity& identity, const Value& current) {
  Object labels;
  const Object& have = json::Members(json::Get(current, "metadata"), "labels");
  for (const auto& [key, value] : OwnLabels(identity)) {
    const Value* old = have.if_contains(key);
    if (old == nullptr || json::AsString(*old) != value) labels[key] = value;
  }
  Object patch;
  if (!labels.empty()) patch["metadata"] = Object{{"labels", std::move(labels)}};
  // providerID can be set once and never changed.
  if (json::String(json::Get(current, "spec"), "providerID").empty()) {
    patch["spec"] = Object{{"providerID", ProviderId(identity)}};
  }
  if (patch.empty()) return std::nullopt;
  return json::Serialize(patch);
}

}  // namespace vck::node
