#include "http/server.h"

#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "async/task_group.h"
#include "async/timeout.h"
#include "base/log.h"
#include "http/h1.h"
#include "http/socket_stream.h"

namespace vck::http {
namespace {

using asio::ip::tcp;
using internal::MessageParser;
using internal::TcpSocket;
using Acceptor = asio::basic_socket_acceptor<tcp, Executor>;

constexpr size_t kOneWrite = size_t{16} * 1024;       // a body up to this goes out together with the head
constexpr size_t kMaxReadAhead = size_t{256} * 1024;  // of bytes past the request while its handler runs
constexpr absl::Duration kLinger = absl::Seconds(2);  // for a refused request's rest

// Closes a stream when its time is up; costs one timer, no coroutine.
class Watchdog {
 public:
  Watchdog(Clock& clock, absl::Duration limit, Stream* stream)
      : timer_(clock.Schedule(clock.Now() + limit, [stream] { stream->Close(); })) {}
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  Clock::Timer timer_;
};

struct Connection {
  std::unique_ptr<Stream> stream;
  std::string input;  // read, not yet parsed
};

bool BodyAllowed(int status) { return status >= 200 && status != 204 && status != 304; }

class ExchangeImpl : public Exchange {
 public:
  ExchangeImpl(Connection* connection, Request request, bool keep_alive, bool http10)
      : connection_(connection),
        stream_(connection->stream.get()),
        request_(std::move(request)),
        keep_alive_(keep_alive),
        http10_(http10) {}

  [[nodiscard]] const Request& request() const override { return request_; }
  [[nodiscard]] const Stream& stream() const override { return *stream_; }

  Task<Status> Respond(Response response) override {
    CO_RETURN_IF_ERROR(Start(response.status, response.headers));
    std::string out = Head(response.status, response.headers);
    bool allowed = BodyAllowed(response.status);
    if (allowed) absl::StrAppend(&out, "Content-Length: ", response.body.size(), "\r\n");
    out += "\r\n";
    state_ = State::kDone;
    if (!allowed || request_.method == "HEAD") co_return co_await Write(out);
    if (response.body.size() <= kOneWrite) {
      out += response.body;
      co_return co_await Write(out);
    }
    CO_RETURN_IF_ERROR(co_await Write(out));
    co_return co_await Write(response.body);
  }

  Task<Status> Begin(int status, Headers headers) override {
    CO_RETURN_IF_ERROR(Start(status, headers));
    chunked_ = BodyAllowed(status) && !http10_;
    if (BodyAllowed(status) && http10_) keep_alive_ = false;  // the end of the stream is the end of the body
    silent_ = request_.method == "HEAD" || !BodyAllowed(status);
    std::string out = Head(status, headers);
    if (chunked_) out += "Transfer-Encoding: chunked\r\n";
    out += "\r\n";
    state_ = State::kStreaming;
    co_return co_await Write(out);
  }

  Task<Status> WriteSome(std::string_view piece) override {
    if (state_ != State::kStreaming) co_return absl::FailedPreconditionError("no streamed response was begun");
    if (piece.empty() || silent_) co_return absl::OkStatus();
    if (!chunked_) co_return co_await Write(piece);
    std::string size = absl::StrCat(absl::Hex(piece.size()), "\r\n");
    if (piece.size() <= kOneWrite) {
      std::string chunk = absl::StrCat(size, piece, "\r\n");
      co_return co_await Write(chunk);
    }
    CO_RETURN_IF_ERROR(co_await Write(size));
    CO_RETURN_IF_ERROR(co_await Write(piece));
    co_return co_await Write("\r\n");
  }

  Task<Status> Finish() override {
    if (state_ != State::kStreaming) co_return absl::FailedPreconditionError("no streamed response was begun");
    state_ = State::kDone;
    if (!chunked_ || silent_) co_return absl::OkStatus();
    co_return co_await Write("0\r\n\r\n");
  }

  Task<StatusOr<std::unique_ptr<Stream>>> Upgrade(Headers headers, std::string* leftover) override {
    CO_RETURN_IF_ERROR(Start(101, headers));
    keep_alive_ = true;  // no "Connection: close" in the head
    std::string out = Head(101, headers);
    if (!headers.Get("Connection")) out += "Connection: Upgrade\r\n";
    out += "\r\n";
    state_ = State::kUpgraded;
    CO_RETURN_IF_ERROR(co_await Write(out));
    *leftover = std::move(connection_->input);
    co_return std::move(connection_->stream);
  }

  Task<> WaitClosed() override {
    while (connection_->stream != nullptr && connection_->input.size() < kMaxReadAhead) {
      std::span<char> buffer = internal::SharedReadBuffer();
      auto n = co_await connection_->stream->ReadSome(buffer);
      if (!n.ok() || *n == 0) break;
      connection_->input.append(buffer.data(), *n);
    }
    keep_alive_ = false;
  }

