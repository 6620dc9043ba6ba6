#include "http/stream.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <boost/asio/as_tuple.hpp>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include "absl/strings/str_cat.h"
#include "async/wait.h"
#include "http/issuer.h"
#include "http/socket_stream.h"
#include "http/tls_internal.h"

namespace vck::http {
namespace internal {
namespace {

// So many reads in a row may succeed without waiting before others get their turn.
constexpr int kReadsPerTurn = 16;

Status SocketError(int error, std::string_view what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(error)));
}

class PlainStream : public Stream {
 public:
  PlainStream(TcpSocket socket, std::string remote) : socket_(std::move(socket)), remote_(std::move(remote)) {}

  Task<StatusOr<size_t>> ReadSome(std::span<char> buffer) override {
    co_await TakeTurn();
    while (true) {
      if (closed_) co_return ClosedHere();
      ssize_t n = ::recv(socket_.native_handle(), buffer.data(), buffer.size(), 0);
      if (n >= 0) co_return static_cast<size_t>(n);
      if (errno == EINTR) continue;
      if (errno != EAGAIN) co_return SocketError(errno, "read");
      CO_RETURN_IF_ERROR(co_await Wait(TcpSocket::wait_read));
    }
  }

  Task<Status> WaitReadable() override {
    if (closed_) co_return ClosedHere();
    co_return co_await Wait(TcpSocket::wait_read);
  }

  Task<Status> Write(std::string_view data) override {
    while (!data.empty()) {
      if (closed_) co_return ClosedHere();
      ssize_t n = ::send(socket_.native_handle(), data.data(), data.size(), MSG_NOSIGNAL);
      if (n > 0) {
        data.remove_prefix(static_cast<size_t>(n));
        continue;
      }
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno != EAGAIN) co_return SocketError(errno, "write");
      CO_RETURN_IF_ERROR(co_await Wait(TcpSocket::wait_write));
    }
    co_return absl::OkStatus();
  }

  Task<> ShutdownWrite() override {
    if (!closed_) ::shutdown(socket_.native_handle(), SHUT_WR);
    co_return;
  }

  void Close() override {
    closed_ = true;
    ErrorCode ignored;
    socket_.close(ignored);
  }

  [[nodiscard]] bool ReadableNow() const override {
    if (closed_) return true;
    pollfd fd{const_cast<TcpSocket&>(socket_).native_handle(), POLLIN | POLLRDHUP, 0};
    return ::poll(&fd, 1, 0) != 0;
  }
  [[nodiscard]] bool HungUp() const override {
    if (closed_) return true;
    pollfd fd{const_cast<TcpSocket&>(socket_).native_handle(), POLLRDHUP, 0};
    return ::poll(&fd, 1, 0) != 0;
  }
  [[nodiscard]] std::string PeerKeyHash() const override { return ""; }
  [[nodiscard]] PeerName Peer() const override { return {}; }
  [[nodiscard]] std::string alpn() const override { return ""; }
  [[nodiscard]] std::string remote_address() const override { return remote_; }
  TcpSocket TakeSocket() { return std::move(socket_); }

 protected:
  static Status ClosedHere() { return absl::UnavailableError("the connection was closed on this side"); }

  // Lets others run when this stream always has data.
  Task<> TakeTurn() {
    if (++reads_ < kReadsPerTurn) co_return;
    reads_ = 0;
    co_await Yield();
  }

  Task<Status> Wait(TcpSocket::wait_type what) {
    reads_ = 0;
    auto [ec] = co_await socket_.async_wait(what, asio::as_tuple(kUseTask));
    // Close() aborts waits too, and must not look like a cancelled coroutine.
    if (closed_) co_return ClosedHere();
    if (ec == asio::error::operation_aborted) ThrowCancelled();
    if (ec) co_return SocketError(ec.value(), "wait");
    co_return absl::OkStatus();
  }

  TcpSocket socket_;
  std::string remote_;
  int reads_ = 0;
  bool closed_ = false;
};

class TlsStream : public PlainStream {
 public:
  TlsStream(TcpSocket socket, std::string remote, std::shared_ptr<TlsContext> context, SslPtr ssl)
      : PlainStream(std::move(socket), std::move(remote)), context_(std::move(context)), ssl_(std::move(ssl)) {}
  ~TlsStream() override { TlsStream::Close(); }

