#include "guestapi/late_env.h"

#include <set>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/utf8.h"
#include "guestapi/variables.h"

namespace vck::guestapi {
namespace {

// nullopt: optional, and not there.
StatusOr<std::optional<std::string>> ValueOf(const EnvFileKey& file, const ReadEnvKey& read) {
  ASSIGN_OR_RETURN(std::string value, read(file));
  if (!value.empty()) return value;
  if (file.optional) return std::nullopt;
  return absl::NotFoundError(absl::StrCat("environment variable key \"", file.key, "\" not found in file \"", file.path,
                                          "\" of volume \"", file.volume, "\""));
}

}  // namespace

Status CheckSubPath(std::string_view path) {
  if (path.starts_with('/')) {
    return absl::InvalidArgumentError(absl::StrCat("error SubPath `", path, "` must not be an absolute path"));
  }
  for (std::string_view part : absl::StrSplit(path, '/')) {
    if (part == "..") {
      return absl::InvalidArgumentError(
          absl::StrCat("unable to provision SubPath `", path, "`: must not contain '..'"));
    }
  }
  return absl::OkStatus();
}

StatusOr<std::string> ExpandSubPath(std::string_view text, const NameSet* later, const Lookup& env) {
  std::set<std::string, std::less<>> missing;
  const auto required = [&](std::string_view name) {
    const std::string* value = env(name);
    if (value == nullptr || value->empty()) missing.emplace(name);
    return value;
  };
  std::string path = later == nullptr ? Expand(text, required) : ExpandExcept(text, *later, required);
  if (!missing.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("missing value for ", absl::StrJoin(missing, ", ")));
  }
  RETURN_IF_ERROR(CheckSubPath(path));
  return path;
}

Status CheckEnvValue(std::string_view name, std::string_view value) {
  if (value.find('\0') == std::string_view::npos && IsUtf8(value)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the value of the environment variable ", name, " is not UTF-8 text, or has NUL bytes"));
}

Status SettleEnv(const ReadEnvKey& read, ContainerSpec* container) {
  if (container->late_env.empty()) return absl::OkStatus();
  const std::vector<LateVariable> late = std::exchange(container->late_env, {});
  Variables env(std::exchange(container->env, {}));
  const absl::Cleanup back = [&] { container->env = env.Take(); };
  const auto lookup = [&env](std::string_view name) { return env.Find(name); };
  for (const LateVariable& variable : late) {
    if (!variable.file) {
      env.Set(variable.name, Expand(variable.text, lookup));
      continue;
    }
    ASSIGN_OR_RETURN(std::optional<std::string> value, ValueOf(*variable.file, read));
    if (!value) continue;
    RETURN_IF_ERROR(CheckEnvValue(variable.name, *value));
    env.Set(variable.name, *std::move(value));
  }
  for (auto* words : {&container->command, &container->args}) {
    for (std::string& word : *words) word = Expand(word, lookup);
  }
  for (Mount& mount : container->mounts) {
    ASSIGN_OR_RETURN(mount.sub_path, ExpandSubPath(mount.sub_path, nullptr, lookup));
  }
  return absl::OkStatus();
}

}  // namespace vck::guestapi
