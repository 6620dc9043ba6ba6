#include "guestapi/container_json.h"

#include "guestapi/fields.h"

namespace vck::guestapi::internal {
namespace {

constexpr std::string_view kKinds[] = {"init", "sidecar", "main", "ephemeral"};
constexpr std::string_view kHandlers[] = {"exec", "http", "tcp", "grpc", "sleep"};
constexpr std::string_view kSeccomp[] = {"Unconfined", "RuntimeDefault"};
constexpr int kMaxPort = 65535;

json::Object ToJson(const Handler& handler, const boost::json::storage_ptr& storage) {
  json::Object out(storage);
  Put(&out, "kind", kHandlers[static_cast<size_t>(handler.kind)]);
  Put(&out, "command", handler.command);
  Put(&out, "host", handler.host);
  Put(&out, "port", handler.port);
  Put(&out, "path", handler.path);
  Put(&out, "https", handler.https);
  Put(&out, "headers", handler.headers);
  Put(&out, "service", handler.service);
  Put(&out, "seconds", handler.seconds);
  return out;
}

Handler HandlerFromJson(Fields* parent, const json::Value& value, const std::string& where) {
  Handler out;
  Fields in(value, where);
  in.Read("kind", &out.kind, kHandlers);
  in.Read("command", &out.command);
  in.Read("host", &out.host);
  in.Read("port", &out.port, 0, kMaxPort);
  in.Read("path", &out.path);
  in.Read("https", &out.https);
  in.Read("headers", &out.headers);
  in.Read("service", &out.service);
  in.Read("seconds", &out.seconds, 0, kMaxSeconds);
  parent->Check(in.status());
  return out;
}

json::Object ToJson(const Probe& probe, const boost::json::storage_ptr& storage) {
  json::Object out(storage);
  out["handler"] = ToJson(probe.handler, storage);
  // Their defaults are not zero.
  out["initialDelay"] = probe.initial_delay;
  out["timeout"] = probe.timeout;
  out["period"] = probe.period;
  out["successThreshold"] = probe.success_threshold;
  out["failureThreshold"] = probe.failure_threshold;
  if (probe.grace_seconds) out["graceSeconds"] = *probe.grace_seconds;
  return out;
}

Probe ProbeFromJson(Fields* parent, const json::Value& value, const std::string& where) {
  Probe out;
  Fields in(value, where);
  if (const json::Value* handler = in.Member("handler")) {
    out.handler = HandlerFromJson(&in, *handler, in.Name("handler."));
  }
  in.Read("initialDelay", &out.initial_delay, 0, static_cast<int>(kMaxSeconds));
  in.Read("timeout", &out.timeout, 1, static_cast<int>(kMaxSeconds));
  in.Read("period", &out.period, 1, static_cast<int>(kMaxSeconds));
  in.Read("successThreshold", &out.success_threshold, 1);
  in.Read("failureThreshold", &out.failure_threshold, 1);
  if (in.Member("graceSeconds") != nullptr) in.Read("graceSeconds", &out.grace_seconds.emplace(), 0, kMaxSeconds);
  parent->Check(in.status());
  return out;
}

json::Object ToJson(const Mount& mount, const boost::json::storage_ptr& storage) {
  json::Object out(storage);
  Put(&out, "volume", mount.volume);
  Put(&out, "path", mount.path);
  Put(&out, "subPath", mount.sub_path);
  Put(&out, "readOnly", mount.read_only);
  Put(&out, "bidirectional", mount.bidirectional);
  Put(&out, "hostToContainer", mount.host_to_container);
  return out;
}

Mount MountFromJson(Fields* parent, const json::Value& value, const std::string& where) {
  Mount out;
  Fields in(value, where);
  in.Read("volume", &out.volume);
  in.Require("volume", !out.volume.empty());
  in.Read("path", &out.path);
  in.Require("path", !out.path.empty());
  in.Read("subPath", &out.sub_path);
  in.Read("readOnly", &out.read_only);
  in.Read("bidirectional", &out.bidirectional);
  in.Read("hostToContainer", &out.host_to_container);
  parent->Check(in.status());
  return out;
}

json::Object ToJson(const Security& security, const boost::json::storage_ptr& storage) {
  json::Object out(storage);
  if (security.user) out["user"] = *security.user;
  if (security.group) out["group"] = *security.group;
  Put(&out, "runAsNonRoot", security.run_as_non_root);
  Put(&out, "privileged", security.privileged);
  Put(&out, "readOnlyRoot", security.read_only_root);
  Put(&out, "noNewPrivileges", security.no_new_privileges);
  Put(&out, "unmaskedProc", security.unmasked_proc);
  Put(&out, "addCapabilities", security.add_capabilities);
  Put(&out, "dropCapabilities", security.drop_capabilities);
  Put(&out, "seccomp", kSeccomp[static_cast<size_t>(security.seccomp)]);
  return out;
}

Security SecurityFromJson(Fields* parent, const json::Value& value, const std::string& where) {
  constexpr int64_t kMaxId = 0xffffffff;
  Security out;
  Fields in(value, where);
  if (in.Member("user") != nullptr) in.Read("user", &out.user.emplace(), 0, kMaxId);
  if (in.Member("group") != nullptr) in.Read("group", &out.group.emplace(), 0, kMaxId);
  in.Read("runAsNonRoot", &out.run_as_non_root);
  in.Read("privileged", &out.privileged);
  in.Read("readOnlyRoot", &out.read_only_root);
  in.Read("noNewPrivileges", &out.no_new_privileges);
  in.Read("unmaskedProc", &out.unmasked_proc);
  in.Read("addCapabilities", &out.add_capabilities);
  in.Read("dropCapabilities", &out.drop_capabilities);
  in.Read("seccomp", &out.seccomp, kSeccomp);
  parent->Check(in.status());
  return out;
}

// What a guest that does not know lateEnv makes of the container: one that waits, and says why.
constexpr std::string_view kTooOld =
    "environment variables from files need a newer guest than this pod's: make the pod anew";

json::Array ToJson(const std::vector<LateVariable>& variables, const boost::json::storage_ptr& storage) {
  json::Array out(storage);
  for (const LateVariable& variable : variables) {
    json::Object item(storage);
    Put(&item, "name", variable.name);
    if (variable.file) {
      json::Object file(storage);
      Put(&file, "volume", variable.file->volume);
      Put(&file, "path", variable.file->path);
      Put(&file, "key", variable.file->key);
      Put(&file, "optional", variable.file->optional);
      item["file"] = std::move(file);
    } else {
      Put(&item, "text", variable.text);
    }
    out.push_back(std::move(item));
  }
  return out;
}

LateVariable LateVariableFromJson(Fields* parent, const json::Value& value, const std::string& where) {
  LateVariable out;
  Fields in(value, where);
  in.Read("name", &out.name);
  if (const json::Value* member = in.Member("file")) {
    EnvFileKey& key = out.file.emplace();
    Fields file(*member, in.Name("file."));
    file.Read("volume", &key.volume);
    file.Require("volume", !key.volume.empty());
    file.Read("path", &key.path);
    file.Require("path", !key.path.empty());
    if (key.path.find('\0') != std::string::npos) file.Fail("path", "is no path");
    file.Read("key", &key.key);
    file.Read("optional", &key.optional);
    in.Check(file.status());
  } else {
    in.Read("text", &out.text);
  }
  parent->Check(in.status());
  return out;
}

}  // namespace

void PutResources(json::Object* out, const Resources& resources) {
  Put(out, "cpuLimitMilli", resources.cpu_limit_milli);
  Put(out, "cpuRequestMilli", resources.cpu_request_milli);
  Put(out, "memoryLimitBytes", resources.memory_limit_bytes);
  Put(out, "memoryRequestBytes", resources.memory_request_bytes);
}

Resources ReadResources(Fields* in) {
  Resources out;
  in->Read("cpuLimitMilli", &out.cpu_limit_milli, 0);
  in->Read("cpuRequestMilli", &out.cpu_request_milli, 0);
  in->Read("memoryLimitBytes", &out.memory_limit_bytes, 0);
  in->Read("memoryRequestBytes", &out.memory_request_bytes, 0);
  return out;
}

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
  if (container.startup) out["startupProbe"] = ToJson(*container.startup, storage);
  if (container.readiness) out["readinessProbe"] = ToJson(*container.readiness, storage);
  if (container.liveness) out["livenessProbe"] = ToJson(*container.liveness, storage);
  if (container.post_start) out["postStart"] = ToJson(*container.post_start, storage);
  if (container.pre_stop) out["preStop"] = ToJson(*container.pre_stop, storage);
  Put(&out, "stopSignal", container.stop_signal);
  json::Array mounts(storage);
  for (const Mount& mount : container.mounts) mounts.push_back(ToJson(mount, storage));
  if (!mounts.empty()) out["mounts"] = std::move(mounts);
  out["security"] = ToJson(container.security, storage);
  PutResources(&out, container.resources());
  Put(&out, "restartForCpu", container.restart_for_cpu);
  Put(&out, "restartForMemory", container.restart_for_memory);
  Put(&out, "tty", container.tty);
  Put(&out, "stdin", container.stdin);
  Put(&out, "stdinOnce", container.stdin_once);
  Put(&out, "terminationMessagePath", container.termination_message_path);
  Put(&out, "terminationMessageFromLogs", container.termination_message_from_logs);
  if (container.restart_policy) out["restartPolicy"] = kPolicies[static_cast<size_t>(*container.restart_policy)];
  json::Array rules(storage);
  for (const RestartRule& rule : container.restart_rules) {
    json::Object item(storage);
    Put(&item, "negated", rule.negated);
    json::Array codes(storage);
    for (int code : rule.exit_codes) codes.push_back(code);
    item["exitCodes"] = std::move(codes);
    rules.push_back(std::move(item));
  }
  if (!rules.empty()) out["restartRules"] = std::move(rules);
  Put(&out, "target", container.target);
  if (container.config_error.empty() && !container.late_env.empty()) {
    out["lateEnv"] = ToJson(container.late_env, storage);
    Put(&out, "configError", kTooOld);
  } else {
    Put(&out, "configError", container.config_error);
  }
  Put(&out, "awaitsImage", container.awaits_image);
  Put(&out, "confidential", container.confidential);
  return out;
}

