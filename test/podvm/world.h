// One pod, its VM and its guest, and an API server that applies status patches: for tests of the planner and the
// status.
#pragma once

#include <cstdlib>
#include <string>
#include <string_view>

#include "guestapi/identity.h"
#include "kubeapi/timestamp.h"
#include "podvm/plan.h"
#include "podvm/status.h"

namespace vck::podvm {

inline json::Value ParseOrDie(std::string_view text) {
  auto value = json::Parse(text);
  if (!value.ok()) std::abort();
  return *std::move(value);
}

// A strategic merge patch as the API server applies it to a pod's status.
inline void MergeStatus(json::Object& status, const json::Object& patch) {
  for (const auto& [key, value] : patch) {
    std::string_view merge_key = key == "conditions" ? "type" : key == "podIPs" || key == "hostIPs" ? "ip" : "";
    if (value.is_null()) {
      status.erase(key);
    } else if (merge_key.empty()) {
      status[key] = value;
    } else {
      if (!status.contains(key)) status[key] = json::Array();
      json::Array& have = status[key].as_array();
      if (!value.as_array().empty() && json::String(value.as_array()[0], "$patch") == "replace") have.clear();
      for (const json::Value& item : value.as_array()) {
        if (json::String(item, "$patch") == "delete") {
          for (size_t i = have.size(); i-- > 0;) {
            if (json::String(have[i], merge_key) == json::String(item, merge_key)) have.erase(have.begin() + i);
          }
        }
        if (item.as_object().contains("$patch")) continue;
        json::Value* same = nullptr;
        for (json::Value& old : have) {
          if (json::String(old, merge_key) == json::String(item, merge_key)) same = &old;
        }
        if (same == nullptr) same = &have.emplace_back(json::Object());
        for (const auto& [k, v] : item.as_object()) {
          if (v.is_null()) {
            same->as_object().erase(k);
          } else {
            same->as_object()[k] = v;
          }
        }
      }
    }
  }
}

struct World {
  explicit World(std::string_view spec = R"({"restartPolicy":"Always","containers":[{"name":"c","image":"img"}]})")
      : pod(ParseOrDie(absl::StrCat(
            R"({"metadata":{"name":"p","namespace":"n","uid":"uid-1","generation":1},"spec":)", spec,
            R"(,"status":{"phase":"Pending","qosClass":"BestEffort","conditions":[{"type":"PodScheduled","status":"True"}]}})"))) {
    record.vm = {"VirtualMachine", "vm-1"};
    record.name = "n-p-abc";
    record.connection = vimtypes::ConnectionState::kConnected;
    facts.synced = true;
    guest.boot_id = "boot1";
    guest.pod_uid = "uid-1";
    guest.generation = 1;
  }

  // ---- the VM ----
  void VmExists(vimtypes::PowerState power, std::string_view guest_key = "-") {
    has_vm = true;
    record.power = power;
    record.guest_key = guest_key;
  }
  void VmOn() { VmExists(vimtypes::PowerState::kOn, Announcement()); }
  void VmOff() {
    VmExists(vimtypes::PowerState::kOff, record.guest_key);
    Unlink();
  }
  void VmGone() {
    has_vm = false;
    Unlink();
  }
  [[nodiscard]] std::string Announcement() const {
    return guestapi::Encode(guestapi::GuestAnnouncement{
        .boot_id = guest.boot_id, .key_hash = std::string(64, 'a'), .first_boot = guest.first_boot});
  }
  // ---- the guest ----
  void Linked() { known = true, connected = true, silent = absl::ZeroDuration(), ++guest.sequence; }
  void Unlink(absl::Duration since = absl::ZeroDuration()) { connected = false, silent = since; }
  void Reboot(std::string boot) {
    guest.boot_id = std::move(boot);
    guest.first_boot.clear();
    guest.sequence = 0;
    guest.containers.clear();
    guest.finished = guest.stopping = false;
    if (has_vm) record.guest_key = Announcement();
  }
  // With its journal: counts go on, and what ran is known to be lost.
  void RebootWithJournal(std::string boot) {
    guest.first_boot = guest.history();
    guest.boot_id = std::move(boot);
    guest.sequence = 0;
    for (auto& c : guest.containers) {
      if (c.phase != guestapi::ContainerState::Phase::kRunning) continue;
      c.phase = guestapi::ContainerState::Phase::kTerminated;
      c.reason = "ContainerStatusUnknown";
      c.exit_code = 137;
      c.started = c.ready = false;
    }
    if (has_vm) record.guest_key = Announcement();
  }
  guestapi::ContainerState& Container(std::string_view name) {
    for (auto& c : guest.containers) {
      if (c.name == name) return c;
    }
    auto& c = guest.containers.emplace_back();
    c.name = name;
    return c;
  }
  void Waiting(std::string_view name, std::string_view reason = "ContainerCreating") {
    auto& c = Container(name);
    c.phase = guestapi::ContainerState::Phase::kWaiting;
    c.reason = reason;
    c.started = c.ready = false;
    Linked();
  }
  // A new run.
  void Running(std::string_view name, std::string_view id, bool ready = true) {
    auto& c = Container(name);
    if (!c.id.empty()) {
      c.last = guestapi::ContainerState::Termination{
          .id = c.id, .reason = "Error", .exit_code = c.exit_code, .started_at = c.started_at, .finished_at = now};
      ++c.restart_count;
    }
    c.phase = guestapi::ContainerState::Phase::kRunning;
    c.reason.clear();
    c.id = id;
    c.started_at = now - offset;
    c.finished_at = absl::InfinitePast();
    c.started = true;
    c.ready = ready;
    Linked();
  }
  void Exited(std::string_view name, int code) {
    auto& c = Container(name);
    c.phase = guestapi::ContainerState::Phase::kTerminated;
    c.reason = code == 0 ? "Completed" : "Error";
    c.exit_code = code;
    c.finished_at = now - offset;
    c.started = c.ready = false;
    Linked();
  }