  Task<Status> Handshake(std::string name) {
    while (true) {
      ERR_clear_error();
      int n = SSL_do_handshake(ssl_.get());
      if (n == 1) break;
      int error = SSL_get_error(ssl_.get(), n);
      if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        CO_RETURN_IF_ERROR(co_await Wait(error == SSL_ERROR_WANT_READ ? TcpSocket::wait_read : TcpSocket::wait_write));
        continue;
      }
      co_return HandshakeError(error, name);
    }
    usable_ = true;
    co_return absl::OkStatus();
  }

  Task<StatusOr<size_t>> ReadSome(std::span<char> buffer) override {
    co_await TakeTurn();
    while (true) {
      if (closed_) co_return ClosedHere();
      ERR_clear_error();
      size_t n = 0;
      int result = SSL_read_ex(ssl_.get(), buffer.data(), buffer.size(), &n);
      if (result == 1) co_return n;
      int error = SSL_get_error(ssl_.get(), result);
      if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        CO_RETURN_IF_ERROR(co_await Wait(error == SSL_ERROR_WANT_READ ? TcpSocket::wait_read : TcpSocket::wait_write));
        continue;
      }
      if (error == SSL_ERROR_ZERO_RETURN) co_return size_t{0};
      usable_ = false;
      // An end without close_notify is common; a message that it cuts is noticed by HTTP's own framing.
      if (error == SSL_ERROR_SSL && ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        co_return size_t{0};
      }
      co_return IoError(error, "read");
    }
  }

  Task<Status> WaitReadable() override {
    if (closed_) co_return ClosedHere();
    if (SSL_has_pending(ssl_.get())) co_return absl::OkStatus();
    co_return co_await Wait(TcpSocket::wait_read);
  }

  Task<Status> Write(std::string_view data) override {
    while (!data.empty()) {
      if (closed_) co_return ClosedHere();
      ERR_clear_error();
      size_t n = 0;
      int result = SSL_write_ex(ssl_.get(), data.data(), data.size(), &n);
      writing_ = result != 1;
      if (result == 1) {
        data.remove_prefix(n);
        continue;
      }
      int error = SSL_get_error(ssl_.get(), result);
      if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        CO_RETURN_IF_ERROR(co_await Wait(error == SSL_ERROR_WANT_READ ? TcpSocket::wait_read : TcpSocket::wait_write));
        continue;
      }
      usable_ = false;
      co_return IoError(error, "write");
    }
    co_return absl::OkStatus();
  }

  Task<> ShutdownWrite() override {
    if (closed_) co_return;
    SendCloseNotify();
    ::shutdown(socket_.native_handle(), SHUT_WR);
  }

  void Close() override {
    if (!closed_) SendCloseNotify();
    PlainStream::Close();
  }

  [[nodiscard]] bool ReadableNow() const override { return SSL_has_pending(ssl_.get()) || PlainStream::ReadableNow(); }

  [[nodiscard]] std::string PeerKeyHash() const override {
    X509* cert = SSL_get0_peer_certificate(ssl_.get());
    return cert == nullptr ? "" : KeyHash(cert);
  }

  [[nodiscard]] std::string PublicKey() const {
    X509* cert = SSL_get0_peer_certificate(ssl_.get());
    return cert == nullptr ? "" : PublicKeyDer(cert);
  }

  [[nodiscard]] PeerName Peer() const override;
  [[nodiscard]] Status VerifyClient(const CertificatePool& pool) const override;

  [[nodiscard]] std::string alpn() const override {
    const unsigned char* data = nullptr;
    unsigned int size = 0;
    SSL_get0_alpn_selected(ssl_.get(), &data, &size);
    return {reinterpret_cast<const char*>(data), size};
  }

  [[nodiscard]] int fd() { return socket_.native_handle(); }

 private:
  void SendCloseNotify() {
    // Not within a half-written record, and never on a connection that broke.
    if (!usable_ || writing_) return;
    usable_ = false;
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
    ERR_clear_error();
  }

  static bool PeerRejectedUs(int reason) {
    switch (reason) {
      case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
      case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
      case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
      case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
      case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
      case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
      case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
      case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        return true;
      default:
        return false;
    }
  }

  Status IoError(int error, std::string_view what) {
    if (error == SSL_ERROR_SYSCALL) {
      int number = errno;
      ERR_clear_error();
      if (number == 0) return absl::UnavailableError(absl::StrCat(what, ": the connection ended"));
      return SocketError(number, what);
    }
    int reason = ERR_GET_REASON(ERR_peek_error());
    std::string text = TakeOpenSslError();
    // With TLS 1.3 a client learns only after its handshake what the server thinks of its certificate.
    if (PeerRejectedUs(reason)) {
      return absl::FailedPreconditionError(absl::StrCat("the peer did not accept our certificate: ", text));
    }
    return absl::UnavailableError(absl::StrCat(what, ": ", text));
  }

  Status HandshakeError(int error, const std::string& name) {
    int reason = error == SSL_ERROR_SSL ? ERR_GET_REASON(ERR_peek_error()) : 0;
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
      long verify = SSL_get_verify_result(ssl_.get());
      ERR_clear_error();
      const auto& impl = static_cast<const TlsContextImpl&>(*context_);
      std::string why = X509_verify_cert_error_string(verify);
      if (!impl.thumbprint.empty()) why = "its thumbprint is not the given one";
      return absl::FailedPreconditionError(absl::StrCat("the certificate of ", name, " is not trusted: ", why));
    }
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
      ERR_clear_error();
      return absl::FailedPreconditionError(absl::StrCat(name, " sent no certificate"));
    }
    if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
      ERR_clear_error();
      return absl::UnavailableError("the peer ended the connection during the TLS handshake");
    }
    if (reason == SSL_R_HTTP_REQUEST || reason == SSL_R_WRONG_VERSION_NUMBER) {
      ERR_clear_error();
      Status status = absl::UnavailableError(absl::StrCat(name, " does not speak TLS on this port"));
      status.SetPayload(kNotTls, absl::Cord("1"));
      return status;
    }
    return IoError(error, "TLS handshake");
  }

  std::shared_ptr<TlsContext> context_;
  SslPtr ssl_;
  bool usable_ = false;   // the handshake is done and no error was seen
  bool writing_ = false;  // a record is half written
};

