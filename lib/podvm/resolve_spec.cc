#include "podvm/resolve_spec.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "kubeapi/resources.h"

namespace vck::podvm {
namespace {

using kubeapi::ContainerView;
using kubeapi::PodView;
using kubeapi::Quantity;

constexpr std::string_view kConfigError = "CreateContainerConfigError";

// Why a container can't be resolved. An empty reason: objects are still being read.
struct Problem {
  std::string reason, message;
};

std::string_view KindName(ObjectRef::Kind kind) { return kind == ObjectRef::Kind::kSecret ? "secret" : "configmap"; }

// Names that a container's environment takes from a whole object: printable ASCII without '=' (relaxed validation).
bool IsEnvName(std::string_view name) {
  return !name.empty() &&
         std::all_of(name.begin(), name.end(), [](char c) { return c >= ' ' && c <= '~' && c != '='; });
}

class Env {
 public:
  // A name that comes again takes the place of the first.
  void Set(std::string_view name, std::string value) {
    for (auto& [have, old] : vars_) {
      if (have == name) {
        old = std::move(value);
        return;
      }
    }
    vars_.emplace_back(name, std::move(value));
  }
  [[nodiscard]] const std::string* Find(std::string_view name) const {
    for (const auto& [have, value] : vars_) {
      if (have == name) return &value;
    }
    return nullptr;
  }
  std::vector<std::pair<std::string, std::string>> Take() { return std::move(vars_); }

 private:
  std::vector<std::pair<std::string, std::string>> vars_;
};

class Resolver {
 public:
  explicit Resolver(const ResolveInputs& in) : in_(in), pod_(*in.pod) {}
  ResolveResult Run();

 private:
  std::optional<Problem> Container(const ContainerView& c, guestapi::ContainerSpec* spec);
  std::optional<Problem> EnvFrom(const json::Value& source, Env* env);
  std::optional<Problem> ValueFrom(const ContainerView& c, const json::Value& source,
                                   std::optional<std::string>* value);
  std::optional<Problem> KeyRef(ObjectRef::Kind kind, const json::Value& selector, std::optional<std::string>* value);
  std::optional<Problem> FieldRef(std::string_view path, std::string* value);
  std::optional<Problem> ResourceRef(const ContainerView& c, const json::Value& selector, std::string* value);
  // Null *data: missing and optional.
  std::optional<Problem> Read(const ObjectRef& ref, bool optional, const std::map<std::string, std::string>** data);

