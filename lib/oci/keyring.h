// Credentials for registries, from pull secrets, matched to images as the kubelet does (pkg/credentialprovider).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace vck::oci {

struct Credential {
  std::string username, password;
  std::string identity_token;  // an OAuth2 refresh token, used instead of a password
  [[nodiscard]] bool empty() const { return username.empty() && password.empty() && identity_token.empty(); }
  friend bool operator==(const Credential&, const Credential&) = default;
};

class Keyring {
 public:
  // A Secret by its type: kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg, with the value of its key
  // .dockerconfigjson or .dockercfg. Secrets of other types, and empty ones, add nothing. InvalidArgument where the
  // kubelet would refuse it, without any of its content.
  Status AddSecret(std::string_view type, std::string_view data);
  // Credentials for the registry (or a part of its names): "quay.io", "https://index.docker.io/v1/",
  // "*.azurecr.io/team".
  void Add(std::string_view location, Credential credential);

  // In the order in which they are to be tried, for a name with its registry ("docker.io/library/busybox"). The longer
  // path first; none: the registry is asked without.
  [[nodiscard]] std::vector<Credential> Lookup(std::string_view name) const;
  [[nodiscard]] bool empty() const { return credentials_.empty(); }

 private:
  std::map<std::string, std::vector<Credential>, std::greater<>> credentials_;
};

// The names of a Secret's type and key that AddSecret understands.
inline constexpr std::string_view kDockerConfigJsonType = "kubernetes.io/dockerconfigjson";
inline constexpr std::string_view kDockerConfigJsonKey = ".dockerconfigjson";
inline constexpr std::string_view kDockercfgType = "kubernetes.io/dockercfg";
inline constexpr std::string_view kDockercfgKey = ".dockercfg";

}  // namespace vck::oci
