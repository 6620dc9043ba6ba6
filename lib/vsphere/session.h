// A session with vCenter (or ESXi): SOAP calls over one HTTP client, logged in when needed.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "async/backoff.h"
#include "async/clock.h"
#include "async/wait.h"
#include "http/client.h"
#include "vimtypes/methods.gen.h"
#include "vimtypes/soap.h"
#include "vsphere/login_guard.h"

namespace vck::vsphere {

namespace vim = ::vck::vimtypes;
using vim::MoRef;

struct SessionOptions {
  http::Url origin;           // of the client: scheme, host and port
  std::string path = "/sdk";  // of the endpoint
  std::string user_agent = "vch-kubelet/" VCK_VERSION;
  // Asked at each login, so that a rotated password is taken up. Must not block for long.
  std::function<StatusOr<Credentials>()> credentials;
  absl::Duration call_timeout = absl::Seconds(60);
  // A call goes out after this much silence, so that the session does not expire (vCenter's default is 30 min).
  absl::Duration keep_alive = absl::Minutes(10);
  // Between logins that fail because vCenter does not answer.
  BackoffPolicy reconnect = {.initial = absl::Seconds(1), .max = absl::Minutes(1)};
  // Between logins that vCenter refuses, SOAP's and REST's together: accounts lock after a few.
  BackoffPolicy refused = {.initial = absl::Minutes(2), .max = absl::Minutes(30), .factor = 2, .jitter = 0.1};
  // Reads that fail because the connection broke are repeated this often before the caller hears of it.
  int read_attempts = 3;
};

struct Health {
  enum class State {
    kConnecting,    // no session yet, and nothing against it
    kOk,            // the last call was answered
    kInvalidLogin,  // vCenter refuses the credentials; calls fail at once until the next attempt is due
    kUnreachable,   // no answer since `since`
  };
  State state = State::kConnecting;
  Instant since;
  Status error;  // OK in kOk
  // Why vCenter takes no login, or OK. In kOk: the session that there is lives on, and none can follow it.
  Status refusal;
};
std::string_view HealthStateName(Health::State state);

// What a call may do besides the defaults.
struct InvokeOptions {
  absl::Duration timeout;  // zero: SessionOptions::call_timeout
  // The call changes nothing: it is repeated when the connection broke. By default the method's name decides.
  bool read_only = false;
};

class Session {
 public:
  Session(Clock& clock, std::shared_ptr<http::Client> client, SessionOptions options);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Keeps the session alive, until cancelled. Does not log in by itself before the first call.
  Task<Status> Run();
  // Ends the session on the server, best effort. Later calls log in anew.
  Task<> Logout();

  // Calls a method and decodes its reply. Logs in first where needed (one login for all callers); a NotAuthenticated
  // fault leads to one shared re-login and one repetition, which is safe for mutations too: nothing was done. A
  // mutation whose answer was lost is not repeated: the error carries http::kMaybeSent, so RetryClassOf says kReadBack.
  template <class Result>
  Task<vim::Outcome<Result>> Invoke(vim::Call<Result> call, InvokeOptions options = {}) {
    StatusOr<vim::Reply> reply = co_await Send(call.method, std::move(call.body), options);
    if (!reply.ok()) co_return reply.status();
    co_return vim::Decode<Result>(*reply);
  }
  // The same, for callers that read the reply themselves. `method` is static text.
  Task<StatusOr<vim::Reply>> Send(std::string_view method, std::string body, InvokeOptions options = {});

  // Logs in if there is no session. Unauthenticated (InvalidLogin), Unavailable and so on.
  Task<Status> Connect();
  // Forgets the session if it is still the one of `epoch`: the server said in some other way that it is gone.
  void Invalidate(uint64_t epoch);
  // Counts logins: what belongs to a session (collectors, views) is void when it changes. 0: never logged in.
  [[nodiscard]] uint64_t epoch() const { return epoch_; }

  // Well-known objects; valid once Connect() has succeeded, and stable.
  [[nodiscard]] const vim::ServiceContent& content() const { return content_; }
  // "urn:vim25/<this>" is what is spoken.
  [[nodiscard]] const std::string& api_version() const { return api_version_; }

  [[nodiscard]] const Health& health() const { return health_; }
  // `fn` is called after each change of health().state, and when health().refusal begins or ends.
  void OnHealth(std::function<void(const Health&)> fn) { health_callbacks_.push_back(std::move(fn)); }

  // `fn` is called after each login (epoch() has changed) while the returned handle lives.
  using Subscription = std::shared_ptr<std::function<void()>>;
  [[nodiscard]] Subscription OnLogin(std::function<void()> fn) {
    auto subscription = std::make_shared<std::function<void()>>(std::move(fn));
    login_callbacks_.push_back(subscription);
    return subscription;
  }

  // Of all logins with these credentials, those of other APIs too.
  [[nodiscard]] LoginGuard& guard() { return guard_; }

  [[nodiscard]] http::Client& client() { return *client_; }
  // The Cookie header of requests beside SOAP (/folder); empty without a session.
  [[nodiscard]] const std::string& cookie() const { return cookie_; }
  [[nodiscard]] const SessionOptions& options() const { return options_; }
  [[nodiscard]] Clock& clock() { return clock_; }

  struct Stats {
    int64_t calls = 0;  // requests sent, logins included
    int64_t logins = 0;
  };
  [[nodiscard]] const Stats& stats() const { return stats_; }

 private:
  Task<Status> Login();
  Task<Status> Negotiate();
  Task<StatusOr<vim::Reply>> Exchange(std::string_view method, std::string body, absl::Duration timeout);
  void RefusalChanged();
  void SetHealth(Health::State state, Status error);

  Clock& clock_;
  std::shared_ptr<http::Client> client_;
  SessionOptions options_;
  std::string api_version_;
  vim::ServiceContent content_;
  std::string cookie_;
  std::string session_key_;
  uint64_t epoch_ = 0;
  bool logged_in_ = false;
  bool logging_in_ = false;
  LoginGuard guard_;
  Backoff reconnect_;
  Instant next_login_;  // no attempt before
  Status login_error_;  // of the last attempt
  Instant last_sent_;
  Health health_;
  std::vector<std::function<void(const Health&)>> health_callbacks_;
  std::vector<std::weak_ptr<std::function<void()>>> login_callbacks_;
  Stats stats_;
};

}  // namespace vck::vsphere
