#include "vsphere/session.h"

#include <algorithm>
#include <array>
#include <utility>

#include <pugixml.hpp>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/log.h"
#include "vimtypes/wire_impl.h"

namespace vck::vsphere {
namespace {

// The newest API that this client was written against; a newer server is asked to behave like it.
constexpr std::string_view kNewestVersion = "8.0.3.0";
constexpr std::string_view kOldestVersion = "6.5";

std::vector<int> Numbers(std::string_view version) {
  std::vector<int> numbers;
  for (std::string_view part : absl::StrSplit(version, '.')) {
    int number = 0;
    if (!absl::SimpleAtoi(part, &number)) return {};
    numbers.push_back(number);
  }
  while (!numbers.empty() && numbers.back() == 0) numbers.pop_back();
  return numbers;
}

// The newest version of urn:vim25 that both sides know; empty if there is none.
std::string ChooseVersion(std::string body) {
  pugi::xml_document document;
  if (!document.load_buffer_inplace(body.data(), body.size())) return {};
  std::string best;
  auto consider = [&best](std::string_view version) {
    if (Numbers(version).empty() || Numbers(version) > Numbers(kNewestVersion)) return;
    if (best.empty() || Numbers(version) > Numbers(best)) best = version;
  };
  for (const pugi::xml_node& space : document.document_element().children()) {
    if (vim::Text(vim::Child(space, "name")) != "urn:vim25") continue;
    consider(vim::Text(vim::Child(space, "version")));
    for (const pugi::xml_node& prior : vim::Child(space, "priorVersions").children()) consider(vim::Text(prior));
  }
  return best;
}

// By the API's naming: what only looks. WaitForUpdatesEx is not among them: its answer moves the collector on.
bool IsReadOnly(std::string_view method) {
  return method.starts_with("Retrieve") || method.starts_with("Query") || method.starts_with("Find") ||
         method.starts_with("Fetch") || method == "CurrentTime" || method == "SessionIsActive" || method == "PlaceVm";
}

// Name and value of the cookie that a Set-Cookie field sets.
std::string CookiePair(std::string_view field) { return std::string(field.substr(0, field.find(';'))); }

bool IsTransport(const Status& status) {
  return vim::FaultType(status).empty() &&
         (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) || absl::IsFailedPrecondition(status));
}

}  // namespace

std::string_view HealthStateName(Health::State state) {
  constexpr std::array<std::string_view, 4> kNames = {"connecting", "ok", "invalid login", "unreachable"};
  return kNames[static_cast<size_t>(state)];
}

Session::Session(Clock& clock, std::shared_ptr<http::Client> client, SessionOptions options)
    : clock_(clock),
      client_(std::move(client)),
      options_(std::move(options)),
      guard_(clock_, options_.refused, [this] { RefusalChanged(); }),
      reconnect_(options_.reconnect),
      last_sent_(clock.Now()) {
  health_.since = clock_.Now();
}

// A login of any API was judged.
void Session::RefusalChanged() {
  if (!logged_in_ && !guard_.refusal().ok()) {
    SetHealth(Health::State::kInvalidLogin, guard_.refusal());
  } else if (health_.state == Health::State::kInvalidLogin) {
    SetHealth(logged_in_ ? Health::State::kOk : Health::State::kConnecting, absl::OkStatus());
  } else {
    SetHealth(health_.state, health_.error);
  }
}

void Session::SetHealth(Health::State state, Status error) {
  health_.error = std::move(error);
  const bool refusal_changed = health_.refusal.ok() != guard_.refusal().ok();
  health_.refusal = guard_.refusal();
  if (health_.state == state && !refusal_changed) return;
  if (health_.state != state) health_.since = clock_.Now();
  health_.state = state;
  if (state == Health::State::kOk && !health_.refusal.ok()) {
    Log(Severity::kWarning, "vCenter takes no new login; the session that there is goes on",
        {{"error", health_.refusal}});
  } else if (state == Health::State::kOk) {
    Log(Severity::kInfo, "vCenter answers");
  } else {
    Log(Severity::kWarning, "vCenter is not usable", {{"state", HealthStateName(state)}, {"error", health_.error}});
  }
  for (const auto& fn : health_callbacks_) fn(health_);
}

