// An API server for what specs are made from: ConfigMaps, Secrets, Services and tokens, on fake time.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"
#include "json/json.h"
#include "kube/support.h"

namespace vck::node {

class FakeApi {
 public:
  testing::FakeReply operator()(const http::Request& request) {
    std::string_view target = request.target;
    absl::ConsumePrefix(&target, "/prefix/api/v1/");
    if (request.method == "POST") return Token(request, target);
    const std::string_view path = target.substr(0, target.find('?'));
    std::string key(path);
    if (const size_t at = target.find("metadata.name%3D"); at != std::string_view::npos) {
      std::string_view name = target.substr(at + 16);
      absl::StrAppend(&key, "/", name.substr(0, name.find('&')));
    }
    if (auto it = refused.find(key); it != refused.end()) {
      return {.status = 403, .body = kube::StatusObject(403, "Forbidden", it->second)};
    }
    Watched& watched = watches[key];
    watched.pipe = std::make_shared<testing::FakePipe>();
    testing::FakeReply reply;
    for (const auto& [name, object] : objects) {
      if (name == key || name.starts_with(key + "/")) reply.body += kube::Event("ADDED", object);
    }
    reply.body += kube::Bookmark(++version, true);
    reply.pipe = watched.pipe;
    return reply;
  }

  // `key`: "namespaces/ns/configmaps/name", or "services/ns/name" for what is watched in all namespaces.
  void Put(const std::string& key, const std::string& ns, const std::string& name, const std::string& fields) {
    const bool there = objects.contains(key);
    objects[key] = absl::StrCat(R"({"metadata":{"name":")", name, R"(","namespace":")", ns, R"(","uid":"u-)", name,
                                R"(","resourceVersion":")", ++version, "\"}", fields.empty() ? "" : ",", fields, "}");
    Send(key, there ? "MODIFIED" : "ADDED");
  }
  void Remove(const std::string& key) {
    Send(key, "DELETED");
    objects.erase(key);
  }
  void ConfigMap(const std::string& name, const std::string& data, const std::string& more = "") {
    Put("namespaces/n/configmaps/" + name, "n", name, absl::StrCat("\"data\":", data, more));
  }
  void Secret(const std::string& name, const std::string& fields) {
    Put("namespaces/n/secrets/" + name, "n", name, fields);
  }
  void Service(const std::string& ns, const std::string& name, const std::string& ip) {
    Put(absl::StrCat("services/", ns, "/", name), ns, name,
        absl::StrCat(R"("spec":{"clusterIP":")", ip, R"(","ports":[{"port":80}]})"));
  }
  [[nodiscard]] bool Watching(const std::string& key) const {
    auto it = watches.find(key);
    return it != watches.end() && !it->second.pipe->abandoned();
  }

  struct Watched {
    std::shared_ptr<testing::FakePipe> pipe;
  };
  std::map<std::string, std::string> objects, refused;
  std::map<std::string, Watched> watches;
  int version = 100;
  // Token requests.
  std::vector<std::string> token_bodies;
  int token_status = 201;
  int64_t token_life = 0;  // that is granted; 0: as asked for

 private:
  void Send(const std::string& key, const std::string& type) {
    for (const auto& [watch, watched] : watches) {
      if (key == watch || key.starts_with(watch + "/")) watched.pipe->Push(kube::Event(type, objects.at(key)));
    }
  }
  testing::FakeReply Token(const http::Request& request, std::string_view target) {
    EXPECT_EQ(target, "namespaces/n/serviceaccounts/sa/token");
    token_bodies.push_back(request.body);
    if (token_status != 201) {
      return {.status = token_status,
              .body = kube::StatusObject(token_status, token_status == 403 ? "Forbidden" : "NotFound", "not you")};
    }
    auto asked = json::Parse(request.body);
    int64_t life = token_life > 0 ? token_life : json::Int(json::Get(*asked, "spec"), "expirationSeconds");
    return {.status = 201,
            .body = absl::StrCat(R"({"kind":"TokenRequest","spec":{"expirationSeconds":)", life,
                                 R"(},"status":{"token":"t)", token_bodies.size(),
                                 R"(","expirationTimestamp":"2026-01-01T01:00:00Z"}})")};
  }
};

}  // namespace vck::node
