// Which rights a request needs: the kubelet's mapping of paths to subresources of nodes. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kubeletapi/target.h"

namespace vck::kubeletapi {

// Who asks.
struct User {
  std::string name;
  std::string uid;
  std::vector<std::string> groups;
  // authentication.k8s.io's extra, name and values.
  std::vector<std::pair<std::string, std::vector<std::string>>> extra;
};

struct Attributes {
  std::string verb;  // get, create, update, patch, delete, or "" for other methods
  // Any one of them is enough (KubeletFineGrainedAuthz); tried in this order.
  std::vector<std::string> subresources;
};

Attributes AttributesOf(std::string_view method, const Target& target);

}  // namespace vck::kubeletapi
