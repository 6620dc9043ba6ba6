#include "guestapi/spec.h"

#include <set>

#include "guestapi/fields.h"

namespace vck::guestapi {
namespace {

using internal::Fields;
using internal::Put;

constexpr std::string_view kPolicies[] = {"Always", "OnFailure", "Never"};
constexpr std::string_view kKinds[] = {"init", "sidecar", "main", "ephemeral"};
// Some 30 years: sums with it stay far from overflow.
constexpr int64_t kMaxSeconds = 1'000'000'000;

json::Object ToJson(const ContainerSpec& container, const boost::json::storage_ptr& storage) {
  json::Object out(storage);
  Put(&out, "name", container.name);
  Put(&out, "kind", kKinds[static_cast<size_t>(container.kind)]);
  Put(&out, "image", container.image);
  Put(&out, "imageId", container.image_id);
  Put(&out, "command", container.command);
  Put(&out, "args", container.args);
  Put(&out, "env", container.env);
  Put(&out, "workingDir", container.working_dir);
  Put(&out, "readinessProbe", container.has_readiness_probe);
  Put(&out, "startupProbe", container.has_startup_probe);
  return out;
}

StatusOr<ContainerSpec> ContainerFromJson(const json::Value& value, std::string where) {
  ContainerSpec out;
  Fields in(value, std::move(where));
  in.Read("name", &out.name);
  in.Require("name", !out.name.empty());
  in.Read("kind", &out.kind, kKinds);
  in.Read("image", &out.image);
  in.Read("imageId", &out.image_id);
  in.Read("command", &out.command);
  in.Read("args", &out.args);
  in.Read("env", &out.env);
  in.Read("workingDir", &out.working_dir);
  in.Read("readinessProbe", &out.has_readiness_probe);
  in.Read("startupProbe", &out.has_startup_probe);
  RETURN_IF_ERROR(in.status());
  return out;
}

}  // namespace

json::Object ToJson(const GuestSpec& spec, const boost::json::storage_ptr& storage) {
  json::Object out(storage);
  Put(&out, "version", kVersion);
  Put(&out, "podUid", spec.pod_uid);
  Put(&out, "namespace", spec.pod_namespace);
  Put(&out, "name", spec.pod_name);
  Put(&out, "revision", spec.revision);
  Put(&out, "generation", spec.generation);
  Put(&out, "restartPolicy", kPolicies[static_cast<size_t>(spec.restart_policy)]);
  // Zero has a meaning in these two.
  if (spec.active_deadline_seconds) out["activeDeadlineSeconds"] = *spec.active_deadline_seconds;
  out["graceSeconds"] = spec.grace_seconds;
  json::Array containers(storage);
  for (const ContainerSpec& container : spec.containers) containers.push_back(ToJson(container, storage));
  out["containers"] = std::move(containers);
  Put(&out, "hosts", spec.hosts);
  return out;
}

StatusOr<GuestSpec> SpecFromJson(const json::Value& value) {
  GuestSpec out;
  Fields in(value, "");
  int version = kVersion;
  in.Read("version", &version, kVersion, kVersion);
  in.Read("podUid", &out.pod_uid);
  in.Require("podUid", !out.pod_uid.empty());
  in.Read("namespace", &out.pod_namespace);
  in.Read("name", &out.pod_name);
  in.Read("revision", &out.revision, 0);
  in.Read("generation", &out.generation, 0);
  in.Read("restartPolicy", &out.restart_policy, kPolicies);
  if (in.Member("activeDeadlineSeconds") != nullptr) {
    in.Read("activeDeadlineSeconds", &out.active_deadline_seconds.emplace(), 0, kMaxSeconds);
  }
  in.Read("graceSeconds", &out.grace_seconds, 0, kMaxSeconds);
  in.Read("hosts", &out.hosts);
  std::set<std::string> names;
  for (const json::Value& item : in.Items("containers")) {
    std::string where = absl::StrCat("containers[", out.containers.size(), "].");
    ASSIGN_OR_RETURN(auto container, ContainerFromJson(item, where));
    if (!names.insert(container.name).second) {
      return absl::InvalidArgumentError(absl::StrCat(where, "name is there twice"));
    }
    out.containers.push_back(std::move(container));
  }
  RETURN_IF_ERROR(in.status());
  return out;
}

json::Object ToJson(const StopRequest& request, const boost::json::storage_ptr& storage) {
  json::Object out(storage);
  out["graceSeconds"] = request.grace_seconds;
  Put(&out, "reason", request.reason);
  return out;
}

StatusOr<StopRequest> StopFromJson(const json::Value& value) {
  StopRequest out;
  Fields in(value, "");
  in.Read("graceSeconds", &out.grace_seconds, 0, kMaxSeconds);
  in.Read("reason", &out.reason);
  RETURN_IF_ERROR(in.status());
  return out;
}

std::string Encode(const GuestSpec& spec) {
  boost::json::monotonic_resource arena;
  return json::Serialize(ToJson(spec, &arena));
}

StatusOr<GuestSpec> DecodeSpec(std::string_view text) {
  ASSIGN_OR_RETURN(auto document, json::Document::Parse(text));
  return SpecFromJson(document.root());
}

std::string Encode(const StopRequest& request) { return json::Serialize(ToJson(request)); }

StatusOr<StopRequest> DecodeStop(std::string_view text) {
  ASSIGN_OR_RETURN(auto document, json::Document::Parse(text));
  return StopFromJson(document.root());
}

}  // namespace vck::guestapi
