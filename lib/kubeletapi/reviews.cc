#include "kubeletapi/reviews.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "json/json.h"
#include "kube/resource.h"

namespace vck::kubeletapi {
namespace {

constexpr absl::Duration kReviewTimeout = absl::Seconds(10);
// Answers that are remembered, of each kind.
constexpr size_t kMaxEntries = 4096;

json::Array Strings(const std::vector<std::string>& list) {
  json::Array out;
  for (const std::string& text : list) out.emplace_back(text);
  return out;
}

json::Object Extra(const User& user) {
  json::Object out;
  for (const auto& [name, values] : user.extra) out[name] = Strings(values);
  return out;
}

// The object's status.
StatusOr<json::Document> Post(StatusOr<std::string> answer, const json::Value** status) {
  if (!answer.ok()) return answer.status();
  ASSIGN_OR_RETURN(auto document, json::Document::Parse(*answer));
  *status = json::Get(document.root(), "status");
  if (*status == nullptr) return absl::InternalError("a review without status");
  return document;
}

}  // namespace

Task<StatusOr<std::optional<User>>> KubeReviews::ReviewToken(std::string token) {
  json::Object body{
      {"apiVersion", "authentication.k8s.io/v1"}, {"kind", "TokenReview"}, {"spec", json::Object{{"token", token}}}};
  kube::WriteOptions options;
  options.timeout = kReviewTimeout;
  auto answer = co_await client_.Create({kube::kTokenReviews, "", ""}, json::Serialize(std::move(body)), options);
  const json::Value* status = nullptr;
  CO_ASSIGN_OR_RETURN(auto document, Post(std::move(answer), &status));
  if (!json::Bool(status, "authenticated")) co_return std::nullopt;
  const json::Value* from = json::Get(status, "user");
  User user;
  user.name = std::string(json::String(from, "username"));
  user.uid = std::string(json::String(from, "uid"));
  for (const json::Value& group : json::Items(from, "groups")) user.groups.emplace_back(json::AsString(group));
  for (const auto& member : json::Members(from, "extra")) {
    std::vector<std::string> values;
    if (member.value().is_array()) {
      for (const json::Value& value : member.value().get_array()) values.emplace_back(json::AsString(value));
    }
    user.extra.emplace_back(std::string(member.key()), std::move(values));
  }
  if (user.name.empty()) co_return std::nullopt;
  co_return user;
}

Task<StatusOr<bool>> KubeReviews::ReviewAccess(User user, std::string verb, std::string subresource) {
  json::Object spec{{"user", user.name},
                    {"groups", Strings(user.groups)},
                    {"resourceAttributes", json::Object{{"verb", verb},
                                                        {"version", "v1"},
                                                        {"resource", "nodes"},
                                                        {"subresource", subresource},
                                                        {"name", node_name_}}}};
  if (!user.uid.empty()) spec["uid"] = user.uid;
  if (!user.extra.empty()) spec["extra"] = Extra(user);
  json::Object body{
      {"apiVersion", "authorization.k8s.io/v1"}, {"kind", "SubjectAccessReview"}, {"spec", std::move(spec)}};
  kube::WriteOptions options;
  options.timeout = kReviewTimeout;
  auto answer =
      co_await client_.Create({kube::kSubjectAccessReviews, "", ""}, json::Serialize(std::move(body)), options);
  const json::Value* status = nullptr;
  CO_ASSIGN_OR_RETURN(auto document, Post(std::move(answer), &status));
  co_return json::Bool(status, "allowed") && !json::Bool(status, "denied");
}

// ---- the cache ----

template <class V>
void CachedReviews::MakeRoom(Cache<V>* cache) {
  if (cache->size() < kMaxEntries) return;
  const Instant now = clock_.Now();
  absl::erase_if(*cache, [&](const auto& item) { return !item.second->asking && item.second->expires <= now; });
  // All are fresh: some go all the same, whichever come first.
  for (auto it = cache->begin(); it != cache->end() && cache->size() >= kMaxEntries;) {
    if (it->second->asking) {
      ++it;
    } else {
      cache->erase(it++);
    }
  }
}

template <class V>
Task<std::shared_ptr<CachedReviews::Entry<V>>> CachedReviews::Find(Cache<V>* cache, std::string key) {
  while (true) {
    auto found = cache->find(key);
    if (found == cache->end()) {
      MakeRoom(cache);
      found = cache->emplace(key, std::make_shared<Entry<V>>()).first;
    }
    std::shared_ptr<Entry<V>> entry = found->second;
    if (!entry->asking) {
      entry->asking = entry->expires <= clock_.Now();
      co_return entry;
    }
    co_await entry->answered.Wait();
  }
}

namespace {

// Whoever waits asks again by itself if this one got no answer.
template <class E>
struct Asking {
  std::shared_ptr<E> entry;
  ~Asking() {
    entry->asking = false;
    entry->answered.NotifyAll();
  }
};

}  // namespace

Task<StatusOr<std::optional<User>>> CachedReviews::ReviewToken(std::string token) {
  auto entry = co_await Find(&tokens_, Sha256Hex(token));
  if (!entry->asking) co_return entry->value;
  Asking<Entry<std::optional<User>>> asking{entry};
  CO_ASSIGN_OR_RETURN(entry->value, co_await source_.ReviewToken(std::move(token)));
  entry->expires = clock_.Now() + ttl_.token;
  co_return entry->value;
}

Task<StatusOr<bool>> CachedReviews::ReviewAccess(User user, std::string verb, std::string subresource) {
  json::Array key{user.name, user.uid, Strings(user.groups), Extra(user), verb, subresource};
  auto entry = co_await Find(&access_, Sha256Hex(json::Serialize(std::move(key))));
  if (!entry->asking) co_return entry->value;
  Asking<Entry<bool>> asking{entry};
  CO_ASSIGN_OR_RETURN(entry->value,
                      co_await source_.ReviewAccess(std::move(user), std::move(verb), std::move(subresource)));
  entry->expires = clock_.Now() + (entry->value ? ttl_.authorized : ttl_.unauthorized);
  co_return entry->value;
}

}  // namespace vck::kubeletapi