  const ResolveInputs& in_;
  const PodView& pod_;
};

std::optional<Problem> Resolver::Read(const ObjectRef& ref, bool optional,
                                      const std::map<std::string, std::string>** data) {
  *data = nullptr;
  const LookupResult found = in_.lookup ? in_.lookup(ref) : LookupResult{.state = LookupResult::State::kMissing};
  switch (found.state) {
    case LookupResult::State::kUnknown:
      return Problem{};
    case LookupResult::State::kFound:
      *data = found.data;
      break;
    case LookupResult::State::kMissing:
      break;
  }
  if (*data != nullptr || optional) return std::nullopt;
  return Problem{std::string(kConfigError), absl::StrCat(KindName(ref.kind), " \"", ref.name, "\" not found")};
}

std::optional<Problem> Resolver::EnvFrom(const json::Value& source, Env* env) {
  const std::string_view prefix = json::String(source, "prefix");
  for (auto [field, kind] :
       {std::pair("configMapRef", ObjectRef::Kind::kConfigMap), std::pair("secretRef", ObjectRef::Kind::kSecret)}) {
    const json::Value* ref = json::Get(source, field);
    if (ref == nullptr) continue;
    const std::map<std::string, std::string>* data = nullptr;
    if (auto problem = Read({kind, std::string(json::String(ref, "name"))}, json::Bool(ref, "optional"), &data))
      return problem;
    if (data == nullptr) continue;
    for (const auto& [key, value] : *data) {
      std::string name = absl::StrCat(prefix, key);
      if (IsEnvName(name)) env->Set(name, value);
    }
  }
  return std::nullopt;
}

std::optional<Problem> Resolver::KeyRef(ObjectRef::Kind kind, const json::Value& selector,
                                        std::optional<std::string>* value) {
  const ObjectRef ref{kind, std::string(json::String(selector, "name"))};
  const bool optional = json::Bool(selector, "optional");
  const std::map<std::string, std::string>* data = nullptr;
  if (auto problem = Read(ref, optional, &data)) return problem;
  if (data == nullptr) return std::nullopt;
  const std::string key(json::String(selector, "key"));
  if (auto it = data->find(key); it != data->end()) {
    *value = it->second;
  } else if (!optional) {
    return Problem{std::string(kConfigError),
                   absl::StrCat("couldn't find key ", key, " in ", KindName(kind), " ", pod_.ns(), "/", ref.name)};
  }
  return std::nullopt;
}

std::optional<Problem> Resolver::FieldRef(std::string_view path, std::string* value) {
  const auto member = [path](std::string_view prefix) -> std::optional<std::string_view> {
    std::string_view rest = path;
    if (!absl::ConsumePrefix(&rest, prefix) || !absl::ConsumePrefix(&rest, "['") || !absl::ConsumeSuffix(&rest, "']")) {
      return std::nullopt;
    }
    return rest;
  };
  if (path == "metadata.name") {
    *value = pod_.name();
  } else if (path == "metadata.namespace") {
    *value = pod_.ns();
  } else if (path == "metadata.uid") {
    *value = pod_.uid();
  } else if (auto label = member("metadata.labels")) {
    *value = pod_.label(*label);
  } else if (auto annotation = member("metadata.annotations")) {
    *value = pod_.annotation(*annotation);
  } else if (path == "spec.nodeName") {
    *value = in_.node_name.empty() ? pod_.node_name() : in_.node_name;
  } else if (path == "spec.serviceAccountName") {
    *value = pod_.service_account();
  } else if (path == "status.podIP" || path == "status.podIPs") {
    if (in_.pod_ip.empty()) return Problem{};  // it comes with the VM
    *value = in_.pod_ip;
  } else if (path == "status.hostIP" || path == "status.hostIPs") {
    *value = in_.host_ip;
  } else {
    return Problem{std::string(kConfigError), absl::StrCat("unsupported fieldPath: ", path)};
  }
  return std::nullopt;
}

std::optional<Problem> Resolver::ResourceRef(const ContainerView& c, const json::Value& selector, std::string* value) {
  const std::string_view resource = json::String(selector, "resource");
  std::string_view name = resource;
  const bool limit = absl::ConsumePrefix(&name, "limits.");
  if (!limit && !absl::ConsumePrefix(&name, "requests.")) {
    return Problem{std::string(kConfigError), absl::StrCat("unsupported container resource: ", resource)};
  }
  std::optional<Quantity> amount = limit ? c.Limit(name) : c.Request(name);
  if (const std::string_view other = json::String(selector, "containerName"); !other.empty() && other != c.name()) {
    amount.reset();
    bool found = false;
    pod_.ForEachContainer([&](const ContainerView& view) {
      if (view.name() != other) return;
      found = true;
      amount = limit ? view.Limit(name) : view.Request(name);
    });
    if (!found) return Problem{std::string(kConfigError), absl::StrCat("container ", other, " not found")};
  }
  // Without a limit a container may use all of the node.
  if (!amount && limit && name == "cpu") amount = Quantity::FromMilli(in_.allocatable_cpu_milli);
  if (!amount && limit && name == "memory") amount = Quantity::FromValue(in_.allocatable_memory_bytes);
  Quantity divisor = Quantity::FromValue(1);
  if (const json::Value* given = json::Get(selector, "divisor")) {
    auto parsed = Quantity::Parse(*given);
    if (parsed.ok() && *parsed > Quantity()) divisor = *parsed;
  }
  const Quantity of = amount.value_or(Quantity());
  // Rounded up, as k8s.io/kubernetes pkg/api/v1/resource does: cpu in thousandths, the rest in units.
  const int64_t dividend = name == "cpu" ? of.MilliValue() : of.Value();
  const int64_t by = std::max<int64_t>(1, name == "cpu" ? divisor.MilliValue() : divisor.Value());
  *value = absl::StrCat(dividend / by + (dividend % by > 0 ? 1 : 0));
  return std::nullopt;
}

std::optional<Problem> Resolver::ValueFrom(const ContainerView& c, const json::Value& source,
                                           std::optional<std::string>* value) {
  if (const json::Value* ref = json::Get(source, "fieldRef")) {
    return FieldRef(json::String(ref, "fieldPath"), &value->emplace());
  }
  if (const json::Value* ref = json::Get(source, "resourceFieldRef")) return ResourceRef(c, *ref, &value->emplace());
  if (const json::Value* ref = json::Get(source, "configMapKeyRef"))
    return KeyRef(ObjectRef::Kind::kConfigMap, *ref, value);
  if (const json::Value* ref = json::Get(source, "secretKeyRef")) return KeyRef(ObjectRef::Kind::kSecret, *ref, value);
  return Problem{std::string(kConfigError), "an environment variable has a valueFrom of an unknown kind"};
}

std::optional<Problem> Resolver::Container(const ContainerView& c, guestapi::ContainerSpec* spec) {
  switch (c.kind()) {
    case ContainerView::Kind::kInit:
      spec->kind = guestapi::ContainerSpec::Kind::kInit;
      break;
    case ContainerView::Kind::kSidecar:
      spec->kind = guestapi::ContainerSpec::Kind::kSidecar;
      break;
    case ContainerView::Kind::kMain:
      spec->kind = guestapi::ContainerSpec::Kind::kMain;
      break;
    case ContainerView::Kind::kEphemeral:
      spec->kind = guestapi::ContainerSpec::Kind::kEphemeral;
      break;
  }
  spec->name = c.name();
  spec->image = c.image();
  if (c.has_readiness_probe()) spec->readiness.emplace();
  if (c.has_startup_probe()) spec->startup.emplace();

  Env env;
  const auto lookup = [&env](std::string_view name) { return env.Find(name); };
  for (const json::Value& source : c.env_from()) {
    if (auto problem = EnvFrom(source, &env)) return problem;
  }
  for (const json::Value& var : c.env()) {
    std::optional<std::string> value;
    if (const json::Value* source = json::Get(var, "valueFrom")) {
      if (auto problem = ValueFrom(c, *source, &value)) return problem;
    } else {
      value = Expand(json::String(var, "value"), lookup);
    }
    if (value) env.Set(json::String(var, "name"), *std::move(value));
  }
  for (const json::Value& word : c.command()) spec->command.push_back(Expand(json::AsString(word), lookup));
  for (const json::Value& word : c.args()) spec->args.push_back(Expand(json::AsString(word), lookup));
  spec->working_dir = c.working_dir();
  spec->env = env.Take();
  return std::nullopt;
}

ResolveResult Resolver::Run() {
  guestapi::GuestSpec spec;
  spec.pod_uid = pod_.uid();
  spec.pod_namespace = pod_.ns();
  spec.pod_name = pod_.name();
  spec.revision = in_.revision;
  spec.generation = pod_.generation();
  spec.grace_seconds = pod_.termination_grace_seconds();
  switch (pod_.restart_policy()) {
    case kubeapi::RestartPolicy::kAlways:
      spec.restart_policy = guestapi::RestartPolicy::kAlways;
      break;
    case kubeapi::RestartPolicy::kOnFailure:
      spec.restart_policy = guestapi::RestartPolicy::kOnFailure;
      break;
    case kubeapi::RestartPolicy::kNever:
      spec.restart_policy = guestapi::RestartPolicy::kNever;
      break;
  }
  spec.active_deadline_seconds = pod_.active_deadline_seconds();
  // What will fail is told before what is still being read.
  std::optional<Problem> pending, failed;
  pod_.ForEachContainer([&](const ContainerView& c) {
    auto problem = Container(c, &spec.containers.emplace_back());
    if (!problem) return;
    auto& slot = problem->reason.empty() ? pending : failed;
    if (!slot) slot = std::move(problem);
  });
  if (failed) return {.reason = failed->reason, .message = failed->message};
  if (pending) return {};
  return {.spec = std::move(spec)};
}

}  // namespace

ResolveResult ResolveSpec(const ResolveInputs& in) { return Resolver(in).Run(); }

std::vector<ObjectRef> ReferencedObjects(const PodView& pod) {
  std::vector<ObjectRef> refs;
  const auto add = [&refs](ObjectRef::Kind kind, const json::Value* ref) {
    if (ref == nullptr) return;
    ObjectRef object{kind, std::string(json::String(ref, "name"))};
    if (!object.name.empty() && std::find(refs.begin(), refs.end(), object) == refs.end())
      refs.push_back(std::move(object));
  };
  pod.ForEachContainer([&](const ContainerView& c) {
    for (const json::Value& source : c.env_from()) {
      add(ObjectRef::Kind::kConfigMap, json::Get(source, "configMapRef"));
      add(ObjectRef::Kind::kSecret, json::Get(source, "secretRef"));
    }
    for (const json::Value& var : c.env()) {
      const json::Value* source = json::Get(var, "valueFrom");
      add(ObjectRef::Kind::kConfigMap, json::Get(source, "configMapKeyRef"));
      add(ObjectRef::Kind::kSecret, json::Get(source, "secretKeyRef"));
    }
  });
  return refs;
}

}  // namespace vck::podvm
