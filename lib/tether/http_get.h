// The HTTP GET of probes and hooks.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "async/clock.h"
#include "async/task.h"
#include "base/status.h"
#include "guestapi/spec.h"
#include "http/tls.h"

namespace vck::tether {

struct GetTarget {
  bool https = false;
  std::string host;  // without brackets
  int port = 0;
  std::string path;  // begins with '/', percent-encoded, with the query
  [[nodiscard]] std::string Authority() const;
  [[nodiscard]] std::string Url() const;
  friend bool operator==(const GetTarget&, const GetTarget&) = default;
};

// What `handler` asks for, at `pod_ip` unless it names a host. A path that is no path is made one, as Go's net/url
// does.
GetTarget TargetOf(const guestapi::Handler& handler, std::string_view pod_ip);
// Where a Location header leads from `from`; InvalidArgument when it is no HTTP URL.
StatusOr<GetTarget> Redirect(const GetTarget& from, std::string_view location);

struct GetResult {
  int status = 0;
  std::string body;  // the first 10 KiB
};
// Follows redirects on the same host, at most ten; another one's is the result itself. `purpose` is "probe" or
// "lifecycle", for the User-Agent. The error's message is the one that people see; FailedPrecondition: the server
// answered https without TLS. No deadline of its own.
Task<StatusOr<GetResult>> HttpGet(Clock& clock, guestapi::Handler handler, GetTarget target, std::string purpose,
                                  std::shared_ptr<http::TlsContext> tls);

// "dial tcp 10.1.2.3:80: connect: connection refused": a failed dial in the words that users of kubectl know.
std::string DialError(const Status& status, std::string_view authority);

}  // namespace vck::tether