StatusOr<ContainerSpec> ContainerFromJson(const json::Value& value, const std::string& where) {
  ContainerSpec out;
  Fields in(value, where);
  in.Read("name", &out.name);
  in.Require("name", !out.name.empty());
  in.Read("kind", &out.kind, kKinds);
  in.Read("image", &out.image);
  in.Read("imageId", &out.image_id);
  in.Read("command", &out.command);
  in.Read("args", &out.args);
  in.Read("env", &out.env);
  in.Read("workingDir", &out.working_dir);
  const auto probe = [&](std::string_view key, std::optional<Probe>* to) {
    if (const json::Value* member = in.Member(key)) *to = ProbeFromJson(&in, *member, in.Name(key) + ".");
  };
  probe("startupProbe", &out.startup);
  probe("readinessProbe", &out.readiness);
  probe("livenessProbe", &out.liveness);
  const auto hook = [&](std::string_view key, std::optional<Handler>* to) {
    if (const json::Value* member = in.Member(key)) *to = HandlerFromJson(&in, *member, in.Name(key) + ".");
  };
  hook("postStart", &out.post_start);
  hook("preStop", &out.pre_stop);
  in.Read("stopSignal", &out.stop_signal);
  for (const json::Value& item : in.Items("mounts")) {
    out.mounts.push_back(MountFromJson(&in, item, absl::StrCat(where, "mounts[", out.mounts.size(), "].")));
  }
  if (const json::Value* security = in.Member("security")) {
    out.security = SecurityFromJson(&in, *security, in.Name("security."));
  }
  out.set_resources(ReadResources(&in));
  in.Read("restartForCpu", &out.restart_for_cpu);
  in.Read("restartForMemory", &out.restart_for_memory);
  in.Read("tty", &out.tty);
  in.Read("stdin", &out.stdin);
  in.Read("stdinOnce", &out.stdin_once);
  in.Read("terminationMessagePath", &out.termination_message_path);
  in.Read("terminationMessageFromLogs", &out.termination_message_from_logs);
  if (in.Member("restartPolicy") != nullptr) in.Read("restartPolicy", &out.restart_policy.emplace(), kPolicies);
  for (const json::Value& item : in.Items("restartRules")) {
    Fields rule(item, absl::StrCat(where, "restartRules[", out.restart_rules.size(), "]."));
    RestartRule& to = out.restart_rules.emplace_back();
    rule.Read("negated", &to.negated);
    for (const json::Value& code : rule.Items("exitCodes")) {
      if (!code.is_int64() || code.get_int64() < 0 || code.get_int64() > 255) {
        rule.Fail("exitCodes", "holds something that is no exit code");
        break;
      }
      to.exit_codes.push_back(static_cast<int>(code.get_int64()));
    }
    in.Check(rule.status());
  }
  in.Read("target", &out.target);
  for (const json::Value& item : in.Items("lateEnv")) {
    out.late_env.push_back(LateVariableFromJson(&in, item, absl::StrCat(where, "lateEnv[", out.late_env.size(), "].")));
  }
  in.Read("configError", &out.config_error);
  if (!out.late_env.empty()) out.config_error.clear();  // it is for guests that do not know lateEnv
  in.Read("awaitsImage", &out.awaits_image);
  in.Read("confidential", &out.confidential);
  RETURN_IF_ERROR(in.status());
  return out;
}

}  // namespace vck::guestapi::internal
