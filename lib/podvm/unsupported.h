// What a pod asks for that cannot be had on this node. Such a pod stays Pending and is told why, once and for all its
// parts.
#pragma once

#include <string>
#include <vector>

#include "kubeapi/pod_view.h"

namespace vck::podvm {

// Adds what is not supported, in words. For AdmissionInputs.unsupported.
void FindUnsupported(const kubeapi::PodView& pod, std::vector<std::string>* problems);
// Of one container, such as an ephemeral one that comes later.
void FindUnsupported(const kubeapi::ContainerView& container, std::vector<std::string>* problems);

// The field that says what a volume is ("configMap"); emptyDir if there is none.
std::string_view VolumeSource(const json::Value& volume);

}  // namespace vck::podvm