Task<StatusOr<vim::Reply>> Session::Exchange(std::string_view method, std::string body, absl::Duration timeout) {
  http::Request request;
  request.method = "POST";
  request.target = options_.path;
  request.headers = {{"Content-Type", "text/xml; charset=utf-8"},
                     {"SOAPAction", absl::StrCat("\"urn:vim25/", api_version_, "\"")},
                     {"User-Agent", options_.user_agent}};
  if (!cookie_.empty()) request.headers.Add("Cookie", cookie_);
  request.body = vim::Envelope(body);
  last_sent_ = clock_.Now();
  ++stats_.calls;
  StatusOr<http::Response> response = co_await client_->Do(std::move(request), {.timeout = timeout});
  if (!response.ok()) {
    Status status = Annotate(response.status(), method);
    if (IsTransport(status)) SetHealth(Health::State::kUnreachable, status);
    co_return status;
  }
  for (const auto& [name, value] : response->headers.fields()) {
    // Only a login's: the answer to an older call may come late.
    if (logging_in_ && absl::EqualsIgnoreCase(name, "set-cookie") &&
        value.find("vmware_soap_session") != std::string::npos) {
      cookie_ = CookiePair(value);
    }
  }
  if (response->status != 200 && response->status != 500) {
    // A proxy in front of vpxd answers while vpxd is down or starting (503), or may have lost its answer (502, 504).
    Status status = absl::UnavailableError(absl::StrCat(method, ": HTTP status ", response->status));
    if (response->status == 502 || response->status == 504) status.SetPayload(http::kMaybeSent, absl::Cord("1"));
    if (response->status == 404 || response->status == 405) status = absl::FailedPreconditionError(status.message());
    SetHealth(Health::State::kUnreachable, status);
    co_return status;
  }
  StatusOr<vim::Reply> reply = vim::Reply::Parse(std::move(response->body));
  if (!reply.ok()) {
    Status status = Annotate(reply.status(), method);
    // Not SOAP: whatever answered, it is not a vCenter that works. The change may have happened all the same.
    if (vim::FaultType(status).empty()) status.SetPayload(http::kMaybeSent, absl::Cord("1"));
    co_return status;
  }
  co_return reply;
}

Task<Status> Session::Negotiate() {
  if (!api_version_.empty()) co_return absl::OkStatus();
  ++stats_.calls;
  http::Request request{.target = absl::StrCat(options_.path, "/vimServiceVersions.xml"),
                        .headers = {{"User-Agent", options_.user_agent}}};
  StatusOr<http::Response> response = co_await client_->Do(std::move(request), {.timeout = options_.call_timeout});
  if (!response.ok()) {
    if (IsTransport(response.status())) SetHealth(Health::State::kUnreachable, response.status());
    co_return Annotate(response.status(), "vimServiceVersions.xml");
  }
  if (response->status == 404) {  // before vSphere 4 or behind a proxy that hides it
    api_version_ = kOldestVersion;
    co_return absl::OkStatus();
  }
  if (response->status != 200) {
    Status status = absl::UnavailableError(absl::StrCat("vimServiceVersions.xml: HTTP status ", response->status));
    SetHealth(Health::State::kUnreachable, status);
    co_return status;
  }
  api_version_ = ChooseVersion(std::move(response->body));
  if (api_version_.empty()) {
    co_return absl::FailedPreconditionError(
        "vimServiceVersions.xml: the server offers no version of urn:vim25 that is known here");
  }
  co_return absl::OkStatus();
}

