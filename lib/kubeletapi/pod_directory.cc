#include "kubeletapi/pod_directory.h"

namespace vck::kubeletapi {

kube::ObjectPtr StoreDirectory::Find(std::string_view ns, std::string_view name) const {
  kube::ObjectPtr out;
  for (const auto& [uid, pod] : pods_.items()) {
    if (pod->name() != name || pod->ns() != ns) continue;
    if (out == nullptr || out->deleting()) out = pod;
  }
  return out;
}

std::vector<kube::ObjectPtr> StoreDirectory::All() const {
  std::vector<kube::ObjectPtr> out;
  out.reserve(pods_.size());
  for (const auto& [uid, pod] : pods_.items()) out.push_back(pod);
  return out;
}

}  // namespace vck::kubeletapi
