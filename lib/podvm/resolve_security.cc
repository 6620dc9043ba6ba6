#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "podvm/go_quote.h"
#include "podvm/resolve_parts.h"

namespace vck::podvm::internal {
namespace {

using kubeapi::ContainerView;
using kubeapi::PodView;

// A field of the container's security context, or else of the pod's. Null if neither has it.
const json::Value* Effective(const PodView& pod, const ContainerView& container, std::string_view field) {
  const json::Value* own = json::Get(json::Get(container.json(), "securityContext"), field);
  return own != nullptr ? own : json::Get(json::Get(pod.spec(), "securityContext"), field);
}

std::optional<int64_t> IdOf(const json::Value* value) {
  constexpr int64_t kMaxId = 0xffffffff;
  if (value == nullptr || !value->is_int64() || value->get_int64() < 0 || value->get_int64() > kMaxId) {
    return std::nullopt;
  }
  return value->get_int64();
}

std::vector<std::string> Capabilities(const json::Value* capabilities, std::string_view field) {
  std::vector<std::string> out;
  for (const json::Value& item : json::Items(capabilities, field)) {
    const std::string name = absl::AsciiStrToUpper(json::AsString(item));
    out.emplace_back(absl::StripPrefix(name, "CAP_"));
  }
  return out;
}

}  // namespace

StatusOr<guestapi::Security> ResolveSecurity(const PodView& pod, const ContainerView& container) {
  guestapi::Security out;
  const json::Value* own = json::Get(container.json(), "securityContext");
  out.user = IdOf(Effective(pod, container, "runAsUser"));
  out.group = IdOf(Effective(pod, container, "runAsGroup"));
  if (const json::Value* value = Effective(pod, container, "runAsNonRoot"); value != nullptr && value->is_bool()) {
    out.run_as_non_root = value->get_bool();
  }
  out.privileged = json::Bool(own, "privileged");
  out.read_only_root = json::Bool(own, "readOnlyRootFilesystem");
  out.no_new_privileges = !json::Bool(own, "allowPrivilegeEscalation", true);
  out.unmasked_proc = json::String(own, "procMount") == "Unmasked";
  const json::Value* capabilities = json::Get(own, "capabilities");
  out.add_capabilities = Capabilities(capabilities, "add");
  out.drop_capabilities = Capabilities(capabilities, "drop");
  const std::string_view seccomp = json::String(Effective(pod, container, "seccompProfile"), "type");
  // Container runtimes do not filter what privileged containers call.
  if (seccomp == "RuntimeDefault" && !out.privileged) out.seccomp = guestapi::Security::Seccomp::kRuntimeDefault;
  if (seccomp == "Localhost") {
    return absl::UnimplementedError("seccompProfile of type Localhost is not supported on this node");
  }
  if (out.run_as_non_root && out.user == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "container's runAsUser breaks non-root policy (pod: ",
        GoQuote(absl::StrCat(pod.name(), "_", pod.ns(), "(", pod.uid(), ")")), ", container: ", container.name(), ")"));
  }
  return out;
}

std::optional<int64_t> CommonUser(const PodView& pod) {
  std::optional<int64_t> user;
  bool same = true;
  pod.ForEachContainer([&](const ContainerView& c) {
    auto own = IdOf(Effective(pod, c, "runAsUser"));
    same &= own.has_value() && (!user || *user == *own);
    if (own) user = own;
  });
  return same ? user : std::nullopt;
}

}  // namespace vck::podvm::internal
