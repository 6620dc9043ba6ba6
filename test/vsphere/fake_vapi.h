// The REST side of a vCenter at the wire: sessions, categories, tags and what carries them, over /api, over /rest, or
// both. Strict about prefix, session id, and the form of parameters, which differ between the two.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "json/json.h"
#include "support/fake_http.h"

namespace vck::vsphere {

class FakeVapi {
 public:
  explicit FakeVapi(Clock& clock)
      : http(std::make_shared<vck::testing::FakeHttp>(clock, [this](const http::Request& r) { return Answer(r); })) {}

  // "POST /api/session"; how often.
  [[nodiscard]] int Count(std::string_view what) const {
    return static_cast<int>(std::ranges::count_if(calls, [&](const std::string& c) { return c.starts_with(what); }));
  }
  void EndSessions() { sessions.clear(); }

  std::shared_ptr<vck::testing::FakeHttp> http;
  bool api = true, rest = true;  // what it speaks
  int unknown_api_status = 404;  // where /api is not spoken
  std::string password = "secret";
  int session_status = 0;  // instead of a session
  std::vector<std::string> calls;
  std::set<std::string> sessions;
  std::map<std::string, std::string> categories;                    // id -> name
  std::map<std::string, std::pair<std::string, std::string>> tags;  // id -> category's id, name
  std::set<std::pair<std::string, std::string>> attached;           // tag's id, object's id
  std::set<std::string> refused;                                    // objects that take no tag
  int attempts = 0;                                                 // to attach

 private:
  using Reply = vck::testing::FakeReply;

  Reply Ok(json::Value value) const {
    if (!speaks_api_) value = json::Object{{"value", std::move(value)}};
    return {.status = 200, .body = json::Serialize(value)};
  }
  Reply Error(int status, std::string_view api_type, std::string_view rest_type) const {
    json::Object body;
    if (speaks_api_) {
      body["error_type"] = api_type;
    } else {
      body["type"] = absl::StrCat("com.vmware.vapi.std.errors.", rest_type);
    }
    return {.status = status, .body = json::Serialize(body)};
  }
  Reply BadRequest() const { return Error(400, "INVALID_ARGUMENT", "invalid_argument"); }

  Reply Answer(const http::Request& request) {
    std::string_view path = request.target;
    calls.push_back(absl::StrCat(request.method, " ", path));
    if (absl::ConsumePrefix(&path, "/api")) {
      if (!api) return {.status = unknown_api_status};
      speaks_api_ = true;
    } else if (absl::ConsumePrefix(&path, "/rest/com/vmware")) {
      if (!rest) return {.status = 404};
      speaks_api_ = false;
    } else {
      return {.status = 404};
    }
    if (path == (speaks_api_ ? "/session" : "/cis/session")) return Session(request);
    if (!sessions.contains(std::string(request.headers.Get("vmware-api-session-id").value_or("")))) {
      return Error(401, "UNAUTHENTICATED", "unauthenticated");
    }
    std::string_view action = speaks_api_ ? "?action=" : "?~action=";
    std::string verb;
    if (size_t at = path.find('?'); at != std::string_view::npos) {
      if (!path.substr(at).starts_with(action)) return BadRequest();
      verb = path.substr(at + action.size());
      path = path.substr(0, at);
    }
    auto body = json::Parse(request.body.empty() ? "{}" : request.body);
    if (!body.ok()) return BadRequest();
    if (absl::ConsumePrefix(&path, "/cis/tagging/category")) return Category(request.method, path, *body);
    if (absl::ConsumePrefix(&path, "/cis/tagging/tag-association")) return Association(path, verb, *body);
    if (absl::ConsumePrefix(&path, "/cis/tagging/tag")) return Tag(request.method, path, verb, *body);
    return {.status = 404};
  }

  Reply Session(const http::Request& request) {
    if (request.method == "DELETE") {
      sessions.erase(std::string(request.headers.Get("vmware-api-session-id").value_or("")));
      return {.status = 204};
    }
    std::string expected = absl::StrCat("Basic ", absl::Base64Escape(absl::StrCat("u:", password)));
    if (session_status != 0) return {.status = session_status};
    if (request.headers.Get("Authorization").value_or("") != expected) {
      return Error(401, "UNAUTHENTICATED", "unauthenticated");
    }
    std::string id = absl::StrCat("token-", ++made_);
    sessions.insert(id);
    return Ok(json::Value(id));
  }

