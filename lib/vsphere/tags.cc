#include "vsphere/tags.h"

#include <algorithm>

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

Task<StatusOr<std::vector<MoRef>>> TagService::Attach(std::string tag_id, std::vector<MoRef> objects) {
  CO_RETURN_IF_ERROR((co_await rest_.SpeaksApi()).status());
  json::Array ids;
  for (const MoRef& object : objects) ids.push_back(json::Object{{"id", object.value}, {"type", object.type}});
  json::Object body;
  body["object_ids"] = std::move(ids);
  std::string path = absl::StrCat(kAssociation, "/", rest_.Id(tag_id));
  CO_ASSIGN_OR_RETURN(json::Value result,
                      co_await rest_.Call("POST", std::move(path), "attach-tag-to-multiple-objects", body));
  if (!result.is_object() || json::Bool(result, "success", true)) co_return std::vector<MoRef>();
  // {"success": false, "error_messages": […]}: the messages are for people, and do not say whom they are about.
  LogV(1, "Some tags were not attached", {{"tag", tag_id}, {"answer", json::Serialize(result)}});
  CO_ASSIGN_OR_RETURN(json::Value found,
                      co_await rest_.Call("POST", kAssociation, "list-attached-tags-on-objects", std::move(body)));
  for (const json::Value& entry : Ids(found)) {
    const json::Array& tags = json::Items(entry, "tag_ids");
    if (std::ranges::none_of(tags, [&](const json::Value& id) { return json::AsString(id) == tag_id; })) continue;
    std::string_view carrier = json::String(json::Get(entry, "object_id"), "id");
    std::erase_if(objects, [carrier](const MoRef& object) { return object.value == carrier; });
  }
  co_return objects;
}

Tagger::Tagger(Clock& clock, TagService& tags, TaggerOptions options)
    : clock_(clock), tags_(tags), options_(options), refusals_(options.backoff) {}

void Tagger::Want(const MoRef& object, const std::vector<TagName>& tags) {
  if (!known_.insert(object).second) return;
  for (const TagName& tag : tags) pending_[tag].due.insert(object);
  wake_.NotifyAll();
}

void Tagger::Drop(const MoRef& object) {
  known_.erase(object);
  for (auto& [tag, objects] : pending_) objects.due.erase(object), objects.refused.erase(object);
}

size_t Tagger::pending() const {
  size_t count = 0;
  for (const auto& [tag, objects] : pending_) count += objects.due.size() + objects.refused.size();
  return count;
}

Task<TagName> Tagger::NextTag() {
  while (true) {
    if (clock_.Now() >= refused_due_) {
      refused_due_ = Instant::Never();
      for (auto& [tag, objects] : pending_) objects.due.merge(objects.refused);
    }
    std::erase_if(pending_, [](const auto& entry) { return entry.second.due.empty() && entry.second.refused.empty(); });
    auto due = std::ranges::find_if(pending_, [](const auto& entry) { return !entry.second.due.empty(); });
    if (due != pending_.end()) co_return due->first;
    Clock::Timer timer;
    if (refused_due_ != Instant::Never()) timer = clock_.Schedule(refused_due_, [this] { wake_.NotifyAll(); });
    co_await wake_.Wait();
  }
}

void Tagger::Settle(const TagName& tag, const std::vector<MoRef>& asked, const std::vector<MoRef>& refused) {
  auto it = pending_.find(tag);
  if (it == pending_.end()) return;
  for (const MoRef& object : asked) it->second.due.erase(object);
  for (const MoRef& object : refused) {
    if (known_.contains(object)) it->second.refused.insert(object);
  }
  if (it->second.refused.empty()) {
    if (pending() == 0) refusals_.Reset();
    return;
  }
  if (refused_due_ != Instant::Never()) return;
  absl::Duration delay = refusals_.Next();
  refused_due_ = clock_.Now() + delay;
  Log(Severity::kWarning, "vCenter did not attach a tag to some VMs",
      {{"tag", tag.name}, {"vms", it->second.refused.size()}, {"retry", absl::FormatDuration(delay)}});
}

Task<Status> Tagger::Run() {
  Backoff backoff(options_.backoff);
  while (true) {
    (void)co_await NextTag();
    co_await clock_.Sleep(options_.tick);
    TagName tag = co_await NextTag();
    std::vector<MoRef> objects;
    for (const MoRef& object : pending_[tag].due) {
      if (objects.size() < options_.batch) objects.push_back(object);
    }
    Status status;
    if (StatusOr<std::string> id = co_await tags_.Ensure(tag); id.ok()) {
      StatusOr<std::vector<MoRef>> refused = co_await tags_.Attach(*std::move(id), objects);
      status = refused.status();
      if (refused.ok()) Settle(tag, objects, *refused);
    } else {
      status = id.status();
    }
    if (status.ok()) {
      backoff.Reset();
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
