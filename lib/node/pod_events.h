// What reconcilers tell others about a pod.
#pragma once

#include <functional>
#include <string>

#include "kube/object.h"

namespace vck::node {

struct PodEvents {
  // A Kubernetes event about the pod.
  std::function<void(const kube::Object& pod, bool warning, std::string reason, std::string message)> event;
  // Verdict, address or existence changed: its status has to be looked at.
  std::function<void(const std::string& uid)> status_changed;
};

}  // namespace vck::node
