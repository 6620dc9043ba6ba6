// Who may come in. Closed unless something is configured that can tell.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "async/task.h"
#include "base/status.h"
#include "http/server.h"
#include "http/tls.h"
#include "kubeletapi/attributes.h"
#include "kubeletapi/reviews.h"

namespace vck::kubeletapi {

// The answer to a request that may not be served; status 0: it may.
struct Refusal {
  int status = 0;
  std::string body;
};

// A subprotocol of a WebSocket that is a token: not to be told to anybody.
bool IsTokenProtocol(std::string_view protocol);

class Auth {
 public:
  struct Options {
    bool tokens = true;  // ask the API server about bearer tokens
  };
  // `reviews` outlives it.
  Auth(Reviews& reviews, Options options) : reviews_(reviews), options_(options) {}

  // The CA of client certificates from now on; null: none is accepted.
  void SetClientCa(std::shared_ptr<const http::CertificatePool> pool) { client_ca_ = std::move(pool); }
  // False: there is no way to come in, and only health is told.
  [[nodiscard]] bool open() const { return client_ca_ != nullptr || options_.tokens; }

  // As the kubelet: 401 without a valid certificate or token, 403 with who wanted what, 500 when nobody can tell.
  Task<Refusal> Check(const http::Exchange& exchange, Attributes attributes);

 private:
  Task<std::optional<User>> Authenticate(const http::Exchange& exchange);

  Reviews& reviews_;
  Options options_;
  std::shared_ptr<const http::CertificatePool> client_ca_;
};

}  // namespace vck::kubeletapi