Task<Status> Session::Login() {
  CO_ASSIGN_OR_RETURN(Credentials credentials, options_.credentials());
  if (Status refusal = guard_.MayTry(credentials); !refusal.ok()) {
    SetHealth(Health::State::kInvalidLogin, refusal);
    co_return refusal;
  }
  if (clock_.Now() < next_login_) co_return login_error_;

  logging_in_ = true;
  absl::Cleanup done = [this] { logging_in_ = false; };
  cookie_.clear();
  Status status = co_await Negotiate();
  if (status.ok()) {
    auto call = vim::RetrieveServiceContent({.type = "ServiceInstance", .value = "ServiceInstance"});
    StatusOr<vim::Reply> reply = co_await Exchange(call.method, std::move(call.body), options_.call_timeout);
    status = reply.status();
    if (reply.ok()) {
      StatusOr<vim::ServiceContent> content = vim::Decode<vim::ServiceContent>(*reply);
      status = content.status();
      if (content.ok()) content_ = *std::move(content);
      if (status.ok() && !content_.sessionManager) status = absl::InternalError("the server has no session manager");
    }
  }
  if (status.ok()) {
    ++stats_.logins;
    auto call = vim::Login(*content_.sessionManager, credentials.user, credentials.password, std::nullopt);
    StatusOr<vim::Reply> reply = co_await Exchange(call.method, std::move(call.body), options_.call_timeout);
    status = reply.status();
    if (reply.ok()) {
      StatusOr<vim::UserSession> session = vim::Decode<vim::UserSession>(*reply);
      status = session.status();
      if (session.ok()) session_key_ = session->key;
    }
  }
  if (status.ok()) {
    logged_in_ = true;
    ++epoch_;
    std::erase_if(login_callbacks_, [](const auto& weak) { return weak.expired(); });
    for (const auto& weak : login_callbacks_) {
      if (auto fn = weak.lock()) (*fn)();
    }
    reconnect_.Reset();
    guard_.Accepted();
    SetHealth(Health::State::kOk, absl::OkStatus());
    Log(Severity::kInfo, "Logged in to vCenter",
        {{"product", content_.about.fullName}, {"api", api_version_}, {"user", credentials.user}});
    co_return status;
  }
  login_error_ = Annotate(status, "log in to vCenter");
  if (vim::IsFault(status, "InvalidLogin") || vim::IsFault(status, "NoPermission")) {
    guard_.Refused(std::move(credentials), login_error_);
    SetHealth(Health::State::kInvalidLogin, login_error_);
  } else {
    next_login_ = clock_.Now() + reconnect_.Next();
    if (health_.state != Health::State::kInvalidLogin) SetHealth(Health::State::kUnreachable, login_error_);
  }
  co_return login_error_;
}

Task<Status> Session::Connect() {
  bool waited = false;
  while (!logged_in_) {
    if (guard_.busy()) {
      waited = true;
      co_await guard_.WaitForTurn();
      continue;
    }
    // The attempt that this caller waited for is its attempt, too.
    if (waited && clock_.Now() < next_login_) co_return login_error_;
    LoginGuard::Turn turn(guard_);
    CO_RETURN_IF_ERROR(co_await Login());
  }
  co_return absl::OkStatus();
}

void Session::Invalidate(uint64_t epoch) {
  if (epoch == epoch_) logged_in_ = false;
}

Task<StatusOr<vim::Reply>> Session::Send(std::string_view method, std::string body, InvokeOptions options) {
  bool read_only = options.read_only || IsReadOnly(method);
  absl::Duration timeout = options.timeout == absl::ZeroDuration() ? options_.call_timeout : options.timeout;
  Backoff backoff({.initial = absl::Milliseconds(200), .max = absl::Seconds(5)});
  bool repeated_login = false;
  for (int attempt = 1;; ++attempt) {
    CO_RETURN_IF_ERROR(co_await Connect());
    uint64_t epoch = epoch_;
    StatusOr<vim::Reply> reply = co_await Exchange(method, body, timeout);
    if (reply.ok() || !vim::FaultType(reply.status()).empty()) {
      if (logged_in_) SetHealth(Health::State::kOk, absl::OkStatus());
      if (reply.ok() || !vim::IsFault(reply.status(), "NotAuthenticated") || repeated_login) co_return reply;
      // A fault: the server did nothing, so that a mutation may be repeated as well.
      repeated_login = true;
      Invalidate(epoch);
      continue;
    }
    if (!read_only || attempt >= options_.read_attempts || !absl::IsUnavailable(reply.status())) co_return reply;
    co_await clock_.Sleep(backoff.Next());
  }
}

Task<Status> Session::Run() {
  while (true) {
    Instant due = last_sent_ + options_.keep_alive;
    if (due > clock_.Now()) {
      co_await clock_.SleepUntil(due);
      continue;
    }
    // Whatever comes of it: a fault logs in anew, and an outage is somebody else's news.
    auto call = vim::CurrentTime({.type = "ServiceInstance", .value = "ServiceInstance"});
    last_sent_ = clock_.Now();
    if (logged_in_) (void)co_await Send(call.method, std::move(call.body));
  }
}

Task<> Session::Logout() {
  if (!logged_in_) co_return;
  logged_in_ = false;
  auto call = vim::Logout(*content_.sessionManager);
  (void)co_await Exchange(call.method, std::move(call.body), absl::Seconds(10));
  cookie_.clear();
}

}  // namespace vck::vsphere
