// Calls to a Kubernetes API server: JSON bodies as text, errors as in errors.h.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/thread_pool.hpp>

#include "async/backoff.h"
#include "async/clock.h"
#include "async/limiter.h"
#include "async/task.h"
#include "http/client.h"
#include "kube/credentials.h"
#include "kube/errors.h"
#include "kube/kubeconfig.h"
#include "kube/object.h"
#include "kube/resource.h"

namespace vck::kube {

struct ClientOptions {
  // Client-side token bucket over all calls but watches; qps <= 0: none. Fits a node with thousands of pods.
  double qps = 200;
  double burst = 400;
  bool http2 = true;                           // offered; false: HTTP/1.1 only, a connection for each watch
  std::string user_agent;                      // "": vch-kubelet/<version>
  absl::Duration timeout = absl::Seconds(30);  // of a call that names none
  // 429 and 5xx with Retry-After: repeated after that long (plus up to a fifth, so that callers spread out), while the
  // call's time lasts.
  int max_retries = 10;
  absl::Duration max_retry_after = absl::Seconds(60);
  size_t max_body_bytes = 64 * 1024 * 1024;
};

// Every call's `timeout`: the whole call with its waits and repeats; zero: ClientOptions::timeout.
struct GetOptions {
  std::string resource_version;  // "": the newest
  absl::Duration timeout;
};
struct ListOptions {
  std::string field_selector, label_selector;
  int limit = 0;               // page size; 0: all at once
  std::string continue_token;  // ListPage only
  std::string resource_version;
  std::string resource_version_match;  // Exact, NotOlderThan
  absl::Duration timeout;
};
struct WatchOptions {
  std::string field_selector, label_selector;
  std::string resource_version;  // events after this one
  bool bookmarks = true;
  bool send_initial_events = false;                  // streaming list; sets resourceVersionMatch=NotOlderThan
  absl::Duration server_timeout = absl::Minutes(5);  // timeoutSeconds
  absl::Duration timeout;                            // until the response begins
};
struct WriteOptions {
  std::string subresource;    // "status", "binding", "token" ...
  std::string field_manager;  // must be set for kApply
  bool dry_run = false;
  absl::Duration timeout;
};
enum class PatchType { kMerge, kStrategic, kApply, kJson };
struct PatchOptions : WriteOptions {
  bool force = false;  // kApply: take over fields of other managers
};
struct DeleteOptions {
  std::string uid, resource_version;  // preconditions; Aborted (409) when they do not hold
  std::optional<int64_t> grace_period_seconds;
  std::string propagation;  // Background, Foreground, Orphan
  absl::Duration timeout;
};

// All answers are the JSON text of the body. An error has a code and payload as in errors.h, or is one of
// http::Client's. A 401 refreshes the credentials and repeats the call once. Safe to share; must outlive the calls.
class Client {
 public:
  // `http` has the origin of config.server; it is shared by everything that talks to this server with this identity.
  Client(Clock& clock, std::shared_ptr<http::Client> http, std::shared_ptr<CredentialSource> credentials,
         RestConfig config, ClientOptions options = {});
  // Makes the http::Client and the credentials, too. InvalidArgument for certificates that OpenSSL refuses.
  static StatusOr<std::unique_ptr<Client>> Create(Executor executor, Clock& clock, asio::thread_pool& pool,
                                                  RestConfig config, ClientOptions options = {});

  Task<StatusOr<std::string>> Get(ObjectRef ref, GetOptions options = {});
  // A page (limit, continue_token). OutOfRange when the token has expired.
  Task<StatusOr<ObjectList>> ListPage(ObjectRef collection, ListOptions options = {});
  // All pages. When a continue token expires, starts over once, with the whole list in one answer.
  Task<StatusOr<ObjectList>> List(ObjectRef collection, ListOptions options = {});
  // The name of `ref` may be empty: the body (or its generateName) has it.
  Task<StatusOr<std::string>> Create(ObjectRef ref, std::string body, WriteOptions options = {});
  Task<StatusOr<std::string>> Update(ObjectRef ref, std::string body, WriteOptions options = {});
  // kApply takes JSON (which is YAML).
  Task<StatusOr<std::string>> Patch(ObjectRef ref, PatchType type, std::string body, PatchOptions options = {});
  Task<StatusOr<std::string>> Delete(ObjectRef ref, DeleteOptions options = {});
  // Opens a watch. The body is for a WatchStream; errors of 400 and above are returned here. Not rate-limited.
  Task<StatusOr<std::unique_ptr<http::BodyReader>>> Watch(ObjectRef collection, WatchOptions options = {});
  // Any request; `target` is below the server's path prefix. 400 and above are errors. `verb` and `resource` are for
  // the counters. timeout zero: ClientOptions::timeout.
  Task<StatusOr<http::Response>> Raw(http::Request request, std::string verb, std::string resource,
                                     absl::Duration timeout = absl::ZeroDuration());

  // Requests sent (repeats included) by verb (get, list, watch, create, update, patch, delete) and resource
  // ("pods", "pods/status").
  using CallCounts = std::map<std::pair<std::string, std::string>, int64_t>;
  [[nodiscard]] const CallCounts& calls() const { return calls_; }
  // Requests by HTTP status; 0 is for those that got none.
  [[nodiscard]] const std::map<int, int64_t>& results() const { return results_; }
  [[nodiscard]] absl::Duration rate_limited() const { return rate_limited_; }  // total wait for the token bucket
  void RefreshCredentials() { credentials_->Refresh(); }  // files have changed: the next call looks at them
  [[nodiscard]] Clock& clock() { return clock_; }
  [[nodiscard]] http::Client& http() { return *http_; }
  // Closes the connections; await it before the loop ends.
  Task<> Close();

 private:
  struct Call {
    std::string method, target, body, content_type, verb, resource;
    absl::Duration timeout = absl::ZeroDuration();
  };
  Task<StatusOr<http::Response>> Do(Call call);
  Task<StatusOr<std::string>> DoBody(Call call);
  // Sets the certificate if it changed, and makes the request.
  Task<StatusOr<http::Request>> Prepare(const Call& call, std::shared_ptr<const Credentials>* used);
  // How long to wait before a repeat, or nullopt if the response is final.
  std::optional<absl::Duration> RetryDelay(int status, const http::Headers& headers, int attempt, Instant deadline);
  void Count(const Call& call, int status);

  Clock& clock_;
  std::shared_ptr<http::Client> http_;
  std::shared_ptr<CredentialSource> credentials_;
  std::string prefix_;
  http::TlsOptions tls_;
  ClientOptions options_;
  RateLimiter limiter_;
  int64_t certificate_generation_ = 0;
  uint64_t random_;
  CallCounts calls_;
  std::map<int, int64_t> results_;
  absl::Duration rate_limited_;
};

}  // namespace vck::kube
