// VmIndex: the inventory's VMs by the pod they belong to.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "flow/store.h"
#include "vch/pod_key.h"
#include "vimtypes/vm_record.h"

namespace vck::node {

// Follows the inventory's store. Only VMs whose vch.pod key names this VCH have a pod; others are found by name only,
// and never touched.
class VmIndex {
 public:
  using VmPtr = std::shared_ptr<const vimtypes::VmRecord>;
  using Store = flow::Store<std::string, vimtypes::VmRecord>;

  VmIndex(Store& vms, std::string vch_id);

  // All VMs of a pod: normally none or one.
  [[nodiscard]] std::vector<VmPtr> Find(const std::string& pod_uid) const;
  // Any VM of that name in the folder; null if none.
  [[nodiscard]] VmPtr FindByName(const std::string& name) const;
  // What the VM's key says, null if it is not one of this VCH's pods.
  [[nodiscard]] const vch::PodKey* KeyOf(const std::string& moid) const;
  [[nodiscard]] std::vector<std::string> PodUids() const;
  [[nodiscard]] bool Synced() const { return vms_.Synced(); }

  // `fn` gets the UID of the pod whose VMs changed in some way.
  void Subscribe(std::function<void(const std::string&)> fn) { subscribers_.push_back(std::move(fn)); }

 private:
  struct Entry {
    std::string name;
    std::string raw_key;
    vch::PodKey key;  // pod_uid empty: not ours
  };
  void Changed(const std::string& moid);
  void Unlink(const std::string& moid, const Entry& entry);
  void Notify(const std::string& pod_uid);

  Store& vms_;
  std::string vch_id_;
  absl::flat_hash_map<std::string, Entry> entries_;                     // by moid
  absl::flat_hash_map<std::string, std::vector<std::string>> by_pod_;   // pod uid -> moids
  absl::flat_hash_map<std::string, std::vector<std::string>> by_name_;  // VM name -> moids
  std::vector<std::function<void(const std::string&)>> subscribers_;
};

}  // namespace vck::node