std::string Utf8(const ASN1_STRING* value) {
  unsigned char* text = nullptr;
  int size = ASN1_STRING_to_UTF8(&text, value);
  if (size < 0) return "";
  std::string out(reinterpret_cast<char*>(text), static_cast<size_t>(size));
  OPENSSL_free(text);
  return out;
}

Stream::PeerName TlsStream::Peer() const {
  PeerName out;
  X509* cert = SSL_get0_peer_certificate(ssl_.get());
  if (cert == nullptr) return out;
  X509_NAME* subject = X509_get_subject_name(cert);
  for (int i = 0; i < X509_NAME_entry_count(subject); ++i) {
    X509_NAME_ENTRY* entry = X509_NAME_get_entry(subject, i);
    int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry));
    if (nid == NID_commonName) out.common_name = Utf8(X509_NAME_ENTRY_get_data(entry));
    if (nid == NID_organizationName) out.organizations.push_back(Utf8(X509_NAME_ENTRY_get_data(entry)));
  }
  auto* names = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(cert, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type == GEN_URI) out.uris.push_back(Utf8(name->d.uniformResourceIdentifier));
  }
  GENERAL_NAMES_free(names);
  return out;
}

Status TlsStream::VerifyClient(const CertificatePool& pool) const {
  X509* cert = SSL_get0_peer_certificate(ssl_.get());
  if (cert == nullptr) return absl::NotFoundError("the client has shown no certificate");
  std::unique_ptr<X509_STORE_CTX, Deleter<X509_STORE_CTX_free>> verification(X509_STORE_CTX_new());
  X509_STORE* store = static_cast<const CertificatePoolImpl&>(pool).store.get();
  // On a server the chain is without the leaf: what is left are intermediates.
  if (verification == nullptr ||
      X509_STORE_CTX_init(verification.get(), store, cert, SSL_get_peer_cert_chain(ssl_.get())) != 1 ||
      X509_STORE_CTX_set_default(verification.get(), "ssl_client") != 1) {
    return absl::InternalError(TakeOpenSslError());
  }
  X509_STORE_CTX_set_flags(verification.get(), X509_V_FLAG_PARTIAL_CHAIN);
  ERR_clear_error();
  if (X509_verify_cert(verification.get()) == 1) return absl::OkStatus();
  ERR_clear_error();
  return absl::UnauthenticatedError(
      absl::StrCat("the client's certificate is not trusted: ",
                   X509_verify_cert_error_string(X509_STORE_CTX_get_error(verification.get()))));
}

}  // namespace

