#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "guestapi/expand.h"
#include "guestapi/late_env.h"
#include "podvm/go_quote.h"
#include "podvm/resolve_parts.h"
#include "podvm/unsupported.h"

namespace vck::podvm::internal {
namespace {

using guestapi::ContainerSpec;
using kubeapi::ContainerView;
using kubeapi::PodView;
using kubeapi::Quantity;

ContainerSpec::Kind KindOf(ContainerView::Kind kind) {
  switch (kind) {
    case ContainerView::Kind::kInit:
      return ContainerSpec::Kind::kInit;
    case ContainerView::Kind::kSidecar:
      return ContainerSpec::Kind::kSidecar;
    case ContainerView::Kind::kEphemeral:
      return ContainerSpec::Kind::kEphemeral;
    case ContainerView::Kind::kMain:
      break;
  }
  return ContainerSpec::Kind::kMain;
}

std::optional<guestapi::RestartPolicy> OwnRestartPolicy(const ContainerView& c) {
  const std::string_view policy = json::String(c.json(), "restartPolicy");
  if (c.kind() == ContainerView::Kind::kSidecar || policy.empty()) return std::nullopt;
  if (policy == "Never") return guestapi::RestartPolicy::kNever;
  if (policy == "OnFailure") return guestapi::RestartPolicy::kOnFailure;
  return guestapi::RestartPolicy::kAlways;
}

std::vector<guestapi::RestartRule> RestartRules(const ContainerView& c) {
  std::vector<guestapi::RestartRule> out;
  for (const json::Value& rule : json::Items(c.json(), "restartPolicyRules")) {
    if (json::String(rule, "action") != "Restart") continue;
    const json::Value* on = json::Get(rule, "exitCodes");
    guestapi::RestartRule& to = out.emplace_back();
    to.negated = json::String(on, "operator") == "NotIn";
    for (const json::Value& code : json::Items(on, "values")) {
      if (code.is_int64()) to.exit_codes.push_back(static_cast<int>(std::clamp<int64_t>(code.get_int64(), 0, 255)));
    }
  }
  return out;
}

// The kubelet writes these itself; nobody else may.
bool IsManaged(const json::Value& volume) {
  for (std::string_view source : {"configMap", "secret", "downwardAPI", "projected"}) {
    if (json::Get(volume, source) != nullptr) return true;
  }
  return false;
}

guestapi::NameSet LateNames(const Env& env) {
  return [&env](std::string_view name) { return env.IsLate(name); };
}

// What refers to variables, once the environment is complete. If parts of that are late, so is all that this returns.
std::string Expanded(std::string_view text, const Env& env, const guestapi::Lookup& lookup) {
  if (env.late().empty()) return guestapi::Expand(text, lookup);
  return guestapi::ExpandExcept(text, LateNames(env), lookup);
}

StatusOr<std::string> SubPath(const json::Value& mount, const Env& env) {
  const std::string_view expression = json::String(mount, "subPathExpr");
  if (expression.empty()) {
    const std::string_view path = json::String(mount, "subPath");
    RETURN_IF_ERROR(guestapi::CheckSubPath(path));
    return env.late().empty() ? std::string(path) : guestapi::EscapeDollars(path);
  }
  const guestapi::NameSet late = LateNames(env);
  return guestapi::ExpandSubPath(expression, env.late().empty() ? nullptr : &late,
                                 [&env](std::string_view name) { return env.Find(name); });
}

Status ResolveMounts(const PodView& pod, const ContainerView& c, const Env& env, ContainerSpec* spec) {
  for (const json::Value& value : json::Items(c.json(), "volumeMounts")) {
    guestapi::Mount mount;
    mount.volume = json::String(value, "name");
    const json::Value* volume = FindVolume(pod, mount.volume);
    if (volume == nullptr || mount.volume.empty()) {
      return absl::NotFoundError(
          absl::StrCat("cannot find volume ", GoQuote(mount.volume), " to mount into container ", GoQuote(c.name())));
    }
    const std::string_view path = json::String(value, "mountPath");
    mount.path = path.starts_with('/') ? std::string(path) : absl::StrCat("/", path);
    ASSIGN_OR_RETURN(mount.sub_path, SubPath(value, env));
    mount.read_only = json::Bool(value, "readOnly") || IsManaged(*volume);
    const std::string_view propagation = json::String(value, "mountPropagation");
    mount.bidirectional = propagation == "Bidirectional";
    mount.host_to_container = propagation == "HostToContainer";
    spec->mounts.push_back(std::move(mount));
  }
  return absl::OkStatus();
}

// resizePolicy: the default is NotRequired.
bool RestartsFor(const ContainerView& c, std::string_view resource) {
  for (const json::Value& policy : json::Items(c.json(), "resizePolicy")) {
    if (json::String(policy, "resourceName") == resource) {
      return json::String(policy, "restartPolicy") == "RestartContainer";
    }
  }
  return false;
}

Status Configure(const ResolveInputs& in, const ContainerView& c, ContainerSpec* spec) {
  const PodView& pod = *in.pod;
  std::vector<std::string> unsupported;
  FindUnsupported(c, &unsupported);
  if (!unsupported.empty()) return absl::UnimplementedError(absl::StrJoin(unsupported, "; "));
  ASSIGN_OR_RETURN(spec->security, ResolveSecurity(pod, c));
  Env env;
  RETURN_IF_ERROR(ResolveEnv(in, c, &env));
  RETURN_IF_ERROR(ResolveMounts(pod, c, env, spec));
  const auto lookup = [&env](std::string_view name) { return env.Find(name); };
  for (const json::Value& word : c.command()) spec->command.push_back(Expanded(json::AsString(word), env, lookup));
  for (const json::Value& word : c.args()) spec->args.push_back(Expanded(json::AsString(word), env, lookup));
  spec->confidential = env.confidential;
  spec->late_env = env.TakeLate();
  spec->env = env.Take();
  return absl::OkStatus();
}

}  // namespace

guestapi::Resources ResolveResources(const PodView& pod, const ContainerView& c) {
  const auto limit = [&](std::string_view resource) {
    auto own = c.Limit(resource);
    // A container without a limit of its own has that of the pod.
    if ((!own || own->IsZero()) && pod.PodLimit(resource)) own = pod.PodLimit(resource);
    return own.value_or(Quantity());
  };
  const Quantity cpu = limit("cpu"), memory = limit("memory");
  return {.cpu_limit_milli = std::max<int64_t>(0, cpu.MilliValue()),
          .cpu_request_milli = std::max<int64_t>(0, c.Request("cpu").value_or(cpu).MilliValue()),
          .memory_limit_bytes = std::max<int64_t>(0, memory.Value()),
          .memory_request_bytes = std::max<int64_t>(0, c.Request("memory").value_or(memory).Value())};
}

bool HasImage(const ResolveInputs& in, const ContainerView& c) {
  // Simulated guests may have none at all.
  return in.images.empty() ||
         std::any_of(in.images.begin(), in.images.end(), [&](const auto& image) { return image.first == c.image(); });
}

Status ResolveContainer(const ResolveInputs& in, const ContainerView& c, ContainerSpec* spec) {
  spec->kind = KindOf(c.kind());
  spec->name = c.name();
  spec->image = c.image();
  for (const auto& [reference, id] : in.images) {
    if (reference == c.image()) spec->image_id = id;
  }
  spec->awaits_image = !HasImage(in, c);
  spec->working_dir = c.working_dir();
  spec->startup = ResolveProbe(c, "startupProbe");
  spec->readiness = ResolveProbe(c, "readinessProbe");
  spec->liveness = ResolveProbe(c, "livenessProbe");
  spec->post_start = ResolveHook(c, "postStart");
  spec->pre_stop = ResolveHook(c, "preStop");
  spec->stop_signal = json::String(json::Get(c.json(), "lifecycle"), "stopSignal");
  spec->set_resources(ResolveResources(*in.pod, c));
  spec->restart_for_cpu = RestartsFor(c, "cpu");
  spec->restart_for_memory = RestartsFor(c, "memory");
  spec->tty = json::Bool(c.json(), "tty");
  spec->stdin = json::Bool(c.json(), "stdin");
  spec->stdin_once = json::Bool(c.json(), "stdinOnce");
  if (const std::string_view path = json::String(c.json(), "terminationMessagePath"); !path.empty()) {
    spec->termination_message_path = path;
  }
  spec->termination_message_from_logs = json::String(c.json(), "terminationMessagePolicy") == "FallbackToLogsOnError";
  spec->restart_policy = OwnRestartPolicy(c);
  spec->restart_rules = RestartRules(c);
  if (c.kind() == ContainerView::Kind::kEphemeral) spec->target = json::String(c.json(), "targetContainerName");
  Status status = Configure(in, c, spec);
  if (IsPending(status)) return status;
  if (!status.ok()) {
    spec->config_error = status.message();
    spec->mounts.clear();
    spec->command.clear();
    spec->args.clear();
  }
  return absl::OkStatus();
}

}  // namespace vck::podvm::internal
