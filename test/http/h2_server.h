// A small HTTP/2 server over nghttp2 whose misbehaviour the test chooses.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "http/net.h"

namespace vck::http::testing {

struct H2Behaviour {
  uint32_t max_concurrent_streams = 100;
  bool answer_pings = true;
};

class H2Server {
 public:
  struct Request {
    std::string method, path, body, authority;
    size_t connection = 0;  // from 0
    int32_t stream = 0;
  };
  struct Answer {
    int status = 200;
    std::string body;
    bool hold_open = false;         // no END_STREAM after the body
    bool never = false;             // no answer at all
    uint32_t reset = 0;             // RST_STREAM with this code instead
    bool refuse_by_goaway = false;  // GOAWAY that does not count this stream
    bool last = false;              // GOAWAY after this stream
    bool informational = false;     // 103 first
    size_t header_padding = 0;      // bytes of an extra header field
  };
  using Handler = std::function<Answer(const Request&)>;
  H2Server(Net& net, Handler handler, H2Behaviour behaviour = {});
  ~H2Server();
  [[nodiscard]] uint16_t port() const { return port_; }
  [[nodiscard]] size_t connections() const { return connections_.size(); }
  [[nodiscard]] size_t most_streams() const { return most_streams_; }  // at once, on one connection
  [[nodiscard]] int resets_seen() const { return resets_seen_; }
  [[nodiscard]] int64_t body_bytes_sent() const { return body_bytes_sent_; }
  [[nodiscard]] int requests() const { return requests_; }
  void CloseAll();  // cuts all connections

  struct Connection;
  friend struct Connection;

 private:
  using Acceptor = asio::basic_socket_acceptor<asio::ip::tcp, Executor>;
  static Task<> Accept(H2Server* self);
  static Task<> Serve(H2Server* self, internal::TcpSocket socket);
  static Task<Status> Read(std::shared_ptr<Connection> c);
  static Task<Status> Write(std::shared_ptr<Connection> c);
  Net& net_;
  Handler handler_;
  H2Behaviour behaviour_;
  Acceptor acceptor_;
  std::shared_ptr<TlsContext> tls_;
  uint16_t port_ = 0;
  std::vector<std::shared_ptr<Connection>> connections_;
  size_t most_streams_ = 0;
  int resets_seen_ = 0;
  int requests_ = 0;
  int64_t body_bytes_sent_ = 0;
};

}  // namespace vck::http::testing