  // "/id", in /rest "/id:<id>"; empty if it is written otherwise.
  [[nodiscard]] std::string IdIn(std::string_view path) const {
    if (!absl::ConsumePrefix(&path, "/")) return "";
    if (!speaks_api_ && !absl::ConsumePrefix(&path, "id:")) return "";
    return absl::StrContains(path, ':') ? "" : std::string(path);
  }
  // The parameter of a create call.
  [[nodiscard]] const json::Value* Spec(const json::Value& body) const {
    return speaks_api_ ? &body : json::Get(body, "create_spec");
  }

  Reply Category(std::string_view method, std::string_view path, const json::Value& body) {
    if (method == "POST") {
      std::string name(json::String(Spec(body), "name"));
      if (name.empty()) return BadRequest();
      for (const auto& [id, known] : categories) {
        if (known == name) return Error(400, "ALREADY_EXISTS", "already_exists");
      }
      std::string id = absl::StrCat("category-", ++made_);
      categories[id] = name;
      return Ok(json::Value(id));
    }
    if (path.empty()) {
      json::Array ids;
      for (const auto& [id, name] : categories) ids.emplace_back(id);
      return Ok(ids);
    }
    auto it = categories.find(IdIn(path));
    if (it == categories.end()) return Error(404, "NOT_FOUND", "not_found");
    return Ok(json::Object{{"id", it->first}, {"name", it->second}});
  }

  Reply Tag(std::string_view method, std::string_view path, std::string_view verb, const json::Value& body) {
    if (verb == "list-tags-for-category") {
      std::string category = speaks_api_ ? std::string(json::String(body, "category_id")) : IdIn(path);
      if (!categories.contains(category)) return Error(404, "NOT_FOUND", "not_found");
      json::Array ids;
      for (const auto& [id, tag] : tags) {
        if (tag.first == category) ids.emplace_back(id);
      }
      return Ok(ids);
    }
    if (method == "POST") {
      const json::Value* spec = Spec(body);
      std::string id = absl::StrCat("tag-", ++made_);
      tags[id] = {std::string(json::String(spec, "category_id")), std::string(json::String(spec, "name"))};
      return tags[id].second.empty() ? BadRequest() : Ok(json::Value(id));
    }
    auto it = tags.find(IdIn(path));
    if (it == tags.end()) return Error(404, "NOT_FOUND", "not_found");
    return Ok(json::Object{{"id", it->first}, {"category_id", it->second.first}, {"name", it->second.second}});
  }

  Reply Association(std::string_view path, std::string_view verb, const json::Value& body) {
    if (verb == "list-attached-tags-on-objects") {
      json::Array out;
      for (const json::Value& object : json::Items(body, "object_ids")) {
        json::Array ids;
        for (const auto& [tag, id] : attached) {
          if (id == json::String(object, "id")) ids.emplace_back(tag);
        }
        if (!ids.empty()) out.push_back(json::Object{{"object_id", object}, {"tag_ids", std::move(ids)}});
      }
      return Ok(out);
    }
    if (verb != "attach-tag-to-multiple-objects") return BadRequest();
    std::string tag = IdIn(path);
    if (!tags.contains(tag)) return Error(404, "NOT_FOUND", "not_found");
    ++attempts;
    json::Array errors;
    for (const json::Value& object : json::Items(body, "object_ids")) {
      std::string id(json::String(object, "id"));
      if (refused.contains(id)) {
        errors.push_back(json::Object{{"id", "cis.tagging.objectNotFound.error"}, {"default_message", "no"}});
      } else {
        attached.emplace(tag, id);
      }
    }
    bool success = errors.empty();
    return Ok(json::Object{{"success", success}, {"error_messages", std::move(errors)}});
  }

  bool speaks_api_ = true;  // of the request that is answered
  int made_ = 0;
};

}  // namespace vck::vsphere
