#include "guestapi/spec.h"

#include <set>

#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "guestapi/container_json.h"
#include "guestapi/fields.h"

namespace vck::guestapi {
namespace {

using internal::Fields;
using internal::Put;

using internal::kMaxSeconds;
using internal::kPolicies;

constexpr std::string_view kVolumeKinds[] = {"emptyDir", "memory", "files", "hostPath"};
constexpr std::string_view kLimitKinds[] = {"volume", "pod", "container"};
constexpr int kMaxUnit = 15;
constexpr int64_t kMaxUser = 0xffffffff;

json::Object ToJson(const VolumeSpec& volume, const boost::json::storage_ptr& storage) {
  json::Object out(storage);
  Put(&out, "name", volume.name);
  Put(&out, "kind", kVolumeKinds[static_cast<size_t>(volume.kind)]);
  Put(&out, "sizeLimit", volume.size_limit);
  Put(&out, "hostPath", volume.host_path);
  Put(&out, "hostPathType", volume.host_path_type);
  json::Array files(storage);
  for (const FileSpec& file : volume.files) {
    json::Object item(storage);
    Put(&item, "path", file.path);
    Put(&item, "content", absl::Base64Escape(file.content));
    item["mode"] = file.mode;
    if (file.user) item["user"] = *file.user;
    files.push_back(std::move(item));
  }
  if (!files.empty()) out["files"] = std::move(files);
  return out;
}

// A file of a volume must not leave it.
bool IsInside(std::string_view path) {
  if (path.empty() || path.front() == '/' || path.find('\0') != std::string_view::npos) return false;
  for (std::string_view part : absl::StrSplit(path, '/')) {
    if (part == ".." || part == "." || part.empty()) return false;
  }
  return true;
}

bool IsVolumeName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

StatusOr<VolumeSpec> VolumeFromJson(const json::Value& value, const std::string& where) {
  VolumeSpec out;
  Fields in(value, where);
  in.Read("name", &out.name);
  in.Require("name", !out.name.empty());
  if (!out.name.empty() && !IsVolumeName(out.name)) in.Fail("name", "is no volume's name");
  in.Read("kind", &out.kind, kVolumeKinds);
  in.Read("sizeLimit", &out.size_limit, 0);
  in.Read("hostPath", &out.host_path);
  in.Read("hostPathType", &out.host_path_type);
  for (const json::Value& item : in.Items("files")) {
    FileSpec file;
    Fields fields(item, absl::StrCat(where, "files[", out.files.size(), "]."));
    fields.Read("path", &file.path);
    if (!IsInside(file.path)) fields.Fail("path", "is not a path inside the volume");
    std::string encoded;
    fields.Read("content", &encoded);
    if (!absl::Base64Unescape(encoded, &file.content)) fields.Fail("content", "is not base64");
    fields.Read("mode", &file.mode, 0, 07777);
    if (fields.Member("user") != nullptr) fields.Read("user", &file.user.emplace(), 0, kMaxUser);
    in.Check(fields.status());
    out.files.push_back(std::move(file));
  }
  RETURN_IF_ERROR(in.status());
  return out;
}

StatusOr<ImageSpec> ImageFromJson(const json::Value& value, std::string where) {
  ImageSpec out;
  Fields in(value, std::move(where));
  in.Read("id", &out.id);
  in.Require("id", !out.id.empty());
  in.Read("unit", &out.unit, 0, kMaxUnit);
  RETURN_IF_ERROR(in.status());
  return out;
}

void PutNumbers(json::Object* out, std::string_view key, const std::vector<int64_t>& numbers) {
  if (numbers.empty()) return;
  json::Array array(out->storage());
  for (int64_t number : numbers) array.push_back(number);
  (*out)[key] = std::move(array);
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
  Put(&out, "startTime", spec.start_time);
  out["graceSeconds"] = spec.grace_seconds;
  json::Array containers(storage);
  for (const ContainerSpec& container : spec.containers) containers.push_back(internal::ToJson(container, storage));
  out["containers"] = std::move(containers);
  json::Array images(storage);
  for (const ImageSpec& image : spec.images) {
    json::Object item(storage);
    Put(&item, "id", image.id);
    Put(&item, "unit", image.unit);
    images.push_back(std::move(item));
  }
  if (!images.empty()) out["images"] = std::move(images);
  json::Array volumes(storage);
  for (const VolumeSpec& volume : spec.volumes) volumes.push_back(ToJson(volume, storage));
  if (!volumes.empty()) out["volumes"] = std::move(volumes);
  json::Array limits(storage);
  for (const StorageLimit& limit : spec.storage_limits) {
    json::Object item(storage);
    Put(&item, "kind", kLimitKinds[static_cast<size_t>(limit.kind)]);
    Put(&item, "name", limit.name);
    Put(&item, "bytes", limit.bytes);
    Put(&item, "message", limit.message);
    limits.push_back(std::move(item));
  }
  if (!limits.empty()) out["storageLimits"] = std::move(limits);
  Put(&out, "hostsFile", spec.hosts_file);
  Put(&out, "resolvConf", spec.resolv_conf);
  Put(&out, "hostName", spec.host_name);
  Put(&out, "hostNetwork", spec.host_network);
  Put(&out, "hostPid", spec.host_pid);
  Put(&out, "hostIpc", spec.host_ipc);
  Put(&out, "shareProcesses", spec.share_processes);
  Put(&out, "sysctls", spec.sysctls);
  if (spec.fs_group) out["fsGroup"] = *spec.fs_group;
  PutNumbers(&out, "supplementalGroups", spec.supplemental_groups);
  Put(&out, "logMaxBytes", spec.log_max_bytes);
  Put(&out, "logMaxFiles", spec.log_max_files);
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
  in.Read("startTime", &out.start_time);
  in.Read("graceSeconds", &out.grace_seconds, 0, kMaxSeconds);
  in.Read("hostsFile", &out.hosts_file);
  in.Read("resolvConf", &out.resolv_conf);
  in.Read("hostName", &out.host_name);
  in.Read("hostNetwork", &out.host_network);
  in.Read("hostPid", &out.host_pid);
  in.Read("hostIpc", &out.host_ipc);
  in.Read("shareProcesses", &out.share_processes);
  in.Read("sysctls", &out.sysctls);
  if (in.Member("fsGroup") != nullptr) in.Read("fsGroup", &out.fs_group.emplace(), 0);
  for (const json::Value& item : in.Items("supplementalGroups")) {
    if (!item.is_int64() || item.get_int64() < 0) {
      in.Fail("supplementalGroups", "holds something that is no group");
      break;
    }
    out.supplemental_groups.push_back(item.get_int64());
  }
  in.Read("logMaxBytes", &out.log_max_bytes, 1);
  in.Read("logMaxFiles", &out.log_max_files, 2);
  for (const json::Value& item : in.Items("images")) {
    ASSIGN_OR_RETURN(auto image, ImageFromJson(item, absl::StrCat("images[", out.images.size(), "].")));
    out.images.push_back(std::move(image));
  }
  for (const json::Value& item : in.Items("volumes")) {
    ASSIGN_OR_RETURN(auto volume, VolumeFromJson(item, absl::StrCat("volumes[", out.volumes.size(), "].")));
    out.volumes.push_back(std::move(volume));
  }
  for (const json::Value& item : in.Items("storageLimits")) {
    Fields fields(item, absl::StrCat("storageLimits[", out.storage_limits.size(), "]."));
    StorageLimit& limit = out.storage_limits.emplace_back();
    fields.Read("kind", &limit.kind, kLimitKinds);
    fields.Read("name", &limit.name);
    fields.Read("bytes", &limit.bytes, 1);
    fields.Read("message", &limit.message);
    in.Check(fields.status());
  }
  std::set<std::string> names;
  for (const json::Value& item : in.Items("containers")) {
    std::string where = absl::StrCat("containers[", out.containers.size(), "].");
    ASSIGN_OR_RETURN(auto container, internal::ContainerFromJson(item, where));
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
  if (request.stay_on) out["stayOn"] = true;
  return out;
}

StatusOr<StopRequest> StopFromJson(const json::Value& value) {
  StopRequest out;
  Fields in(value, "");
  in.Read("graceSeconds", &out.grace_seconds, 0, kMaxSeconds);
  in.Read("reason", &out.reason);
  in.Read("stayOn", &out.stay_on);
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