  [[nodiscard]] bool untouched() const { return state_ == State::kNew; }
  [[nodiscard]] bool upgraded() const { return state_ == State::kUpgraded; }
  [[nodiscard]] bool reusable() const { return state_ == State::kDone && keep_alive_ && write_error_.ok(); }

 private:
  enum class State { kNew, kStreaming, kDone, kUpgraded };

  Status Start(int status, const Headers& headers) {
    if (state_ != State::kNew) return absl::FailedPreconditionError("the request was answered before");
    if (status < 101 || status > 999) return absl::InvalidArgumentError(absl::StrCat("HTTP status ", status));
    return internal::CheckHead("GET", "/", headers);
  }

  [[nodiscard]] std::string Head(int status, const Headers& headers) {
    std::string out = absl::StrCat("HTTP/1.1 ", status, " ", internal::ReasonPhrase(status), "\r\n");
    internal::AppendFields(&out, headers);
    auto connection = headers.Get("Connection");
    if (connection && absl::EqualsIgnoreCase(*connection, "close")) keep_alive_ = false;
    if (!keep_alive_ && !connection) out += "Connection: close\r\n";
    if (keep_alive_ && http10_ && !connection) out += "Connection: keep-alive\r\n";
    return out;
  }

  Task<Status> Write(std::string_view data) {
    Status status = co_await stream_->Write(data);
    if (!status.ok()) write_error_ = status;
    co_return status;
  }

  Connection* connection_;
  Stream* stream_;
  Request request_;
  bool keep_alive_;
  bool http10_;
  bool chunked_ = false;
  bool silent_ = false;
  State state_ = State::kNew;
  Status write_error_;
};

class ServerImpl : public Server {
 public:
  ServerImpl(Executor executor, Clock& clock, ServerOptions options, Handler handler, Acceptor acceptor)
      : clock_(clock),
        options_(std::move(options)),
        handler_(std::move(handler)),
        acceptor_(std::move(acceptor)),
        group_(executor) {}

  Task<Status> Run() override {
    group_.Spawn("accept", Accept());
    co_return co_await group_.Join();
  }

  [[nodiscard]] uint16_t port() const override {
    ErrorCode ignored;
    return acceptor_.local_endpoint(ignored).port();
  }

  void SetTls(std::shared_ptr<TlsContext> tls) override { options_.tls = std::move(tls); }

 private:
  Task<Status> Accept() {
    while (true) {
      auto [ec, socket] = co_await acceptor_.async_accept(asio::as_tuple(kUseTask));
      if (ec == asio::error::operation_aborted) ThrowCancelled();
      if (ec) {
        // Out of descriptors or memory, or a client that has gone: neither ends a server.
        co_await clock_.Sleep(absl::Milliseconds(ec == asio::error::connection_aborted ? 0 : 100));
        continue;
      }
      if (connections_ >= options_.max_connections) continue;
      ++connections_;
      group_.Spawn("connection", ServeConnection(this, std::move(socket)));
    }
  }

  // Ends whatever happens on it: a child that failed would end the server.
  static Task<> ServeConnection(ServerImpl* self, TcpSocket socket) {
    struct Count {
      int* connections;
      ~Count() { --*connections; }
    } count{&self->connections_};
    ErrorCode ec;
    auto endpoint = socket.remote_endpoint(ec);
    if (ec) co_return;
    internal::TuneSocket(socket, self->options_.keepalive, self->options_.user_timeout);
    bool ipv6 = endpoint.address().is_v6();
    std::string remote =
        absl::StrCat(ipv6 ? "[" : "", endpoint.address().to_string(), ipv6 ? "]:" : ":", endpoint.port());
    Connection connection;
    if (self->options_.tls == nullptr) {
      connection.stream = internal::MakePlainStream(std::move(socket), std::move(remote));
    } else {
      auto stream = co_await WithTimeout(self->clock_, self->options_.header_timeout, "TLS handshake",
                                         internal::AcceptTls(std::move(socket), remote, self->options_.tls));
      if (!stream.ok()) {
        LogV(3, "TLS handshake failed", {{"peer", remote}, {"err", stream.status()}});
        co_return;
      }
      connection.stream = *std::move(stream);
    }
    while (connection.stream != nullptr) {
      // Between requests a connection is this frame, a timer and its socket.
      if (connection.input.empty()) {
        connection.input.shrink_to_fit();
        Watchdog idle(self->clock_, self->options_.idle_timeout, connection.stream.get());
        if (!(co_await connection.stream->WaitReadable()).ok()) co_return;
      }
      if (!co_await self->ServeOne(&connection)) break;
    }
  }

