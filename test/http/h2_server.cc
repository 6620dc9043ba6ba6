#include "http/h2_server.h"

#include <algorithm>

#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>

#include "async/wait.h"
#include "http/tls_internal.h"

namespace vck::http::testing {

struct H2Server::Connection {
  struct StreamState {
    Request request;
    std::string out;
    size_t used = 0;
    bool hold_open = false;
  };
  H2Server* server = nullptr;
  size_t number = 0;
  std::unique_ptr<Stream> stream;
  nghttp2_session* session = nullptr;
  std::map<int32_t, StreamState> streams;
  Event writable;
  ~Connection() { nghttp2_session_del(session); }

  static Connection* Self(void* user) { return static_cast<Connection*>(user); }

  static int OnBegin(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Connection* self = Self(user);
    self->streams[frame->hd.stream_id].request.connection = self->number;
    self->server->most_streams_ = std::max(self->server->most_streams_, self->streams.size());
    return 0;
  }
  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                      const uint8_t* value, size_t value_size, uint8_t, void* user) {
    Request& request = Self(user)->streams[frame->hd.stream_id].request;
    std::string key(reinterpret_cast<const char*>(name), name_size);
    std::string text(reinterpret_cast<const char*>(value), value_size);
    if (key == ":method") request.method = text;
    if (key == ":path") request.path = text;
    if (key == ":authority") request.authority = text;
    return 0;
  }
  static int OnData(nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user) {
    Self(user)->streams[id].request.body.append(reinterpret_cast<const char*>(data), size);
    return 0;
  }
  static int OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type == NGHTTP2_RST_STREAM) ++Self(user)->server->resets_seen_;
    bool carries = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (carries && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) Self(user)->Respond(frame->hd.stream_id);
    return 0;
  }
  static int OnClose(nghttp2_session*, int32_t id, uint32_t, void* user) {
    Self(user)->streams.erase(id);
    return 0;
  }
  static ssize_t ReadBody(nghttp2_session*, int32_t id, uint8_t* buffer, size_t size, uint32_t* flags,
                          nghttp2_data_source*, void* user) {
    StreamState& state = Self(user)->streams[id];
    size_t n = std::min(size, state.out.size() - state.used);
    std::copy_n(state.out.data() + state.used, n, buffer);
    state.used += n;
    Self(user)->server->body_bytes_sent_ += static_cast<int64_t>(n);
    if (state.used == state.out.size() && !state.hold_open) *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (n == 0 && state.hold_open) return NGHTTP2_ERR_DEFERRED;
    return static_cast<ssize_t>(n);
  }

  void Respond(int32_t id) {
    StreamState& state = streams[id];
    state.request.stream = id;
    ++server->requests_;
    Answer answer = server->handler_(state.request);
    if (answer.never) return;
    if (answer.refuse_by_goaway) {
      nghttp2_submit_goaway(session, 0, id - 2, NGHTTP2_NO_ERROR, nullptr, 0);
      return;
    }
    if (answer.reset != 0) {
      nghttp2_submit_rst_stream(session, 0, id, answer.reset);
      return;
    }
    auto nv = [](std::string_view name, std::string_view value) {
      return nghttp2_nv{reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                        reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), 0};
    };
    if (answer.informational) {
      nghttp2_nv early[] = {nv(":status", "103"), nv("link", "x")};
      nghttp2_submit_headers(session, 0, id, nullptr, early, 2, nullptr);
    }
    std::string status = std::to_string(answer.status);
    std::string padding(answer.header_padding, 'p');
    std::vector<nghttp2_nv> fields{nv(":status", status), nv("x-test", "yes")};
    if (!padding.empty()) fields.push_back(nv("x-padding", padding));
    state.out = answer.body;
    state.hold_open = answer.hold_open;
    nghttp2_data_provider provider{{.ptr = nullptr}, ReadBody};
    nghttp2_submit_response(session, id, fields.data(), fields.size(),
                            answer.body.empty() && !answer.hold_open ? nullptr : &provider);
    if (answer.last) nghttp2_submit_goaway(session, 0, id, NGHTTP2_NO_ERROR, nullptr, 0);
  }
};

namespace {

int SelectH2(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in, unsigned int in_size,
             void*) {
  unsigned char* chosen = nullptr;
  int result = nghttp2_select_next_protocol(&chosen, out_size, in, in_size);
  *out = chosen;
  return result == 1 ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

}  // namespace

H2Server::H2Server(Net& net, Handler handler, H2Behaviour behaviour)
    : net_(net),
      handler_(std::move(handler)),
      behaviour_(behaviour),
      acceptor_(net.executor(), {asio::ip::make_address("127.0.0.1"), 0}),
      tls_(Pki::Get().Server()) {
  SSL_CTX_set_alpn_select_cb(static_cast<internal::TlsContextImpl&>(*tls_).ctx.get(), SelectH2, nullptr);
  port_ = acceptor_.local_endpoint().port();
  net_.group().Spawn("h2 server", Accept(this));
}

H2Server::~H2Server() = default;

void H2Server::CloseAll() {
  for (auto& connection : connections_) connection->stream->Close();
}

Task<> H2Server::Accept(H2Server* self) {
  while (true) {
    auto socket = co_await self->acceptor_.async_accept(kUseTask);
    self->net_.group().Spawn("h2 connection", Serve(self, std::move(socket)));
  }
}

Task<> H2Server::Serve(H2Server* self, internal::TcpSocket socket) {
  internal::TuneSocket(socket, {}, {});
  auto stream = co_await internal::AcceptTls(std::move(socket), "client", self->tls_);
  if (!stream.ok()) co_return;
  auto c = std::make_shared<Connection>();
  c->server = self;
  c->number = self->connections_.size();
  c->stream = *std::move(stream);
  self->connections_.push_back(c);
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, Connection::OnBegin);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, Connection::OnHeader);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Connection::OnData);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Connection::OnFrame);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Connection::OnClose);
  nghttp2_option* options = nullptr;
  nghttp2_option_new(&options);
  if (!self->behaviour_.answer_pings) nghttp2_option_set_no_auto_ping_ack(options, 1);
  nghttp2_session_server_new2(&c->session, callbacks, c.get(), options);
  nghttp2_option_del(options);
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, self->behaviour_.max_concurrent_streams}};
  nghttp2_submit_settings(c->session, 0, settings, 1);
  c->writable.Set();
  TaskGroup group(self->net_.executor());
  group.Spawn("read", Read(c));
  group.Spawn("write", Write(c));
  (void)co_await group.Join();
  c->stream->Close();
}

Task<Status> H2Server::Read(std::shared_ptr<Connection> c) {
  std::string buffer(16384, '\0');
  while (true) {
    CO_ASSIGN_OR_RETURN(size_t n, co_await c->stream->ReadSome(buffer));
    if (n == 0) co_return absl::UnavailableError("end");
    if (nghttp2_session_mem_recv(c->session, reinterpret_cast<const uint8_t*>(buffer.data()), n) < 0) {
      co_return absl::InternalError("the client broke the protocol");
    }
    c->writable.Set();
  }
}

Task<Status> H2Server::Write(std::shared_ptr<Connection> c) {
  while (true) {
    co_await c->writable.Wait();
    c->writable.Reset();
    while (true) {
      const uint8_t* data = nullptr;
      ssize_t n = nghttp2_session_mem_send(c->session, &data);
      if (n <= 0) break;
      std::string out(reinterpret_cast<const char*>(data), static_cast<size_t>(n));
      CO_RETURN_IF_ERROR(co_await c->stream->Write(out));
    }
  }
}

}  // namespace vck::http::testing
