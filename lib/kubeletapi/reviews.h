// Questions to the API server: whose token is this, and may they?
#pragma once

#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "async/clock.h"
#include "async/task.h"
#include "async/wait.h"
#include "base/status.h"
#include "kube/client.h"
#include "kubeletapi/attributes.h"

namespace vck::kubeletapi {

class Reviews {
 public:
  virtual ~Reviews() = default;
  // nullopt: nobody's.
  virtual Task<StatusOr<std::optional<User>>> ReviewToken(std::string token) = 0;
  // May `user` do `verb` on nodes/`subresource` of this node?
  virtual Task<StatusOr<bool>> ReviewAccess(User user, std::string verb, std::string subresource) = 0;
};

// TokenReview and SubjectAccessReview.
class KubeReviews : public Reviews {
 public:
  KubeReviews(kube::Client& client, std::string node_name) : client_(client), node_name_(std::move(node_name)) {}
  Task<StatusOr<std::optional<User>>> ReviewToken(std::string token) override;
  Task<StatusOr<bool>> ReviewAccess(User user, std::string verb, std::string subresource) override;

 private:
  kube::Client& client_;
  std::string node_name_;
};

struct ReviewTtl {
  absl::Duration token = absl::Minutes(2);
  absl::Duration authorized = absl::Minutes(5);
  absl::Duration unauthorized = absl::Seconds(30);
};

// Remembers answers, not errors; asks once for all who ask the same at the same time. Tokens are kept as digests.
class CachedReviews : public Reviews {
 public:
  CachedReviews(Clock& clock, Reviews& source, ReviewTtl ttl) : clock_(clock), source_(source), ttl_(ttl) {}
  Task<StatusOr<std::optional<User>>> ReviewToken(std::string token) override;
  Task<StatusOr<bool>> ReviewAccess(User user, std::string verb, std::string subresource) override;

 private:
  template <class V>
  struct Entry {
    V value{};
    Instant expires{absl::InfiniteDuration() * -1};
    bool asking = false;
    Signal answered;
  };
  template <class V>
  using Cache = absl::flat_hash_map<std::string, std::shared_ptr<Entry<V>>>;
  // The entry of `key`, either fresh or `asking` on the caller's behalf.
  template <class V>
  Task<std::shared_ptr<Entry<V>>> Find(Cache<V>* cache, std::string key);
  template <class V>
  void MakeRoom(Cache<V>* cache);

  Clock& clock_;
  Reviews& source_;
  ReviewTtl ttl_;
  Cache<std::optional<User>> tokens_;
  Cache<bool> access_;
};

}  // namespace vck::kubeletapi
