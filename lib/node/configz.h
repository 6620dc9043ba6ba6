// What the kubelet API tells of this kubelet's configuration.
#pragma once

#include <string>

#include "node/options.h"

namespace vck::node {

// JSON of a KubeletConfiguration (kubelet.config.k8s.io/v1beta1) with those of its fields that mean something here, and
// the values that count. `options` are valid.
std::string ConfigzJson(const Options& options);

}  // namespace vck::node