  // ---- the API ----
  void Delete(int64_t grace = 30) {
    auto& metadata = pod.as_object()["metadata"].as_object();
    metadata["deletionTimestamp"] = kubeapi::FormatTime(now + absl::Seconds(grace));
    metadata["deletionGracePeriodSeconds"] = grace;
  }
  [[nodiscard]] const json::Value& status() const { return pod.as_object().at("status"); }
  [[nodiscard]] std::string_view phase() const { return json::String(status(), "phase"); }
  [[nodiscard]] const json::Value* Condition(std::string_view type) const {
    return kubeapi::PodView(pod).Condition(type);
  }
  [[nodiscard]] std::string_view Ready() const { return json::String(Condition("Ready"), "status"); }
  [[nodiscard]] const json::Value& ContainerStatus(std::string_view name) const {
    kubeapi::PodView view(pod);
    for (auto kind : {kubeapi::ContainerView::Kind::kMain, kubeapi::ContainerView::Kind::kInit}) {
      if (const json::Value* found = view.ContainerStatus(kind, name)) return *found;
    }
    static const json::Value kNone;
    return kNone;
  }
  [[nodiscard]] int64_t Restarts(std::string_view name = "c") const {
    return json::Int(ContainerStatus(name), "restartCount");
  }
  [[nodiscard]] const json::Value* State(std::string_view name, std::string_view state) const {
    return json::Get(json::Get(ContainerStatus(name), "state"), state);
  }
  [[nodiscard]] const json::Value* LastState(std::string_view name) const {
    return json::Get(json::Get(ContainerStatus(name), "lastState"), "terminated");
  }

  // ---- what the kubelet sees ----
  [[nodiscard]] VmFacts Vm() const {
    VmFacts vm = facts;
    if (has_vm) vm.vms.push_back({.vm = &record, .ours = true, .named = true});
    return vm;
  }
  [[nodiscard]] GuestFacts Guest() const {
    return {.state = known ? &guest : nullptr,
            .connected = connected,
            .streaming = streaming,
            .disconnected_for = silent,
            .clock_offset = offset};
  }
  [[nodiscard]] StatusResult Compute() const {
    kubeapi::PodView view(pod);
    return ComputeStatus({.pod = &view,
                          .vm = Vm(),
                          .guest = Guest(),
                          .pod_ip = has_vm ? "10.1.0.5" : "",
                          .host_ip = "192.0.2.1",
                          .verdict = verdict,
                          .waits = &waits,
                          .now = now});
  }
  // Computes and writes; "" if there was nothing to write.
  std::string Write() {
    StatusResult result = Compute();
    if (!result.patch.empty())
      MergeStatus(pod.as_object()["status"].as_object(), ParseOrDie(result.patch).as_object().at("status").as_object());
    return result.patch;
  }
  // As a kubelet that has just started: it has no link yet.
  void ForgetAll() { known = connected = false, silent = absl::ZeroDuration(); }
  [[nodiscard]] Plan MakePlan(bool object_exists = true) const {
    kubeapi::PodView view(pod);
    PlanInputs in{.pod = object_exists ? &view : nullptr,
                  .pods_synced = true,
                  .may_create = true,
                  .vm = Vm(),
                  .guest = Guest(),
                  .images_to_add = images_to_add,
                  .spec_revision = 1,
                  .pushed_revision = pushed,
                  .booting_since = booting_since,
                  .stop_since = stop_since,
                  .final_since = final_since,
                  .logs_saved = logs_saved,
                  .now = now};
    return PlanVm(in);
  }
  [[nodiscard]] std::string Steps(bool object_exists = true) const {
    Plan plan = MakePlan(object_exists);
    std::string out;
    for (const Action& action : plan.actions) absl::StrAppend(&out, ActionName(action.kind), " ");
    absl::StrAppend(&out, plan.gone ? "gone" : plan.wait.empty() ? "" : absl::StrCat("(", plan.wait, ")"));
    return out;
  }

  json::Value pod;
  VmFacts facts;
  vimtypes::VmRecord record;
  bool has_vm = false;
  guestapi::GuestState guest;
  bool known = false, connected = false, streaming = false;
  absl::Duration silent;
  absl::Duration offset;
  Verdict verdict;
  std::map<std::string, ContainerWait> waits;
  bool images_to_add = false;
  int64_t pushed = 0;
  std::optional<absl::Time> booting_since;
  std::optional<absl::Time> stop_since;
  std::optional<absl::Time> final_since;
  bool logs_saved = false;
  absl::Time now = absl::FromUnixMillis(1767225600250);  // 2026-01-01T00:00:00.25Z
};

}  // namespace vck::podvm