void TuneSocket(TcpSocket& socket, absl::Duration keepalive, absl::Duration user_timeout) {
  int fd = socket.native_handle();
  ErrorCode ignored;
  socket.native_non_blocking(true, ignored);
  auto set = [fd](int level, int name, int value) { ::setsockopt(fd, level, name, &value, sizeof(value)); };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  if (keepalive > absl::ZeroDuration()) {
    int seconds = static_cast<int>(std::max<int64_t>(1, absl::ToInt64Seconds(keepalive)));
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set(IPPROTO_TCP, TCP_KEEPIDLE, seconds);
    set(IPPROTO_TCP, TCP_KEEPINTVL, std::max(1, seconds / 3));
    set(IPPROTO_TCP, TCP_KEEPCNT, 3);
  }
  if (user_timeout > absl::ZeroDuration()) {
    set(IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(absl::ToInt64Milliseconds(user_timeout)));
  }
}

std::unique_ptr<Stream> MakePlainStream(TcpSocket socket, std::string remote) {
  return std::make_unique<PlainStream>(std::move(socket), std::move(remote));
}

TcpSocket TakeSocket(std::unique_ptr<Stream> plain) { return static_cast<PlainStream&>(*plain).TakeSocket(); }

Task<StatusOr<std::unique_ptr<Stream>>> ConnectTls(TcpSocket socket, std::string remote,
                                                   std::shared_ptr<TlsContext> tls, std::string host,
                                                   std::vector<std::string> alpn) {
  const auto& context = static_cast<const TlsContextImpl&>(*tls);
  if (context.server) co_return absl::InvalidArgumentError("a server's TLS settings cannot be used by a client");
  CO_ASSIGN_OR_RETURN(SslPtr ssl, NewClientSsl(context, host, alpn));
  SSL_set_connect_state(ssl.get());
  SSL* raw = ssl.get();
  auto stream = std::make_unique<TlsStream>(std::move(socket), std::move(remote), tls, std::move(ssl));
  SSL_set_fd(raw, stream->fd());
  CO_RETURN_IF_ERROR(co_await stream->Handshake(context.server_name.empty() ? host : context.server_name));
  co_return std::move(stream);
}

Task<StatusOr<std::unique_ptr<Stream>>> AcceptTls(TcpSocket socket, std::string remote,
                                                  std::shared_ptr<TlsContext> tls) {
  const auto& context = static_cast<const TlsContextImpl&>(*tls);
  if (!context.server) co_return absl::InvalidArgumentError("a client's TLS settings cannot be used by a server");
  SslPtr ssl(SSL_new(context.ctx.get()));
  if (ssl == nullptr) co_return absl::InternalError(TakeOpenSslError());
  SSL_set_accept_state(ssl.get());
  SSL* raw = ssl.get();
  std::string name = remote;
  auto stream = std::make_unique<TlsStream>(std::move(socket), std::move(remote), tls, std::move(ssl));
  SSL_set_fd(raw, stream->fd());
  CO_RETURN_IF_ERROR(co_await stream->Handshake(name));
  co_return std::move(stream);
}

std::span<char> SharedReadBuffer() {
  thread_local std::array<char, size_t{64} * 1024> buffer;
  return buffer;
}

}  // namespace internal

std::string PeerPublicKey(const Stream& stream) {
  const auto* tls = dynamic_cast<const internal::TlsStream*>(&stream);
  return tls == nullptr ? "" : tls->PublicKey();
}

Status Stream::VerifyClient(const CertificatePool&) const {
  return absl::NotFoundError("the client has shown no certificate");
}

}  // namespace vck::http
