// The environment of a container whose variables partly come from files (ContainerSpec::late_env), when it is started.
// Pure.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "guestapi/expand.h"
#include "guestapi/spec.h"

namespace vck::guestapi {

// The value of the key; "" if the file has none, which is the same to the kubelet.
using ReadEnvKey = std::function<StatusOr<std::string>(const EnvFileKey&)>;

// Makes of `container` one without late_env: with its whole environment, and what refers to it expanded. Nothing
// changes for one that has none. Errors say why it can't be started, in the kubelet's words: those of `read`, a key
// that is missing, a value that no environment can hold, a sub_path that is none.
Status SettleEnv(const ReadEnvKey& read, ContainerSpec* container);

// InvalidArgument for a subPath that is absolute or has "..".
Status CheckSubPath(std::string_view path);
// A subPathExpr, each of whose variables must have a value; but for those of `later` (null: none), which stay.
StatusOr<std::string> ExpandSubPath(std::string_view text, const NameSet* later, const Lookup& env);

// InvalidArgument for what no environment, and no JSON, can hold.
Status CheckEnvValue(std::string_view name, std::string_view value);

}  // namespace vck::guestapi
