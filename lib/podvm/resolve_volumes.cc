#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "kubeapi/resources.h"
#include "podvm/resolve_parts.h"
#include "podvm/unsupported.h"

namespace vck::podvm::internal {
namespace {

using guestapi::FileSpec;
using guestapi::VolumeSpec;

// By path; a later source replaces an earlier one's file.
using Files = std::map<std::string, FileSpec>;

// The rules of the kubelet's atomic writer, whose layout the guest makes. Gives the path without "." and "//".
StatusOr<std::string> CleanPath(std::string_view path) {
  constexpr size_t kMaxPath = 4096, kMaxName = 255;
  const auto bad = [](std::string_view why) { return absl::InvalidArgumentError(absl::StrCat("invalid path: ", why)); };
  if (path.empty()) return bad("must not be empty: \"\"");
  if (path.starts_with('/')) return bad(absl::StrCat("must be relative path: ", path));
  if (path.size() > kMaxPath) return bad("must be less than or equal to 4096 characters");
  if (path.find('\0') != std::string_view::npos) return bad("must not contain NUL");
  std::vector<std::string_view> parts = absl::StrSplit(path, '/');
  for (std::string_view part : parts) {
    if (part == "..") return bad(absl::StrCat("must not contain '..': ", path));
    if (part.size() > kMaxName) return bad("filenames must be less than or equal to 255 characters");
  }
  if (parts.front().starts_with("..")) return bad(absl::StrCat("must not start with '..': ", path));
  std::erase_if(parts, [](std::string_view part) { return part.empty() || part == "."; });
  if (parts.empty()) return bad(absl::StrCat("must not be empty: \"", path, "\""));
  return absl::StrJoin(parts, "/");
}

Status Put(std::string_view path, std::string content, int64_t mode, Files* files) {
  ASSIGN_OR_RETURN(std::string clean, CleanPath(path));
  FileSpec& file = (*files)[clean];
  file = {.path = clean, .content = std::move(content), .mode = static_cast<int>(mode & 07777), .user = std::nullopt};
  return absl::OkStatus();
}

class Payload {
 public:
  Payload(const ResolveInputs& in, int64_t mode) : in_(in), mode_(mode) {}

  Status AddObject(ObjectRef::Kind kind, std::string_view name, const json::Value& source) {
    const bool optional = json::Bool(source, "optional");
    ASSIGN_OR_RETURN(LookupResult found, ReadObject(in_, {kind, std::string(name)}, optional));
    const json::Array& items = json::Items(source, "items");
    if (items.empty()) {
      for (const auto* data : {found.data, found.binary}) {
        if (data == nullptr) continue;
        for (const auto& [key, value] : *data) RETURN_IF_ERROR(Put(key, value, mode_, &files_));
      }
      return absl::OkStatus();
    }
    for (const json::Value& item : items) {
      const std::string key(json::String(item, "key"));
      const std::string* value = Find(found.data, key);
      if (value == nullptr) value = Find(found.binary, key);
      if (value == nullptr && optional) continue;
      if (value == nullptr) {
        return absl::NotFoundError(kind == ObjectRef::Kind::kSecret
                                       ? absl::StrCat("references non-existent secret key: ", key)
                                       : absl::StrCat("configmap references non-existent config key: ", key));
      }
      RETURN_IF_ERROR(Put(json::String(item, "path"), *value, json::Int(item, "mode", mode_), &files_));
    }
    return absl::OkStatus();
  }

  Status AddDownward(const json::Value& source) {
    for (const json::Value& item : json::Items(source, "items")) {
      std::string content;
      if (const json::Value* ref = json::Get(item, "fieldRef")) {
        ASSIGN_OR_RETURN(content, PodField(*in_.pod, json::String(ref, "fieldPath")));
      } else if (const json::Value* resource = json::Get(item, "resourceFieldRef")) {
        ASSIGN_OR_RETURN(content, ResourceField(in_, *resource, nullptr));
      }
      RETURN_IF_ERROR(Put(json::String(item, "path"), std::move(content), json::Int(item, "mode", mode_), &files_));
    }
    return absl::OkStatus();
  }

  Status AddToken(const json::Value& source) {
    const TokenRef ref{std::string(json::String(source, "audience")), json::Int(source, "expirationSeconds", 3600)};
    TokenResult token = in_.token ? in_.token(ref) : TokenResult{};
    if (token.state == TokenResult::State::kPending) return Pending();
    if (token.state == TokenResult::State::kFailed) return absl::FailedPreconditionError(token.error);
    // Whom the token is for may read it, and nobody else.
    const auto user = CommonUser(*in_.pod);
    const bool narrow = user || json::Get(json::Get(in_.pod->spec(), "securityContext"), "fsGroup") != nullptr;
    const std::string_view path = json::String(source, "path");
    RETURN_IF_ERROR(Put(path, std::string(token.token), narrow ? 0600 : mode_, &files_));
    files_[*CleanPath(path)].user = user;
    return absl::OkStatus();
  }

