#include "vsphere/rest.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace vck::vsphere {
namespace {

constexpr std::string_view kTokenField = "vmware-api-session-id";

Status ToStatus(const http::Response& response, std::string_view what) {
  if (response.status < 300) return absl::OkStatus();
  // /rest: {"type": "com.vmware.vapi.std.errors.already_exists"}, /api: {"error_type": "ALREADY_EXISTS"}.
  std::string type;
  if (auto parsed = json::Parse(response.body); parsed.ok()) {
    type = json::String(*parsed, "error_type", json::String(*parsed, "type"));
  }
  std::string text = absl::StrCat(what, ": HTTP status ", response.status, type.empty() ? "" : " ", type);
  if (type.ends_with("already_exists") || type == "ALREADY_EXISTS") return absl::AlreadyExistsError(text);
  switch (response.status) {
    case 401:
      return absl::UnauthenticatedError(text);
    case 403:
      return absl::PermissionDeniedError(text);
    case 404:
      return absl::NotFoundError(text);
    case 400:
      return absl::InvalidArgumentError(text);
    default:
      return response.status >= 500 ? absl::UnavailableError(text) : absl::FailedPreconditionError(text);
  }
}

}  // namespace

RestSession::RestSession(std::shared_ptr<http::Client> client, Session& soap)
    : client_(std::move(client)), soap_(soap) {}

Task<StatusOr<http::Response>> RestSession::Send(http::Request request, absl::Duration timeout) {
  request.headers.Set("User-Agent", soap_.options().user_agent);
  request.headers.Set("Accept", "application/json");
  co_return co_await client_->Do(std::move(request), {.timeout = timeout});
}

Task<Status> RestSession::Login() {
  CO_ASSIGN_OR_RETURN(Credentials credentials, soap_.options().credentials());
  CO_RETURN_IF_ERROR(soap_.guard().MayTry(credentials));
  for (bool api : {true, false}) {
    http::Request request{
        .method = "POST",
        .target = api ? "/api/session" : "/rest/com/vmware/cis/session",
        .headers = {{"Authorization", absl::StrCat("Basic ", absl::Base64Escape(absl::StrCat(credentials.user, ":",
                                                                                             credentials.password)))}}};
    CO_ASSIGN_OR_RETURN(http::Response response, co_await Send(std::move(request), soap_.options().call_timeout));
    if (api && (response.status == 404 || response.status == 405 || response.status == 501)) continue;
    Status status = ToStatus(response, "REST login");
    if (response.status == 401 || response.status == 403) soap_.guard().Refused(std::move(credentials), status);
    CO_RETURN_IF_ERROR(status);
    soap_.guard().Accepted();
    CO_ASSIGN_OR_RETURN(json::Value value, json::Parse(response.body));
    std::string_view token = api ? json::AsString(value) : json::String(value, "value");
    if (token.empty()) co_return absl::InternalError("REST login: no session id in the answer");
    token_ = token;
    api_ = api;
    co_return absl::OkStatus();
  }
  co_return absl::UnimplementedError("the server has no REST API");
}

Task<Status> RestSession::Connect() {
  while (token_.empty()) {
    if (soap_.guard().busy()) {
      co_await soap_.guard().WaitForTurn();
      continue;
    }
    LoginGuard::Turn turn(soap_.guard());
    CO_RETURN_IF_ERROR(co_await Login());
  }
  co_return absl::OkStatus();
}

Task<StatusOr<bool>> RestSession::SpeaksApi() {
  CO_RETURN_IF_ERROR(co_await Connect());
  co_return api_;
}

json::Object RestSession::Wrap(std::string_view name, json::Object fields) const {
  if (api_) return fields;
  json::Object wrapped;
  wrapped[name] = std::move(fields);
  return wrapped;
}

std::string RestSession::Id(std::string_view id) const {
  return absl::StrCat(api_ ? "" : "id:", http::PercentEncode(id));
}

Task<StatusOr<json::Value>> RestSession::Call(std::string method, std::string path, std::string action,
                                              json::Object body) {
  constexpr std::string_view kLongForm = "/com/vmware";
  for (int attempt = 0;; ++attempt) {
    CO_RETURN_IF_ERROR(co_await Connect());
    std::string_view own = path;
    if (api_ && own.starts_with(kLongForm)) own.remove_prefix(kLongForm.size());
    http::Request request{.method = method, .target = absl::StrCat(api_ ? "/api" : "/rest", own)};
    if (!action.empty()) absl::StrAppend(&request.target, api_ ? "?action=" : "?~action=", action);
    std::string token = token_;
    request.headers.Add(std::string(kTokenField), token);
    if (method != "GET") {
      request.headers.Add("Content-Type", "application/json");
      request.body = json::Serialize(body);
    }
    CO_ASSIGN_OR_RETURN(http::Response response, co_await Send(std::move(request), soap_.options().call_timeout));
    if (response.status == 401 && attempt == 0) {
      if (token_ == token) token_.clear();
      continue;
    }
    CO_RETURN_IF_ERROR(ToStatus(response, absl::StrCat(method, " ", path)));
    if (response.body.empty()) co_return json::Value();
    CO_ASSIGN_OR_RETURN(json::Value value, json::Parse(response.body));
    if (api_ || !value.is_object() || !value.get_object().contains("value")) co_return value;
    json::Value inner = std::move(value.get_object()["value"]);
    co_return inner;
  }
}

Task<> RestSession::Logout() {
  if (token_.empty()) co_return;
  http::Request request{.method = "DELETE",
                        .target = api_ ? "/api/session" : "/rest/com/vmware/cis/session",
                        .headers = {{std::string(kTokenField), std::exchange(token_, "")}}};
  (void)co_await Send(std::move(request), absl::Seconds(10));
}

}  // namespace vck::vsphere
