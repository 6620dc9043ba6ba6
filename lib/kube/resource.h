// The API's resources, and the paths under which a server knows them.
#pragma once

#include <string>
#include <string_view>

namespace vck::kube {

// One resource of an API group. The views are of string literals: Resources are constants.
struct Resource {
  std::string_view group;  // "" is the core group
  std::string_view version;
  std::string_view plural;
  bool namespaced = true;
};

inline constexpr Resource kPods{"", "v1", "pods", true};
inline constexpr Resource kNodes{"", "v1", "nodes", false};
inline constexpr Resource kConfigMaps{"", "v1", "configmaps", true};
inline constexpr Resource kSecrets{"", "v1", "secrets", true};
inline constexpr Resource kServices{"", "v1", "services", true};
inline constexpr Resource kServiceAccounts{"", "v1", "serviceaccounts", true};
inline constexpr Resource kNamespaces{"", "v1", "namespaces", false};
inline constexpr Resource kEvents{"", "v1", "events", true};
inline constexpr Resource kLeases{"coordination.k8s.io", "v1", "leases", true};
inline constexpr Resource kEndpointSlices{"discovery.k8s.io", "v1", "endpointslices", true};
inline constexpr Resource kRuntimeClasses{"node.k8s.io", "v1", "runtimeclasses", false};
inline constexpr Resource kCertificateSigningRequests{"certificates.k8s.io", "v1", "certificatesigningrequests", false};
inline constexpr Resource kTokenReviews{"authentication.k8s.io", "v1", "tokenreviews", false};
inline constexpr Resource kSubjectAccessReviews{"authorization.k8s.io", "v1", "subjectaccessreviews", false};

// One object, or (with an empty name) a collection. ns is empty for cluster-scoped resources, and for all namespaces.
struct ObjectRef {
  Resource resource;
  std::string ns;
  std::string name;
};

// "/api/v1/namespaces/ns/pods/name/status"; parts that are empty are left out. Percent-encodes ns and name.
std::string ResourcePath(const ObjectRef& ref, std::string_view subresource = "");

}  // namespace vck::kube
