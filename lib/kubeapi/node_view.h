// NodeView: a node's JSON through typed accessors, as PodView.
#pragma once

#include <optional>
#include <string_view>

#include "json/json.h"
#include "kubeapi/quantity.h"

namespace vck::kubeapi {

class NodeView {
 public:
  explicit NodeView(const json::Value& node)
      : metadata_(json::Get(node, "metadata")), spec_(json::Get(node, "spec")), status_(json::Get(node, "status")) {}
  [[nodiscard]] std::string_view name() const { return json::String(metadata_, "name"); }
  [[nodiscard]] std::string_view uid() const { return json::String(metadata_, "uid"); }
  [[nodiscard]] bool deleting() const { return json::Get(metadata_, "deletionTimestamp") != nullptr; }
  [[nodiscard]] const json::Object& labels() const { return json::Members(metadata_, "labels"); }
  [[nodiscard]] const json::Object& annotations() const { return json::Members(metadata_, "annotations"); }
  [[nodiscard]] const json::Array& taints() const { return json::Items(spec_, "taints"); }
  [[nodiscard]] bool unschedulable() const { return json::Bool(spec_, "unschedulable"); }
  [[nodiscard]] std::string_view pod_cidr() const { return json::String(spec_, "podCIDR"); }
  [[nodiscard]] const json::Array& pod_cidrs() const { return json::Items(spec_, "podCIDRs"); }
  [[nodiscard]] const json::Value* metadata() const { return metadata_; }
  [[nodiscard]] const json::Value* spec() const { return spec_; }
  [[nodiscard]] const json::Value* status() const { return status_; }
  [[nodiscard]] std::optional<Quantity> Allocatable(std::string_view resource) const;
  [[nodiscard]] std::optional<Quantity> Capacity(std::string_view resource) const;

 private:
  const json::Value* metadata_;
  const json::Value* spec_;
  const json::Value* status_;
};

}  // namespace vck::kubeapi
