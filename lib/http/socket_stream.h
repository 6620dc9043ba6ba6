// Streams over sockets that are already connected. Not for other layers.
#pragma once

#include <memory>
#include <span>
#include <string>

#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "async/task.h"
#include "http/stream.h"

namespace vck::http::internal {

using TcpSocket = asio::basic_stream_socket<asio::ip::tcp, Executor>;

// TCP_NODELAY, keep-alive and TCP_USER_TIMEOUT, non-blocking. Zero durations: off / the system's.
void TuneSocket(TcpSocket& socket, absl::Duration keepalive, absl::Duration user_timeout);
std::unique_ptr<Stream> MakePlainStream(TcpSocket socket, std::string remote);
// The socket out of a stream of MakePlainStream().
TcpSocket TakeSocket(std::unique_ptr<Stream> plain);
// Handshakes. No deadline of their own. FailedPrecondition when the peer's certificate is not trusted.
Task<StatusOr<std::unique_ptr<Stream>>> ConnectTls(TcpSocket socket, std::string remote,
                                                   std::shared_ptr<TlsContext> tls, std::string host,
                                                   std::vector<std::string> alpn);
Task<StatusOr<std::unique_ptr<Stream>>> AcceptTls(TcpSocket socket, std::string remote,
                                                  std::shared_ptr<TlsContext> tls);

// One buffer for all readers of the thread, so that waiting connections hold none. What ReadSome() put there must be
// used up before the next suspension: ReadSome() fills it after its last one.
std::span<char> SharedReadBuffer();

}  // namespace vck::http::internal
