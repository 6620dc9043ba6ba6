// HTTP/1.1 server over TCP or TLS, for thousands of listeners and mostly idle connections.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "async/clock.h"
#include "async/task.h"
#include "async/task_group.h"
#include "http/message.h"
#include "http/stream.h"

namespace vck::http {

// One request as it came in, and the ways to answer it. The body is read whole (at most ServerOptions::max_body_bytes).
class Exchange {
 public:
  virtual ~Exchange() = default;
  [[nodiscard]] virtual const Request& request() const = 0;
  // The connection, for the peer's identity.
  [[nodiscard]] virtual const Stream& stream() const = 0;
  // A whole response. Content-Length is set here.
  virtual Task<Status> Respond(Response response) = 0;
  // A streamed response: headers now, then pieces (chunked), then Finish.
  virtual Task<Status> Begin(int status, Headers headers) = 0;
  virtual Task<Status> WriteSome(std::string_view piece) = 0;
  virtual Task<Status> Finish() = 0;
  // Answers 101 and hands the connection over, with what was read past the request.
  // stream() must not be used afterwards.
  virtual Task<StatusOr<std::unique_ptr<Stream>>> Upgrade(Headers headers, std::string* leftover) = 0;
  // Returns once the client has closed the connection: for handlers that stream or hold the answer back. Must have
  // ended (or be cancelled) before the handler returns.
  virtual Task<> WaitClosed() { co_return; }
};

// Serves one request; runs as a coroutine of the connection, and is cancelled with the server. Returning without a
// response answers 500; returning within a streamed one closes the connection.
using Handler = std::function<Task<Status>(Exchange&)>;

struct ServerOptions {
  std::string address = "127.0.0.1";                  // IP literal
  uint16_t port = 0;                                  // 0: any
  std::shared_ptr<TlsContext> tls;                    // null: plain
  absl::Duration header_timeout = absl::Seconds(10);  // TLS handshake and headers
  absl::Duration idle_timeout = absl::Seconds(120);
  size_t max_header_bytes = 64 * 1024;
  size_t max_body_bytes = 16 * 1024 * 1024;
  int max_connections = 1024;                    // further ones are closed at once
  absl::Duration keepalive = absl::Seconds(30);  // as in DialOptions
  absl::Duration user_timeout = absl::Seconds(30);
};

class Server {
 public:
  // Binds and listens; Run() serves. AlreadyExists when the port is taken, InvalidArgument for a bad address.
  static StatusOr<std::unique_ptr<Server>> Listen(Executor executor, Clock& clock, ServerOptions options,
                                                  Handler handler);
  virtual ~Server() = default;
  // Serves until cancelled; then closes all connections.
  virtual Task<Status> Run() = 0;
  [[nodiscard]] virtual uint16_t port() const = 0;
  // For connections made from now on.
  virtual void SetTls(std::shared_ptr<TlsContext> tls) = 0;
};

}  // namespace vck::http
