// Who a container's process is: names and numbers of the pod and the image, resolved with the image's own /etc/passwd
// and /etc/group. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace vck::guestos {

struct UserRequest {
  std::string image_user;              // Config.User: "", user, uid, user:group…
  std::optional<int64_t> user, group;  // runAsUser, runAsGroup
  std::vector<int64_t> groups;         // supplementalGroups and fsGroup
};

struct ContainerUser {
  uint32_t uid = 0, gid = 0;
  std::vector<uint32_t> groups;  // the primary one among them, each once
  std::string home = "/";
  friend bool operator==(const ContainerUser&, const ContainerUser&) = default;
};

// `passwd` and `group` are the texts of those files, "" where the image has none; lines that are not of the form are
// skipped. A number needs no entry: its group is then 0. NotFound for a name without an entry, InvalidArgument for a
// number out of range.
StatusOr<ContainerUser> ResolveUser(const UserRequest& request, std::string_view passwd, std::string_view group);

// What the kubelet checks when runAsNonRoot is set (kuberuntime's verifyRunAsNonRoot), with its messages. `pod` is
// "name_namespace(uid)".
Status CheckNonRoot(const std::optional<int64_t>& run_as_user, std::string_view image_user, std::string_view pod,
                    std::string_view container);

}  // namespace vck::guestos
