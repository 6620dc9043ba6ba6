// A connected byte stream over TCP, with or without TLS. TLS is OpenSSL over the socket's descriptor (SSL_set_fd): no
// buffers of its own, so that an idle connection costs some 25 KiB. OpenSSL writes to the socket itself: the process
// must ignore SIGPIPE.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "async/clock.h"
#include "async/task.h"
#include "base/status.h"
#include "http/tls.h"

namespace vck::http {

class Stream {
 public:
  virtual ~Stream() = default;  // closes at once

  // At least one byte into `buffer`; 0 at the end of the stream. The buffer must stay alive meanwhile.
  virtual Task<StatusOr<size_t>> ReadSome(std::span<char> buffer) = 0;
  // Returns when something can be read (or the stream has ended), without holding a buffer meanwhile.
  virtual Task<Status> WaitReadable() = 0;
  // Writes all of `data`, which must stay alive meanwhile. Concurrent writers are not allowed; a reader beside it is.
  virtual Task<Status> Write(std::string_view data) = 0;
  // Sends TLS close_notify (if any) and half-closes. Best effort.
  virtual Task<> ShutdownWrite() = 0;
  virtual void Close() = 0;
  // True if a read would not wait: there are bytes, or the end, or an error. On an idle connection that means it is of
  // no more use.
  [[nodiscard]] virtual bool ReadableNow() const { return false; }

  // True if the peer has ended its side, or the connection broke; also while there are bytes to be read before that.
  [[nodiscard]] virtual bool HungUp() const { return false; }

  // Verifies the peer's certificate as a client's, as of now. NotFound: it has shown none. Unauthenticated: not
  // trusted.
  [[nodiscard]] virtual Status VerifyClient(const CertificatePool& pool) const;
  // SHA-256 hex of the peer certificate's SubjectPublicKeyInfo; empty without a peer certificate.
  [[nodiscard]] virtual std::string PeerKeyHash() const = 0;
  // The peer's certificate as PEM, its common name, organizations and URI SANs.
  struct PeerName {
    std::string common_name;
    std::vector<std::string> organizations;
    std::vector<std::string> uris;
  };
  [[nodiscard]] virtual PeerName Peer() const = 0;
  [[nodiscard]] virtual std::string alpn() const = 0;            // "h2", "http/1.1" or ""
  [[nodiscard]] virtual std::string remote_address() const = 0;  // "1.2.3.4:567"
};

struct DialOptions {
  absl::Duration connect_timeout = absl::Seconds(10);  // name, TCP and TLS together
  std::vector<std::string> alpn;                       // offered protocols, in order
  absl::Duration keepalive = absl::Seconds(30);        // TCP keep-alive idle time; zero: off
  absl::Duration user_timeout = absl::Seconds(30);     // TCP_USER_TIMEOUT; zero: the system's
  std::string proxy_url;                               // CONNECT through this HTTP(S) proxy; empty: direct
};

// Payload type URL on the status of a Dial() whose peer answered, but not with TLS; value "1".
inline constexpr std::string_view kNotTls = "vck/http/not-tls";

// Connects to host:port; `tls` null means plain TCP. Tries all addresses of a name in turn. Unavailable when nothing
// answers, FailedPrecondition when a certificate is not trusted (the message says why and what the name was).
Task<StatusOr<std::unique_ptr<Stream>>> Dial(Clock& clock, std::string host, uint16_t port,
                                             std::shared_ptr<TlsContext> tls, DialOptions options);

}  // namespace vck::http
