// HTTP client for one origin: HTTP/2 where the server offers it (one connection, many streams), HTTP/1.1 with a pool
// otherwise.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "async/clock.h"
#include "async/task.h"
#include "http/message.h"
#include "http/stream.h"

namespace vck::http {

struct ClientOptions {
  Url origin;                       // scheme, host and port count
  std::shared_ptr<TlsContext> tls;  // null: plain HTTP/1.1
  DialOptions dial;
  bool http2 = true;                                // offer h2 by ALPN
  int max_connections = 16;                         // HTTP/1.1 pool; further requests wait for a free one
  absl::Duration idle_timeout = absl::Seconds(90);  // a pooled connection is closed after that
  // HTTP/2: a PING after this much silence while streams are open; the connection is dropped if none answers in as
  // much.
  absl::Duration ping_interval = absl::Seconds(30);
  size_t max_header_bytes = 64 * 1024;
  bool accept_gzip = false;  // ask for gzip, and unpack what comes so
};

struct CallOptions {
  // For Do: the whole exchange. For Open: until the response's headers are there.
  absl::Duration timeout = absl::Seconds(30);
  size_t max_body_bytes = 64 * 1024 * 1024;  // Do only: more is ResourceExhausted
};

// The body of a response as it arrives. Destroying it abandons the exchange (RST_STREAM, or closes the connection).
class BodyReader {
 public:
  virtual ~BodyReader() = default;
  // The next piece, at most 64 KiB; empty at the end of the body. Unavailable when the connection broke before the end.
  virtual Task<StatusOr<std::string>> Read() = 0;
};

// The body of a request that is too large to hold: called until it returns an empty string.
using BodySource = std::function<Task<StatusOr<std::string>>()>;

struct StreamingResponse {
  int status = 0;
  Headers headers;
  std::unique_ptr<BodyReader> body;
};

// Errors: Unavailable (could not connect, connection broke; kMaybeSent payload if the request may have arrived),
// DeadlineExceeded (likewise), ResourceExhausted (body too large), FailedPrecondition (TLS not trusted). An HTTP status
// of 400 and above is a Response, not an error. A request that hits a pooled connection which the server had closed
// before any byte of a response is repeated once on a fresh one when its method is idempotent (RFC 9110 §9.2.2) or
// nothing was sent.
class Client {
 public:
  static std::shared_ptr<Client> Create(Executor executor, Clock& clock, ClientOptions options);
  virtual ~Client() = default;

  virtual Task<StatusOr<Response>> Do(Request request, CallOptions options = {}) = 0;
  virtual Task<StatusOr<StreamingResponse>> Open(Request request, CallOptions options = {}) = 0;
  // Streams a request body of known length (Content-Length) or, with size < 0, chunked.
  virtual Task<StatusOr<Response>> Upload(Request request, int64_t size, BodySource source,
                                          CallOptions options = {}) = 0;
  // New TLS settings for connections made from now on (a renewed client certificate); pooled ones are closed when idle.
  virtual void SetTls(std::shared_ptr<TlsContext> tls) = 0;
  // Closes all connections and waits for their coroutines. Must be awaited before the loop ends.
  virtual Task<> Close() = 0;

  struct Stats {
    int64_t connections_opened = 0;
    int64_t requests = 0;
    int open_connections = 0;
  };
  [[nodiscard]] virtual Stats stats() const = 0;
};

// After `101 Switching Protocols` the bytes are the caller's: sends `request` (with its Upgrade fields) on `stream` and
// returns the response; `leftover` gets what was read past it. Any other status is returned as it is. Host is the
// stream's remote address unless the request names one. No deadline of its own.
Task<StatusOr<Response>> Upgrade(Stream& stream, Request request, std::string* leftover);

// One request on a connection that is used for nothing else. Returns when the response's header is there; the body's
// reader owns the stream, and ends it when destroyed. Host as with Upgrade(). No deadline of its own.
Task<StatusOr<StreamingResponse>> FetchOn(std::unique_ptr<Stream> stream, Request request);

}  // namespace vck::http
