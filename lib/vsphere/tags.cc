#include "vsphere/tags.h"

#include "absl/strings/str_cat.h"
#include "base/log.h"

namespace vck::vsphere {
namespace {

constexpr const char* kCategory = "/com/vmware/cis/tagging/category";
constexpr const char* kTag = "/com/vmware/cis/tagging/tag";
constexpr const char* kAssociation = "/com/vmware/cis/tagging/tag-association";

const json::Array& Ids(const json::Value& value) {
  static const json::Array kNone;
  return value.is_array() ? value.get_array() : kNone;
}

}  // namespace

Task<StatusOr<std::string>> TagService::EnsureCategory(std::string name) {
  if (auto known = categories_.find(name); known != categories_.end()) co_return known->second;
  CO_RETURN_IF_ERROR((co_await rest_.SpeaksApi()).status());
  // Twice: somebody else may make it between our look and our attempt.
  for (int attempt = 0; attempt < 2; ++attempt) {
    CO_ASSIGN_OR_RETURN(json::Value ids, co_await rest_.Call("GET", kCategory, "", {}));
    for (const json::Value& id : Ids(ids)) {
      std::string path = absl::StrCat(kCategory, "/", rest_.Id(json::AsString(id)));
      StatusOr<json::Value> category = co_await rest_.Call("GET", std::move(path), "", {});
      if (absl::IsNotFound(category.status())) continue;
      CO_RETURN_IF_ERROR(category.status());
      if (json::String(*category, "name") != name) continue;
      categories_[name] = json::AsString(id);
      co_return categories_[name];
    }
    json::Object fields{{"name", name},
                        {"description", "Kubernetes objects that run in vSphere"},
                        {"cardinality", "SINGLE"},
                        {"associable_types", json::Array{"VirtualMachine"}}};
    StatusOr<json::Value> created =
        co_await rest_.Call("POST", kCategory, "", rest_.Wrap("create_spec", std::move(fields)));
    if (absl::IsAlreadyExists(created.status())) continue;
    CO_RETURN_IF_ERROR(created.status());
    categories_[name] = json::AsString(*created);
    co_return categories_[name];
  }
  co_return absl::UnavailableError(absl::StrCat("tag category ", name, " exists and is not listed"));
}

Task<StatusOr<std::string>> TagService::Ensure(TagName tag) {
  if (auto known = tags_.find(tag); known != tags_.end()) co_return known->second;
  CO_ASSIGN_OR_RETURN(std::string category, co_await EnsureCategory(tag.category));
  CO_ASSIGN_OR_RETURN(bool api, co_await rest_.SpeaksApi());
  for (int attempt = 0; attempt < 2; ++attempt) {
    // The category goes into the body in /api, into the path in /rest.
    std::string list = api ? std::string(kTag) : absl::StrCat(kTag, "/", rest_.Id(category));
    json::Object body;
    if (api) body["category_id"] = category;
    CO_ASSIGN_OR_RETURN(json::Value ids,
                        co_await rest_.Call("POST", std::move(list), "list-tags-for-category", std::move(body)));
    for (const json::Value& id : Ids(ids)) {
      std::string path = absl::StrCat(kTag, "/", rest_.Id(json::AsString(id)));
      StatusOr<json::Value> found = co_await rest_.Call("GET", std::move(path), "", {});
      if (absl::IsNotFound(found.status())) continue;
      CO_RETURN_IF_ERROR(found.status());
      tags_[{tag.category, std::string(json::String(*found, "name"))}] = json::AsString(id);
    }
    if (auto known = tags_.find(tag); known != tags_.end()) co_return known->second;
    json::Object fields{{"name", tag.name}, {"description", ""}, {"category_id", category}};
    StatusOr<json::Value> created = co_await rest_.Call("POST", kTag, "", rest_.Wrap("create_spec", std::move(fields)));
    if (absl::IsAlreadyExists(created.status())) continue;
    CO_RETURN_IF_ERROR(created.status());
    tags_[tag] = json::AsString(*created);
    co_return tags_[tag];
  }
  co_return absl::UnavailableError(absl::StrCat("tag ", tag.name, " exists and is not listed"));
}

Task<Status> TagService::Attach(std::string tag_id, std::vector<MoRef> objects) {
  CO_RETURN_IF_ERROR((co_await rest_.SpeaksApi()).status());
  json::Array ids;
  for (const MoRef& object : objects) ids.push_back(json::Object{{"id", object.value}, {"type", object.type}});
  json::Object body;
  body["object_ids"] = std::move(ids);
  std::string path = absl::StrCat(kAssociation, "/", rest_.Id(tag_id));
  CO_ASSIGN_OR_RETURN(json::Value result,
                      co_await rest_.Call("POST", std::move(path), "attach-tag-to-multiple-objects", std::move(body)));
  // {"success": false, "error_messages": […]}: some were not attached, a VM that is gone among them, say.
  if (result.is_object() && !json::Bool(result, "success", true)) {
    LogV(1, "Some tags were not attached", {{"tag", tag_id}, {"answer", json::Serialize(result)}});
  }
  co_return absl::OkStatus();
}

Tagger::Tagger(Clock& clock, TagService& tags, TaggerOptions options) : clock_(clock), tags_(tags), options_(options) {}

void Tagger::Want(const MoRef& object, const std::vector<TagName>& tags) {
  for (const TagName& tag : tags) pending_[tag].insert(object);
  wake_.NotifyAll();
}

void Tagger::Drop(const MoRef& object) {
  for (auto& [tag, objects] : pending_) objects.erase(object);
}

size_t Tagger::pending() const {
  size_t count = 0;
  for (const auto& [tag, objects] : pending_) count += objects.size();
  return count;
}

Task<Status> Tagger::Run() {
  Backoff backoff(options_.backoff);
  while (true) {
    std::erase_if(pending_, [](const auto& entry) { return entry.second.empty(); });
    if (pending_.empty()) {
      co_await wake_.Wait();
      continue;
    }
    co_await clock_.Sleep(options_.tick);
    if (pending_.empty()) continue;
    TagName tag = pending_.begin()->first;
    std::vector<MoRef> objects;
    for (const MoRef& object : pending_.begin()->second) {
      if (objects.size() < options_.batch) objects.push_back(object);
    }
    if (objects.empty()) continue;
    StatusOr<std::string> id = co_await tags_.Ensure(tag);
    Status status = id.status();
    if (status.ok()) status = co_await tags_.Attach(*std::move(id), objects);
    if (status.ok()) {
      backoff.Reset();
      for (const MoRef& object : objects) pending_[tag].erase(object);
      continue;
    }
    tags_.Forget();
    absl::Duration delay = backoff.Next();
    Log(Severity::kWarning, "Tags are not attached",
        {{"tag", tag.name}, {"error", status}, {"retry", absl::FormatDuration(delay)}});
    co_await clock_.Sleep(delay);
  }
}

}  // namespace vck::vsphere
