#include "node/vm_index.h"

#include <algorithm>

#include "base/log.h"

namespace vck::node {
namespace {

void Remove(absl::flat_hash_map<std::string, std::vector<std::string>>& map, const std::string& key,
            const std::string& moid) {
  auto it = map.find(key);
  if (it == map.end()) return;
  std::erase(it->second, moid);
  if (it->second.empty()) map.erase(it);
}

}  // namespace

VmIndex::VmIndex(Store& vms, std::string vch_id) : vms_(vms), vch_id_(std::move(vch_id)) {
  for (const auto& [moid, vm] : vms_.items()) Changed(moid);
  vms_.Subscribe([this](const std::string& moid) { Changed(moid); });
}

void VmIndex::Unlink(const std::string& moid, const Entry& entry) {
  Remove(by_name_, entry.name, moid);
  if (!entry.key.pod_uid.empty()) Remove(by_pod_, entry.key.pod_uid, moid);
}

void VmIndex::Changed(const std::string& moid) {
  VmPtr vm = vms_.Get(moid);
  auto it = entries_.find(moid);
  // A template that somebody made from a pod VM carries its key, and is no pod.
  if (vm != nullptr && vm->is_template) vm = nullptr;
  if (vm == nullptr) {
    if (it == entries_.end()) return;
    Entry old = std::move(it->second);
    entries_.erase(it);
    Unlink(moid, old);
    if (!old.key.pod_uid.empty()) Notify(old.key.pod_uid);
    return;
  }
  bool fresh = it == entries_.end();
  if (fresh) it = entries_.emplace(moid, Entry{}).first;
  Entry& entry = it->second;
  std::string before = entry.key.pod_uid;
  // A key never changes in the life of a VM, so it is parsed once. An incomplete record may lack it for a moment.
  bool lost = vm->pod_key.empty() && vm->incomplete;
  if (fresh || entry.name != vm->name || (entry.raw_key != vm->pod_key && !lost)) {
    if (!fresh) Unlink(moid, entry);
    entry.name = vm->name;
    if (!lost) entry.raw_key = vm->pod_key;
    auto key = vch::ParsePodKey(entry.raw_key);
    entry.key = key.ok() && key->vch_id == vch_id_ ? *key : vch::PodKey{};
    if (!key.ok() && !entry.raw_key.empty()) {
      Log(Severity::kWarning, "A VM in the pod folder has a key that can't be read; it is left alone",
          {{"vm", moid}, {"name", vm->name}, {"err", key.status()}});
    }
    by_name_[entry.name].push_back(moid);
    if (!entry.key.pod_uid.empty()) by_pod_[entry.key.pod_uid].push_back(moid);
  }
  std::string after = entry.key.pod_uid;
  if (!before.empty() && before != after) Notify(before);
  if (!after.empty()) Notify(after);
}

std::vector<VmIndex::VmPtr> VmIndex::Find(const std::string& pod_uid) const {
  std::vector<VmPtr> found;
  auto it = by_pod_.find(pod_uid);
  if (it == by_pod_.end()) return found;
  for (const std::string& moid : it->second) {
    if (VmPtr vm = vms_.Get(moid)) found.push_back(std::move(vm));
  }
  return found;
}

VmIndex::VmPtr VmIndex::FindByName(const std::string& name) const {
  auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : vms_.Get(it->second.front());
}

const vch::PodKey* VmIndex::KeyOf(const std::string& moid) const {
  auto it = entries_.find(moid);
  return it == entries_.end() || it->second.key.pod_uid.empty() ? nullptr : &it->second.key;
}

std::vector<std::string> VmIndex::PodUids() const {
  std::vector<std::string> uids;
  uids.reserve(by_pod_.size());
  for (const auto& [uid, moids] : by_pod_) uids.push_back(uid);
  return uids;
}

void VmIndex::Notify(const std::string& pod_uid) {
  for (const auto& fn : subscribers_) fn(pod_uid);
}

}  // namespace vck::node