  std::vector<FileSpec> Take() {
    std::vector<FileSpec> out;
    out.reserve(files_.size());
    for (auto& [path, file] : files_) out.push_back(std::move(file));
    return out;
  }

 private:
  static const std::string* Find(const std::map<std::string, std::string>* data, const std::string& key) {
    if (data == nullptr) return nullptr;
    auto it = data->find(key);
    return it == data->end() ? nullptr : &it->second;
  }

  const ResolveInputs& in_;
  int64_t mode_;
  Files files_;
};

Status AddProjected(const json::Value& projected, Payload* payload) {
  std::vector<std::string> failures;
  bool pending = false;
  const auto note = [&](const Status& status) {
    if (status.ok()) return;
    if (IsPending(status)) {
      pending = true;
    } else if (std::find(failures.begin(), failures.end(), status.message()) == failures.end()) {
      failures.emplace_back(status.message());
    }
  };
  for (const json::Value& source : json::Items(projected, "sources")) {
    if (const json::Value* secret = json::Get(source, "secret")) {
      note(payload->AddObject(ObjectRef::Kind::kSecret, json::String(secret, "name"), *secret));
    } else if (const json::Value* config = json::Get(source, "configMap")) {
      note(payload->AddObject(ObjectRef::Kind::kConfigMap, json::String(config, "name"), *config));
    } else if (const json::Value* downward = json::Get(source, "downwardAPI")) {
      note(payload->AddDownward(*downward));
    } else if (const json::Value* token = json::Get(source, "serviceAccountToken")) {
      note(payload->AddToken(*token));
    } else {
      note(absl::UnimplementedError("the volume has a source that this node does not support"));
    }
  }
  if (failures.size() == 1) return absl::FailedPreconditionError(failures.front());
  if (!failures.empty()) return absl::FailedPreconditionError(absl::StrCat("[", absl::StrJoin(failures, ", "), "]"));
  return pending ? Pending() : absl::OkStatus();
}

int64_t SizeLimit(const ResolveInputs& in, const json::Value* empty_dir, bool memory) {
  int64_t size = 0;
  if (const json::Value* given = json::Get(empty_dir, "sizeLimit")) {
    if (auto quantity = kubeapi::Quantity::Parse(*given); quantity.ok()) size = std::max<int64_t>(0, quantity->Value());
  }
  // What is in memory can't be larger than what the pod's containers may use.
  if (memory && kubeapi::AllLimited(*in.pod, "memory")) {
    const int64_t limit = std::max<int64_t>(0, kubeapi::PodLimits(*in.pod, "memory").Value());
    if (limit > 0 && (size == 0 || limit < size)) size = limit;
  }
  return size;
}

}  // namespace

StatusOr<VolumeSpec> ResolveVolume(const ResolveInputs& in, const json::Value& volume) {
  VolumeSpec spec;
  spec.name = json::String(volume, "name");
  const std::string_view kind = VolumeSource(volume);
  static const json::Value kNothing;
  const json::Value* found = json::Get(volume, kind);
  const json::Value& source = found != nullptr ? *found : kNothing;
  if (kind == "emptyDir") {
    const bool memory = json::String(source, "medium") == "Memory";
    spec.kind = memory ? VolumeSpec::Kind::kMemory : VolumeSpec::Kind::kEmptyDir;
    spec.size_limit = SizeLimit(in, &source, memory);
    return spec;
  }
  if (kind == "hostPath") {
    spec.kind = VolumeSpec::Kind::kHostPath;
    spec.host_path = json::String(source, "path");
    spec.host_path_type = json::String(source, "type");
    return spec;
  }
  spec.kind = VolumeSpec::Kind::kFiles;
  Payload payload(in, json::Int(source, "defaultMode", 0644));
  if (kind == "configMap") {
    RETURN_IF_ERROR(payload.AddObject(ObjectRef::Kind::kConfigMap, json::String(source, "name"), source));
  } else if (kind == "secret") {
    RETURN_IF_ERROR(payload.AddObject(ObjectRef::Kind::kSecret, json::String(source, "secretName"), source));
  } else if (kind == "downwardAPI") {
    RETURN_IF_ERROR(payload.AddDownward(source));
  } else if (kind == "projected") {
    RETURN_IF_ERROR(AddProjected(source, &payload));
  } else {
    return absl::UnimplementedError(absl::StrCat(kind, " volumes are not supported on this node"));
  }
  spec.files = payload.Take();
  return spec;
}

}  // namespace vck::podvm::internal
