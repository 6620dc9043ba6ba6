#include "kube/client.h"

#include <algorithm>

#include "async/timeout.h"
#include "base/log.h"
#include "http/retry_after.h"
#include "json/json.h"

namespace vck::kube {
namespace {

// Appends to a target that may have a query already.
void AddQuery(std::string* target, std::string_view key, std::string_view value) {
  if (value.empty()) return;
  absl::StrAppend(target, target->find('?') == std::string::npos ? "?" : "&", key, "=", http::PercentEncode(value));
}

std::string ResourceName(const ObjectRef& ref, std::string_view subresource = "") {
  return subresource.empty() ? std::string(ref.resource.plural) : absl::StrCat(ref.resource.plural, "/", subresource);
}

void AddWriteOptions(std::string* target, const WriteOptions& options) {
  AddQuery(target, "fieldManager", options.field_manager);
  if (options.dry_run) AddQuery(target, "dryRun", "All");
}

std::string_view ContentType(PatchType type) {
  switch (type) {
    case PatchType::kMerge:
      return "application/merge-patch+json";
    case PatchType::kStrategic:
      return "application/strategic-merge-patch+json";
    case PatchType::kApply:
      return "application/apply-patch+yaml";
    case PatchType::kJson:
      break;
  }
  return "application/json-patch+json";
}

std::string DeleteBody(const DeleteOptions& options) {
  json::Object body;
  body["kind"] = "DeleteOptions";
  body["apiVersion"] = "v1";
  if (options.grace_period_seconds) body["gracePeriodSeconds"] = *options.grace_period_seconds;
  if (!options.propagation.empty()) body["propagationPolicy"] = options.propagation;
  json::Object preconditions;
  if (!options.uid.empty()) preconditions["uid"] = options.uid;
  if (!options.resource_version.empty()) preconditions["resourceVersion"] = options.resource_version;
  if (!preconditions.empty()) body["preconditions"] = std::move(preconditions);
  return json::Serialize(json::Value(std::move(body)));
}

// "get pods/status /api/v1/…", for messages; without the query.
std::string What(std::string_view verb, std::string_view resource, std::string_view target) {
  return absl::StrCat(verb, " ", resource, " ", target.substr(0, target.find('?')));
}

}  // namespace

Client::Client(Clock& clock, std::shared_ptr<http::Client> http, std::shared_ptr<CredentialSource> credentials,
               RestConfig config, ClientOptions options)
    : clock_(clock),
      http_(std::move(http)),
      credentials_(std::move(credentials)),
      prefix_(std::move(config.server.path)),
      tls_(std::move(config.tls)),
      options_(std::move(options)),
      limiter_(clock, options_.qps, options_.burst),
      random_(RandomSeed()) {
  if (options_.user_agent.empty()) options_.user_agent = "vch-kubelet/" VCK_VERSION;
}

StatusOr<std::unique_ptr<Client>> Client::Create(Executor executor, Clock& clock, asio::thread_pool& pool,
                                                 RestConfig config, ClientOptions options) {
  http::ClientOptions http_options{.origin = config.server};
  if (config.server.scheme == "https") {
    ASSIGN_OR_RETURN(http_options.tls, http::TlsContext::Client(config.tls));
  }
  http_options.dial.proxy_url = config.proxy_url;
  http_options.http2 = options.http2;
  auto http = http::Client::Create(executor, clock, std::move(http_options));
  auto credentials = CredentialSource::Create(clock, pool, config);
  return std::make_unique<Client>(clock, std::move(http), std::move(credentials), std::move(config),
                                  std::move(options));
}

Task<> Client::Close() { co_await http_->Close(); }

void Client::Count(const Call& call, int status) {
  ++calls_[{call.verb, call.resource}];
  ++results_[status];
}

Task<StatusOr<http::Request>> Client::Prepare(const Call& call, std::shared_ptr<const Credentials>* used) {
  CO_ASSIGN_OR_RETURN(*used, co_await credentials_->Get());
  const Credentials& credentials = **used;
  if (credentials.certificate_generation != certificate_generation_) {
    certificate_generation_ = credentials.certificate_generation;
    http::TlsOptions tls = tls_;
    tls.client_cert_pem = credentials.client_cert_pem;
    tls.client_key_pem = credentials.client_key_pem;
    auto context = http::TlsContext::Client(std::move(tls));
    if (context.ok()) {
      http_->SetTls(*std::move(context));
    } else {
      // For example caught between the writes of certificate and key; the next look at the files mends it.
      Log(Severity::kWarning, "A renewed client certificate cannot be used", {{"err", context.status()}});
    }
  }
  http::Request request;
  request.method = call.method;
  request.target = prefix_ + call.target;
  request.headers = credentials.headers;
  request.headers.Add("Accept", "application/json");
  request.headers.Add("User-Agent", options_.user_agent);
  if (!call.body.empty()) request.headers.Add("Content-Type", call.content_type);
  request.body = call.body;
  co_return request;
}

std::optional<absl::Duration> Client::RetryDelay(int status, const http::Headers& headers, int attempt,
                                                 Instant deadline) {
  if ((status != 429 && status < 500) || attempt >= options_.max_retries) return std::nullopt;
  auto asked = http::RetryAfter(headers, clock_.WallNow());
  if (!asked || *asked > options_.max_retry_after) return std::nullopt;
  absl::Duration delay = *asked;
  delay += std::max(delay, absl::Milliseconds(100)) * 0.2 * NextRandom(random_);
  if (clock_.Now() + delay >= deadline) return std::nullopt;
  return delay;
}

Task<StatusOr<http::Response>> Client::Do(Call call) {
  absl::Duration limit = call.timeout > absl::ZeroDuration() ? call.timeout : options_.timeout;
  Instant deadline = clock_.Now() + limit;
  bool refreshed = false;
  for (int attempt = 0;; ++attempt) {
    absl::Duration wait = limiter_.Reserve();
    if (wait > absl::ZeroDuration()) {
      rate_limited_ += wait;
      if (clock_.Now() + wait >= deadline) {
        co_return absl::DeadlineExceededError(absl::StrCat(What(call.verb, call.resource, call.target),
                                                           ": the client-side rate limit (", options_.qps,
                                                           "/s) leaves no time within ", absl::FormatDuration(limit)));
      }
      co_await clock_.Sleep(wait);
    }
    std::shared_ptr<const Credentials> used;
    auto request = co_await Prepare(call, &used);
    if (!request.ok()) co_return Annotate(request.status(), What(call.verb, call.resource, call.target));
    absl::Duration left = deadline - clock_.Now();
    if (left <= absl::ZeroDuration()) {
      co_return absl::DeadlineExceededError(
          absl::StrCat(What(call.verb, call.resource, call.target), ": not sent within ", absl::FormatDuration(limit)));
    }
    http::CallOptions http_options{.timeout = left, .max_body_bytes = options_.max_body_bytes};
    auto response = co_await http_->Do(*std::move(request), http_options);
    Count(call, response.ok() ? response->status : 0);
    if (!response.ok()) co_return Annotate(response.status(), What(call.verb, call.resource, call.target));
    if (response->status < 400) co_return *std::move(response);
    if (response->status == 401 && !refreshed) {
      refreshed = true;
      credentials_->Invalidate(used);
      continue;
    }
    if (auto delay = RetryDelay(response->status, response->headers, attempt, deadline)) {
      co_await clock_.Sleep(*delay);
      continue;
    }
    co_return ErrorFromResponse(response->status, response->body, http::RetryAfter(response->headers, clock_.WallNow()),
                                What(call.verb, call.resource, call.target));
  }
}

Task<StatusOr<std::string>> Client::DoBody(Call call) {
  auto response = co_await Do(std::move(call));
  if (!response.ok()) co_return response.status();
  co_return std::move(response->body);
}

Task<StatusOr<std::string>> Client::Get(ObjectRef ref, GetOptions options) {
  Call call{.method = "GET", .target = ResourcePath(ref), .verb = "get", .resource = ResourceName(ref)};
  AddQuery(&call.target, "resourceVersion", options.resource_version);
  call.timeout = options.timeout;
  return DoBody(std::move(call));
}

Task<StatusOr<ObjectList>> Client::ListPage(ObjectRef collection, ListOptions options) {
  Call call{.method = "GET", .target = ResourcePath(collection), .verb = "list", .resource = ResourceName(collection)};
  AddQuery(&call.target, "fieldSelector", options.field_selector);
  AddQuery(&call.target, "labelSelector", options.label_selector);
  if (options.limit > 0) AddQuery(&call.target, "limit", absl::StrCat(options.limit));
  AddQuery(&call.target, "continue", options.continue_token);
  AddQuery(&call.target, "resourceVersion", options.resource_version);
  AddQuery(&call.target, "resourceVersionMatch", options.resource_version_match);
  call.timeout = options.timeout;
  std::string what = What(call.verb, call.resource, call.target);
  auto body = co_await DoBody(std::move(call));
  if (!body.ok()) co_return body.status();
  auto list = ParseList(*body);
  if (!list.ok()) co_return Annotate(list.status(), what);
  co_return *std::move(list);
}

Task<StatusOr<ObjectList>> Client::List(ObjectRef collection, ListOptions options) {
  ObjectList all;
  bool whole = false;
  while (true) {
    auto page = co_await ListPage(collection, options);
    if (absl::IsOutOfRange(page.status()) && !options.continue_token.empty() && !whole) {
      // The pages behind the token are gone. A list without a limit cannot expire.
      whole = true;
      all = {};
      options.limit = 0;
      options.continue_token.clear();
      continue;
    }
    if (!page.ok()) co_return page.status();
    all.resource_version = std::move(page->resource_version);
    if (all.items.empty()) {
      all.items = std::move(page->items);
    } else {
      all.items.insert(all.items.end(), std::make_move_iterator(page->items.begin()),
                       std::make_move_iterator(page->items.end()));
    }
    if (page->continue_token.empty()) co_return all;
    options.continue_token = std::move(page->continue_token);
    // The server takes them from the token, and refuses both.
    options.resource_version.clear();
    options.resource_version_match.clear();
  }
}

Task<StatusOr<std::string>> Client::Create(ObjectRef ref, std::string body, WriteOptions options) {
  // Only subresources (binding, token) are created under a name.
  if (options.subresource.empty()) ref.name.clear();
  Call call{.method = "POST",
            .target = ResourcePath(ref, options.subresource),
            .body = std::move(body),
            .content_type = "application/json",
            .verb = "create",
            .resource = ResourceName(ref, options.subresource)};
  AddWriteOptions(&call.target, options);
  call.timeout = options.timeout;
  return DoBody(std::move(call));
}

Task<StatusOr<std::string>> Client::Update(ObjectRef ref, std::string body, WriteOptions options) {
  Call call{.method = "PUT",
            .target = ResourcePath(ref, options.subresource),
            .body = std::move(body),
            .content_type = "application/json",
            .verb = "update",
            .resource = ResourceName(ref, options.subresource)};
  AddWriteOptions(&call.target, options);
  call.timeout = options.timeout;
  return DoBody(std::move(call));
}

Task<StatusOr<std::string>> Client::Patch(ObjectRef ref, PatchType type, std::string body, PatchOptions options) {
  Call call{.method = "PATCH",
            .target = ResourcePath(ref, options.subresource),
            .body = std::move(body),
            .content_type = std::string(ContentType(type)),
            .verb = "patch",
            .resource = ResourceName(ref, options.subresource)};
  AddWriteOptions(&call.target, options);
  if (type == PatchType::kApply && options.force) AddQuery(&call.target, "force", "true");
  call.timeout = options.timeout;
  return DoBody(std::move(call));
}

Task<StatusOr<std::string>> Client::Delete(ObjectRef ref, DeleteOptions options) {
  Call call{.method = "DELETE",
            .target = ResourcePath(ref),
            .body = DeleteBody(options),
            .content_type = "application/json",
            .verb = "delete",
            .resource = ResourceName(ref)};
  call.timeout = options.timeout;
  return DoBody(std::move(call));
}

Task<StatusOr<std::unique_ptr<http::BodyReader>>> Client::Watch(ObjectRef collection, WatchOptions options) {
  Call call{.method = "GET", .target = ResourcePath(collection), .verb = "watch", .resource = ResourceName(collection)};
  AddQuery(&call.target, "watch", "true");
  AddQuery(&call.target, "fieldSelector", options.field_selector);
  AddQuery(&call.target, "labelSelector", options.label_selector);
  AddQuery(&call.target, "resourceVersion", options.resource_version);
  if (options.bookmarks || options.send_initial_events) AddQuery(&call.target, "allowWatchBookmarks", "true");
  if (options.send_initial_events) {
    AddQuery(&call.target, "sendInitialEvents", "true");
    AddQuery(&call.target, "resourceVersionMatch", "NotOlderThan");
  }
  AddQuery(&call.target, "timeoutSeconds", absl::StrCat(absl::ToInt64Seconds(options.server_timeout)));
  std::string what = What(call.verb, call.resource, call.target);
  absl::Duration limit = options.timeout > absl::ZeroDuration() ? options.timeout : options_.timeout;
  Instant deadline = clock_.Now() + limit;
  for (bool refreshed = false;; refreshed = true) {
    std::shared_ptr<const Credentials> used;
    auto request = co_await Prepare(call, &used);
    if (!request.ok()) co_return Annotate(request.status(), what);
    auto response = co_await http_->Open(*std::move(request), {.timeout = deadline - clock_.Now()});
    Count(call, response.ok() ? response->status : 0);
    if (!response.ok()) co_return Annotate(response.status(), what);
    if (response->status < 300) co_return std::move(response->body);
    if (response->status == 401 && !refreshed) {
      credentials_->Invalidate(used);
      continue;
    }
    // A Status object: small, and there at once.
    std::string body;
    while (body.size() < 64 * 1024) {
      auto piece = co_await WithDeadline(clock_, deadline, what, response->body->Read());
      if (!piece.ok() || piece->empty()) break;
      body += *piece;
    }
    co_return ErrorFromResponse(response->status, body, http::RetryAfter(response->headers, clock_.WallNow()), what);
  }
}

Task<StatusOr<http::Response>> Client::Raw(http::Request request, std::string verb, std::string resource,
                                           absl::Duration timeout) {
  Call call{.method = std::move(request.method),
            .target = std::move(request.target),
            .body = std::move(request.body),
            .content_type = std::string(request.headers.Get("Content-Type").value_or("application/json")),
            .verb = std::move(verb),
            .resource = std::move(resource),
            .timeout = timeout};
  return Do(std::move(call));
}

}  // namespace vck::kube