  // Takes bytes into the parser until the header (or the whole message) is there. Unavailable: the client is gone.
  Task<Status> Receive(Connection* connection, MessageParser* parser, bool whole) {
    while (true) {
      while (!connection->input.empty() && !parser->done()) {
        CO_ASSIGN_OR_RETURN(size_t used, parser->Feed(connection->input));
        connection->input.erase(0, used);
        if (used == 0) break;
      }
      if (whole ? parser->done() : parser->header_done()) co_return absl::OkStatus();
      std::span<char> buffer = internal::SharedReadBuffer();
      CO_ASSIGN_OR_RETURN(size_t n, co_await connection->stream->ReadSome(buffer));
      if (n == 0) co_return absl::UnavailableError("the client closed the connection");
      connection->input.append(buffer.data(), n);
    }
  }

  // One request and its answer. False: the connection is to be closed.
  Task<bool> ServeOne(Connection* connection) {
    MessageParser parser(MessageParser::Kind::kRequest,
                         {.header_bytes = options_.max_header_bytes, .body_bytes = options_.max_body_bytes});
    Status received;
    {
      Watchdog limit(clock_, options_.header_timeout, connection->stream.get());
      received = co_await Receive(connection, &parser, false);
    }
    if (received.ok() && !parser.done()) {
      Watchdog limit(clock_, options_.idle_timeout, connection->stream.get());
      if (absl::EqualsIgnoreCase(parser.headers().Get("Expect").value_or(""), "100-continue")) {
        received = co_await connection->stream->Write("HTTP/1.1 100 Continue\r\n\r\n");
      }
      if (received.ok()) received = co_await Receive(connection, &parser, true);
    }
    if (!received.ok()) {
      if (!absl::IsUnavailable(received)) co_await Refuse(connection, received);
      co_return false;
    }
    Request request;
    request.method = parser.TakeMethod();
    request.target = parser.TakeTarget();
    request.headers = parser.TakeHeaders();
    request.body = parser.TakeBody();
    ExchangeImpl exchange(connection, std::move(request), parser.keep_alive(), parser.http10());
    Status handled = co_await handler_(exchange);
    if (exchange.upgraded()) co_return false;
    if (exchange.untouched()) {
      if (!handled.ok()) {
        std::string_view target = exchange.request().target;
        Log(Severity::kError, "Request failed", {{"path", target.substr(0, target.find('?'))}, {"err", handled}});
      }
      (void)co_await exchange.Respond({500, {{"Content-Type", "text/plain"}}, "internal error\n"});
    }
    co_return exchange.reusable();
  }

  // Answers what is no acceptable request, and lets the client finish sending, or a reset would destroy the answer.
  Task<> Refuse(Connection* connection, Status why) {
    int status = absl::IsResourceExhausted(why) ? 413 : absl::IsOutOfRange(why) ? 431 : 400;
    Watchdog limit(clock_, kLinger, connection->stream.get());
    std::string answer = absl::StrCat("HTTP/1.1 ", status, " ", internal::ReasonPhrase(status),
                                      "\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    if (!(co_await connection->stream->Write(answer)).ok()) co_return;
    co_await connection->stream->ShutdownWrite();
    while (true) {
      auto n = co_await connection->stream->ReadSome(internal::SharedReadBuffer());
      if (!n.ok() || *n == 0) co_return;
    }
  }

  Clock& clock_;
  ServerOptions options_;
  Handler handler_;
  Acceptor acceptor_;
  int connections_ = 0;
  TaskGroup group_;
};

}  // namespace

StatusOr<std::unique_ptr<Server>> Server::Listen(Executor executor, Clock& clock, ServerOptions options,
                                                 Handler handler) {
  ErrorCode ec;
  auto address = asio::ip::make_address(options.address, ec);
  if (ec) return absl::InvalidArgumentError(absl::StrCat("\"", options.address, "\" is not an IP address"));
  Acceptor acceptor(executor);
  tcp::endpoint endpoint(address, options.port);
  acceptor.open(endpoint.protocol(), ec);
  if (!ec) acceptor.set_option(asio::socket_base::reuse_address(true), ec);
  if (!ec) acceptor.bind(endpoint, ec);
  if (!ec) acceptor.listen(asio::socket_base::max_listen_connections, ec);
  if (ec) {
    std::string what = absl::StrCat("listen on ", options.address, ":", options.port, ": ", ec.message());
    if (ec == asio::error::address_in_use) return absl::AlreadyExistsError(what);
    if (ec == asio::error::access_denied) return absl::PermissionDeniedError(what);
    if (ec == boost::system::errc::address_not_available) return absl::InvalidArgumentError(what);
    return absl::UnavailableError(what);
  }
  return std::make_unique<ServerImpl>(executor, clock, std::move(options), std::move(handler), std::move(acceptor));
}

}  // namespace vck::http
