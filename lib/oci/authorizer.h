// Authorization headers for registries: answers challenges, and keeps the tokens while they are good.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "async/clock.h"
#include "async/task.h"
#include "base/status.h"
#include "http/client.h"
#include "oci/challenge.h"
#include "oci/keyring.h"
#include "oci/registry_config.h"

namespace vck::oci {

class Authorizer {
 public:
  // Sends a request to any URL (a token server's), trusting it as the registry is trusted, and returns the whole
  // answer.
  using Send = std::function<Task<StatusOr<http::Response>>(http::Url url, HostSettings trust, http::Request request)>;
  Authorizer(Clock& clock, Send send) : clock_(clock), send_(std::move(send)) {}

  struct Scope {
    http::Url origin;  // of the registry
    std::string repository;
    Credential credential;
    HostSettings trust;
  };
  // The header's value if one is known that should be good, else "".
  [[nodiscard]] std::string Known(const Scope& scope) const;
  // The registry refused the known one.
  void Forget(const Scope& scope);
  // Answers a 401. PermissionDenied where nothing can be answered, or the token server refuses.
  Task<StatusOr<std::string>> Answer(Scope scope, std::vector<Challenge> challenges);

 private:
  struct Entry {
    std::string header;
    Instant until;
  };
  static std::string Key(const Scope& scope);
  Task<StatusOr<Token>> FetchToken(Scope scope, Challenge challenge);

  Clock& clock_;
  Send send_;
  std::map<std::string, Entry> known_;
};

// "Basic …" (RFC 7617).
std::string BasicAuthorization(const Credential& credential);
// "404 Not Found"; the number alone where it has no name here.
std::string StatusText(int status);

}  // namespace vck::oci
