#include <memory>
#include <optional>

#include <arpa/inet.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/basic_resolver.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "async/timeout.h"
#include "async/wait.h"
#include "http/h1.h"
#include "http/message.h"
#include "http/socket_stream.h"
#include "http/stream.h"

namespace vck::http {
namespace {

using asio::ip::tcp;
using internal::TcpSocket;

// The least that one address of several gets before the next is tried.
constexpr absl::Duration kLeastPerAddress = absl::Seconds(2);

struct Lookup {
  explicit Lookup(Executor executor) : resolver(executor) {}
  asio::ip::basic_resolver<tcp, Executor> resolver;
  Waiter done;
  ErrorCode error;
  std::vector<tcp::endpoint> endpoints;
};

// getaddrinfo() on Asio's resolver thread. It cannot be stopped, so the waiter leaves it behind when cancelled.
Task<StatusOr<std::vector<tcp::endpoint>>> Resolve(std::string host, uint16_t port) {
  ErrorCode not_literal;
  auto address = asio::ip::make_address(host, not_literal);
  if (!not_literal) co_return std::vector<tcp::endpoint>{{address, port}};
  auto lookup = std::make_shared<Lookup>(co_await asio::this_coro::executor);
  lookup->resolver.async_resolve(host, std::to_string(port), asio::ip::resolver_base::numeric_service,
                                 [lookup](ErrorCode ec, const tcp::resolver::results_type& results) {
                                   lookup->error = ec;
                                   for (const auto& entry : results) lookup->endpoints.push_back(entry.endpoint());
                                   lookup->done.Wake();
                                 });
  co_await lookup->done.Wait();
  if (lookup->error || lookup->endpoints.empty()) {
    co_return absl::UnavailableError(
        absl::StrCat("the name ", host, " could not be resolved: ", lookup->error.message()));
  }
  co_return std::move(lookup->endpoints);
}

std::string Name(const tcp::endpoint& endpoint) {
  bool ipv6 = endpoint.address().is_v6();
  return absl::StrCat(ipv6 ? "[" : "", endpoint.address().to_string(), ipv6 ? "]:" : ":", endpoint.port());
}

Task<StatusOr<TcpSocket>> ConnectOne(tcp::endpoint endpoint) {
  TcpSocket socket(co_await asio::this_coro::executor);
  ErrorCode ec;
  socket.open(endpoint.protocol(), ec);
  if (!ec) {
    auto [result] = co_await socket.async_connect(endpoint, asio::as_tuple(kUseTask));
    ec = result;
  }
  if (ec == asio::error::operation_aborted) ThrowCancelled();
  if (ec) co_return absl::UnavailableError(absl::StrCat("connect to ", Name(endpoint), ": ", ec.message()));
  co_return std::move(socket);
}

struct Connected {
  TcpSocket socket;
  std::string remote;
};

Task<StatusOr<Connected>> Connect(Clock* clock, std::string host, uint16_t port, Instant deadline) {
  CO_ASSIGN_OR_RETURN(auto endpoints, co_await Resolve(host, port));
  Status last;
  for (size_t i = 0; i < endpoints.size(); ++i) {
    // An address that swallows packets must leave time for the next (as in Go's net.Dialer).
    absl::Duration share = (deadline - clock->Now()) / static_cast<int64_t>(endpoints.size() - i);
    Instant until = std::min(deadline, clock->Now() + std::max(share, kLeastPerAddress));
    auto socket = co_await WithDeadline(*clock, until, absl::StrCat("connecting to ", Name(endpoints[i])),
                                        ConnectOne(endpoints[i]));
    if (socket.ok()) co_return Connected{*std::move(socket), Name(endpoints[i])};
    last = std::move(socket).status();
  }
  co_return absl::UnavailableError(last.message());
}

// RFC 9110 §9.3.6. What comes after a 2xx answer belongs to the tunnel; the other end speaks only once it was spoken
// to.
Task<Status> OpenTunnel(Stream* stream, std::string target, Url proxy) {
  std::string head = absl::StrCat("CONNECT ", target, " HTTP/1.1\r\nHost: ", target, "\r\n");
  if (!proxy.user.empty()) {
    absl::StrAppend(&head, "Proxy-Authorization: Basic ",
                    absl::Base64Escape(absl::StrCat(proxy.user, ":", proxy.password)), "\r\n");
  }
  head += "\r\n";
  CO_RETURN_IF_ERROR(co_await stream->Write(head));
  internal::MessageParser parser(internal::MessageParser::Kind::kResponse, {});
  parser.ExpectNoBody();
  std::string input;
  while (!parser.header_done()) {
    // Byte by byte at the end of the header would be costly; the tunnel is silent until we write, so nothing is lost.
    std::span<char> buffer = internal::SharedReadBuffer();
    CO_ASSIGN_OR_RETURN(size_t n, co_await stream->ReadSome(buffer));
    if (n == 0) co_return absl::UnavailableError("the proxy closed the connection");
    input.append(buffer.data(), n);
    CO_ASSIGN_OR_RETURN(size_t used, parser.Feed(input));
    input.erase(0, used);
  }
  if (parser.status() / 100 != 2) {
    co_return absl::UnavailableError(absl::StrCat("the proxy answered ", parser.status(), " to CONNECT ", target));
  }
  if (!input.empty()) co_return absl::UnavailableError("the proxy sent data before the tunnel was used");
  co_return absl::OkStatus();
}

Task<StatusOr<std::unique_ptr<Stream>>> DialUntil(Clock* clock, std::string host, uint16_t port,
                                                  std::shared_ptr<TlsContext> tls, DialOptions options,
                                                  Instant deadline) {
  std::optional<Url> proxy;
  if (!options.proxy_url.empty()) {
    auto url = ParseUrl(options.proxy_url);
    if (!url.ok()) co_return Annotate(url.status(), "proxy");
    if (url->scheme != "http") co_return absl::InvalidArgumentError("proxy: only http:// proxies are supported");
    proxy = *std::move(url);
  }
  CO_ASSIGN_OR_RETURN(Connected connected,
                      co_await Connect(clock, proxy ? proxy->host : host, proxy ? proxy->port : port, deadline));
  internal::TuneSocket(connected.socket, options.keepalive, options.user_timeout);
  if (proxy) {
    Url target{.host = host, .port = port};
    // The socket is lent to a stream for the exchange with the proxy and taken back for TLS.
    auto plain = internal::MakePlainStream(std::move(connected.socket), connected.remote);
    CO_RETURN_IF_ERROR(Annotate(co_await OpenTunnel(plain.get(), target.HostPort(), *proxy), "proxy"));
    connected.socket = internal::TakeSocket(std::move(plain));
  }
  if (tls == nullptr) co_return internal::MakePlainStream(std::move(connected.socket), std::move(connected.remote));
  co_return co_await internal::ConnectTls(std::move(connected.socket), std::move(connected.remote), std::move(tls),
                                          std::move(host), std::move(options.alpn));
}

}  // namespace

Task<StatusOr<std::unique_ptr<Stream>>> Dial(Clock& clock, std::string host, uint16_t port,
                                             std::shared_ptr<TlsContext> tls, DialOptions options) {
  Instant deadline = clock.Now() + options.connect_timeout;
  std::string what = absl::StrCat("connecting to ", Url{.host = host, .port = port}.HostPort());
  auto stream = co_await WithDeadline(
      clock, deadline, what, DialUntil(&clock, std::move(host), port, std::move(tls), std::move(options), deadline));
  // Whether it was refused or silent makes no difference to the caller: nothing was sent.
  if (absl::IsDeadlineExceeded(stream.status())) co_return absl::UnavailableError(stream.status().message());
  co_return stream;
}

}  // namespace vck::http
