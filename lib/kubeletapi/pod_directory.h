// The pods that the API tells about.
#pragma once

#include <string_view>
#include <vector>

#include "flow/store.h"
#include "kube/object.h"

namespace vck::kubeletapi {

class PodDirectory {
 public:
  virtual ~PodDirectory() = default;
  // Null if there is none. Of two of one name (one is about to go) the younger.
  [[nodiscard]] virtual kube::ObjectPtr Find(std::string_view ns, std::string_view name) const = 0;
  [[nodiscard]] virtual std::vector<kube::ObjectPtr> All() const = 0;
};

// Over the store of the pods that are bound to the node.
class StoreDirectory : public PodDirectory {
 public:
  using Store = flow::Store<std::string, kube::Object>;
  explicit StoreDirectory(const Store& pods) : pods_(pods) {}
  [[nodiscard]] kube::ObjectPtr Find(std::string_view ns, std::string_view name) const override;
  [[nodiscard]] std::vector<kube::ObjectPtr> All() const override;

 private:
  const Store& pods_;
};

}  // namespace vck::kubeletapi
