#include "oci/authorizer.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/digest.h"

namespace vck::oci {
namespace {

constexpr size_t kMaxKnown = 1000;

std::string Param(const Challenge& challenge, const char* name) {
  auto it = challenge.params.find(name);
  return it == challenge.params.end() ? "" : it->second;
}

void AddParam(std::string* query, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  absl::StrAppend(query, query->empty() ? "" : "&", name, "=", http::PercentEncode(value));
}

}  // namespace

std::string BasicAuthorization(const Credential& credential) {
  return absl::StrCat("Basic ", absl::Base64Escape(absl::StrCat(credential.username, ":", credential.password)));
}

std::string StatusText(int status) {
  static const std::map<int, std::string_view> kNames = {{400, "Bad Request"},
                                                         {401, "Unauthorized"},
                                                         {403, "Forbidden"},
                                                         {404, "Not Found"},
                                                         {405, "Method Not Allowed"},
                                                         {406, "Not Acceptable"},
                                                         {408, "Request Timeout"},
                                                         {409, "Conflict"},
                                                         {410, "Gone"},
                                                         {413, "Content Too Large"},
                                                         {416, "Range Not Satisfiable"},
                                                         {429, "Too Many Requests"},
                                                         {451, "Unavailable For Legal Reasons"},
                                                         {500, "Internal Server Error"},
                                                         {501, "Not Implemented"},
                                                         {502, "Bad Gateway"},
                                                         {503, "Service Unavailable"},
                                                         {504, "Gateway Timeout"}};
  auto it = kNames.find(status);
  return it == kNames.end() ? absl::StrCat(status) : absl::StrCat(status, " ", it->second);
}

std::string Authorizer::Key(const Scope& scope) {
  const Credential& c = scope.credential;
  std::string secret = c.empty() ? "" : Sha256Hex(absl::StrCat(c.username, "\n", c.password, "\n", c.identity_token));
  return absl::StrCat(scope.origin.scheme, "://", scope.origin.HostPort(), "\n", scope.repository, "\n", secret);
}

std::string Authorizer::Known(const Scope& scope) const {
  auto it = known_.find(Key(scope));
  return it == known_.end() || it->second.until <= clock_.Now() ? "" : it->second.header;
}

void Authorizer::Forget(const Scope& scope) { known_.erase(Key(scope)); }

Task<StatusOr<std::string>> Authorizer::Answer(Scope scope, std::vector<Challenge> challenges) {
  Entry entry;
  Status problem = absl::PermissionDeniedError("the registry asks for no kind of authorization that is known");
  for (Challenge& challenge : challenges) {
    if (challenge.scheme == "bearer") {
      StatusOr<Token> token = co_await FetchToken(scope, std::move(challenge));
      if (!token.ok()) co_return token.status();
      // Somewhat earlier than it says: it is still to be sent.
      entry = {absl::StrCat("Bearer ", token->token), clock_.Now() + token->lifetime * 0.8};
      break;
    }
    if (challenge.scheme == "basic") {
      if (scope.credential.username.empty() && scope.credential.password.empty()) {
        problem = absl::PermissionDeniedError("no basic auth credentials");
        continue;
      }
      entry = {BasicAuthorization(scope.credential), Instant::Never()};
      break;
    }
  }
  if (entry.header.empty()) co_return problem;
  if (known_.size() >= kMaxKnown) {
    std::erase_if(known_, [now = clock_.Now()](const auto& known) { return known.second.until <= now; });
    if (known_.size() >= kMaxKnown) known_.clear();
  }
  known_[Key(scope)] = entry;
  co_return entry.header;
}

Task<StatusOr<Token>> Authorizer::FetchToken(Scope scope, Challenge challenge) {
  const Credential& credential = scope.credential;
  std::string_view what = credential.empty() ? "anonymous" : "oauth";
  std::string failure = absl::StrCat("failed to authorize: failed to fetch ", what, " token: ");
  auto url = http::ParseUrl(Param(challenge, "realm"));
  if (!url.ok()) {
    co_return absl::PermissionDeniedError(absl::StrCat(failure, "the realm: ", url.status().message()));
  }
  if (!credential.empty() && url->scheme == "http" && scope.origin.scheme == "https") {
    co_return absl::PermissionDeniedError(
        absl::StrCat(failure, "the token server is not reached by TLS, so it gets no credentials"));
  }
  std::string wanted = Param(challenge, "scope");
  if (wanted.empty()) wanted = absl::StrCat("repository:", scope.repository, ":pull");
  std::string form;
  AddParam(&form, "service", Param(challenge, "service"));
  AddParam(&form, "scope", wanted);
  std::string path = url->path.empty() ? "/" : url->path;
  http::Request request;
  if (!credential.identity_token.empty()) {
    AddParam(&form, "grant_type", "refresh_token");
    AddParam(&form, "client_id", "vch-kubelet");
    AddParam(&form, "refresh_token", credential.identity_token);
    request = {.method = "POST",
               .target = url->query.empty() ? path : absl::StrCat(path, "?", url->query),
               .headers = {{"Content-Type", "application/x-www-form-urlencoded"}},
               .body = std::move(form)};
  } else {
    request.target = absl::StrCat(path, "?", url->query, url->query.empty() ? "" : "&", form);
    if (!credential.empty()) request.headers.Add("Authorization", BasicAuthorization(credential));
  }
  request.headers.Add("Accept", "application/json");
  std::string where = absl::StrCat(url->scheme, "://", url->HostPort(), path);
  std::string method = request.method;
  StatusOr<http::Response> response = co_await send_(*url, scope.trust, std::move(request));
  if (!response.ok()) co_return Annotate(response.status(), failure.substr(0, failure.size() - 2));
  if (response->status / 100 != 2) {
    std::string text = absl::StrCat(failure, "unexpected status from ", method, " request to ", where, ": ",
                                    StatusText(response->status));
    if (response->status == 429) co_return absl::ResourceExhaustedError(text);
    co_return response->status >= 500 ? absl::UnavailableError(text) : absl::PermissionDeniedError(text);
  }
  StatusOr<Token> token = ParseToken(response->body);
  if (!token.ok()) co_return Annotate(token.status(), failure.substr(0, failure.size() - 2));
  co_return token;
}

}  // namespace vck::oci
