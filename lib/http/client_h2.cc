#include "http/client_h2.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <nghttp2/nghttp2.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "async/task_group.h"
#include "http/h1.h"
#include "http/socket_stream.h"

namespace vck::http::internal {
namespace {

constexpr int32_t kStreamWindow = 256 * 1024;
constexpr int32_t kConnectionWindow = 1024 * 1024;
constexpr size_t kPiece = size_t{64} * 1024;
constexpr size_t kOneWrite = size_t{64} * 1024;   // frames are gathered up to this for one write
constexpr uint32_t kStreamsBeforeSettings = 100;  // RFC 9113 §6.5.2: what a server should allow at least

Status StreamError(uint32_t code) {
  return absl::UnavailableError(absl::StrCat("the server reset the stream: ", nghttp2_http2_strerror(code)));
}

}  // namespace

class H2Stream {
 public:
  int32_t id = -1;
  int status = 0;
  Headers headers;
  size_t header_bytes = 0;
  bool header_done = false;
  bool ended = false;    // END_STREAM came
  bool closed = false;   // nghttp2 knows it no more
  bool refused = false;  // the server did nothing with it
  bool too_long = false;
  bool got_any = false;
  Status error;
  Signal changed;

  std::string in;         // received, not yet taken
  std::string_view body;  // to send, of the request; valid until Start() returns
  std::string out;        // to send, of an upload
  size_t out_used = 0;
  bool upload = false;
  bool out_end = false;
  bool starved = false;  // nghttp2 waits for `out`
  bool stopped = false;  // abandoned: what was to be sent is gone
  bool sent = false;     // its HEADERS frame went to the socket
};

struct H2Callbacks {
  static H2Connection* Self(void* user) { return static_cast<H2Connection*>(user); }
  static H2Stream* Find(void* user, int32_t id) {
    auto& streams = Self(user)->streams_;
    auto it = streams.find(id);
    return it == streams.end() ? nullptr : it->second.get();
  }

  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                      const uint8_t* value, size_t value_size, uint8_t, void* user) {
    H2Stream* stream = Find(user, frame->hd.stream_id);
    if (stream == nullptr || stream->header_done) return 0;  // trailers
    stream->header_bytes += name_size + value_size + 32;     // RFC 9113 §6.5.2 counts so
    if (stream->header_bytes > Self(user)->core_->options.max_header_bytes) {
      stream->too_long = true;
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    std::string_view key(reinterpret_cast<const char*>(name), name_size);
    std::string_view text(reinterpret_cast<const char*>(value), value_size);
    if (key == ":status") {
      (void)absl::SimpleAtoi(text, &stream->status);
    } else {
      stream->headers.Add(std::string(key), std::string(text));
    }
    return 0;
  }

  static int OnFrame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    H2Connection* self = Self(user);
    if (frame->hd.type == NGHTTP2_SETTINGS && (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
      self->settings_seen_ = true;
      self->changed_->NotifyAll();
    }
    if (frame->hd.type == NGHTTP2_GOAWAY) self->Drain();
    H2Stream* stream = Find(user, frame->hd.stream_id);
    if (stream == nullptr) return 0;
    stream->got_any = true;
    if (frame->hd.type == NGHTTP2_HEADERS && !stream->header_done) {
      if (stream->status / 100 == 1) {
        stream->status = 0;
        stream->headers = {};
      } else {
        stream->header_done = true;
        stream->changed.NotifyAll();
      }
    }
    bool carries = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (carries && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
      stream->ended = true;
      stream->changed.NotifyAll();
    }
    return 0;
  }

  static int OnData(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user) {
    // The connection's window is given back at once, or a few slow readers would stop everyone; the stream's own holds
    // back its sender.
    nghttp2_session_consume_connection(session, size);
    H2Stream* stream = Find(user, id);
    if (stream == nullptr) return 0;
    stream->in.append(reinterpret_cast<const char*>(data), size);
    stream->changed.NotifyAll();
    return 0;
  }

  static int OnSent(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    if (H2Stream* stream = Find(user, frame->hd.stream_id)) stream->sent = true;
    return 0;
  }

  static int OnClose(nghttp2_session*, int32_t id, uint32_t error, void* user) {
    Self(user)->Closed(id, error);
    return 0;
  }

  static ssize_t ReadBody(nghttp2_session*, int32_t, uint8_t* buffer, size_t size, uint32_t* flags,
                          nghttp2_data_source* source, void*) {
    auto* stream = static_cast<H2Stream*>(source->ptr);
    if (stream->stopped) return NGHTTP2_ERR_DEFERRED;
    std::string_view from = stream->upload ? std::string_view(stream->out).substr(stream->out_used) : stream->body;
    size_t n = std::min(size, from.size());
    std::memcpy(buffer, from.data(), n);
    if (stream->upload) {
      stream->out_used += n;
    } else {
      stream->body.remove_prefix(n);
    }
    bool empty = n == from.size();
    if (empty && (!stream->upload || stream->out_end)) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
    } else if (n == 0) {
      stream->starved = true;
      stream->changed.NotifyAll();
      return NGHTTP2_ERR_DEFERRED;
    }
    return static_cast<ssize_t>(n);
  }
};

// Reads a response's body; when it goes, so does the stream.
class H2Body : public BodyReader {
 public:
  H2Body(std::shared_ptr<H2Connection> connection, std::shared_ptr<H2Stream> stream)
      : connection_(std::move(connection)), stream_(std::move(stream)) {}
  ~H2Body() override { connection_->Abandon(stream_.get()); }
  H2Body(const H2Body&) = delete;
  H2Body& operator=(const H2Body&) = delete;

  Task<StatusOr<std::string>> Read() override {
    while (true) {
      if (!stream_->in.empty()) {
        std::string piece;
        if (stream_->in.size() <= kPiece) {
          piece = std::exchange(stream_->in, {});
        } else {
          piece = stream_->in.substr(0, kPiece);
          stream_->in.erase(0, kPiece);
        }
        connection_->Consumed(stream_.get(), piece.size());
        co_return piece;
      }
      if (stream_->ended) co_return std::string();
      if (stream_->closed) co_return stream_->error;
      co_await stream_->changed.Wait();
    }
  }

 private:
  std::shared_ptr<H2Connection> connection_;
  std::shared_ptr<H2Stream> stream_;
};

H2Connection::H2Connection(std::shared_ptr<ClientCore> core, std::unique_ptr<Stream> stream, Signal* changed)
    : core_(std::move(core)), stream_(std::move(stream)), changed_(changed) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, H2Callbacks::OnHeader);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, H2Callbacks::OnFrame);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, H2Callbacks::OnData);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, H2Callbacks::OnClose);
  nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, H2Callbacks::OnSent);
  nghttp2_option* options = nullptr;
  nghttp2_option_new(&options);
  nghttp2_option_set_no_auto_window_update(options, 1);
  nghttp2_session_client_new2(&session_, callbacks, this, options);
  nghttp2_option_del(options);
  nghttp2_session_callbacks_del(callbacks);

  nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<uint32_t>(core_->options.max_header_bytes)}};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
  writable_.Set();
  last_received_ = idle_since_ = core_->clock.Now();
  ++core_->stats.open_connections;
}

H2Connection::~H2Connection() { nghttp2_session_del(session_); }

Task<> H2Connection::Run() {
  // Held by the frame: the last user may go while the loops unwind.
  auto self = shared_from_this();
  TaskGroup group(co_await asio::this_coro::executor);
  group.Spawn("read", ReadLoop());
  group.Spawn("write", WriteLoop());
  ArmTimer();
  Status why;
  bool aborted = false;
  try {
    why = co_await group.Join();
  } catch (const boost::system::system_error& e) {
    if (!IsCancelled(e)) throw;
    aborted = true;
  }
  timer_.Cancel();
  Fail(aborted ? ClosedClient() : !error_.ok() ? error_ : why);
  --core_->stats.open_connections;
  if (aborted) ThrowCancelled();
}

bool H2Connection::CanTake() const {
  if (draining_ || !nghttp2_session_check_request_allowed(session_)) return false;
  uint32_t limit = settings_seen_
                       ? nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
                       : kStreamsBeforeSettings;
  return streams_.size() < limit;
}

void H2Connection::Drain() {
  draining_ = true;
  writable_.Set();
  changed_->NotifyAll();
}

Task<Status> H2Connection::ReadLoop() {
  while (true) {
    std::span<char> buffer = SharedReadBuffer();
    CO_ASSIGN_OR_RETURN(size_t n, co_await stream_->ReadSome(buffer));
    if (n == 0) co_return absl::UnavailableError("the server closed the connection");
    last_received_ = core_->clock.Now();
    pinged_ = false;
    ssize_t used = nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(buffer.data()), n);
    if (used < 0) {
      co_return absl::UnavailableError(absl::StrCat("HTTP/2: ", nghttp2_strerror(static_cast<int>(used))));
    }
    writable_.Set();
  }
}

Task<Status> H2Connection::WriteLoop() {
  while (true) {
    co_await writable_.Wait();
    writable_.Reset();
    while (true) {
      std::string out;
      while (out.size() < kOneWrite) {
        const uint8_t* data = nullptr;
        ssize_t n = nghttp2_session_mem_send(session_, &data);
        if (n < 0) {
          co_return absl::UnavailableError(absl::StrCat("HTTP/2: ", nghttp2_strerror(static_cast<int>(n))));
        }
        if (n == 0) break;
        out.append(reinterpret_cast<const char*>(data), static_cast<size_t>(n));
      }
      if (out.empty()) break;
      CO_RETURN_IF_ERROR(co_await stream_->Write(out));
    }
    bool over = !nghttp2_session_want_read(session_) && !nghttp2_session_want_write(session_);
    if (over || (draining_ && streams_.empty())) co_return absl::UnavailableError("the connection was drained");
  }
}

Task<StatusOr<StreamingResponse>> H2Connection::Start(Call call) {
  const Request& request = *call.request;
  const Url& origin = core_->options.origin;
  std::vector<std::pair<std::string, std::string>> fields;
  bool standard = origin.port == (origin.scheme == "https" ? 443 : 80);
  std::string authority = origin.HostPort();
  if (standard) authority.resize(authority.rfind(':'));
  fields.emplace_back(":method", request.method);
  fields.emplace_back(":scheme", origin.scheme);
  fields.emplace_back(":authority", std::string(request.headers.Get("Host").value_or(authority)));
  fields.emplace_back(":path", request.target);
  for (const auto& [name, value] : request.headers.fields()) {
    // RFC 9113 §8.2.2: nothing about the connection.
    std::string lower = absl::AsciiStrToLower(name);
    if (lower == "host" || lower == "connection" || lower == "keep-alive" || lower == "upgrade" ||
        lower == "proxy-connection" || lower == "te" || IsFramingField(lower)) {
      continue;
    }
    fields.emplace_back(std::move(lower), value);
  }
  bool has_body = call.upload != nullptr || !request.body.empty();
  int64_t size = call.upload != nullptr ? call.upload->size : static_cast<int64_t>(request.body.size());
  if (has_body && size >= 0) fields.emplace_back("content-length", absl::StrCat(size));
  std::vector<nghttp2_nv> wire;
  wire.reserve(fields.size());
  for (auto& [name, value] : fields) {
    wire.push_back({reinterpret_cast<uint8_t*>(name.data()), reinterpret_cast<uint8_t*>(value.data()), name.size(),
                    value.size(),
                    static_cast<uint8_t>(absl::EqualsIgnoreCase(name, "authorization") ? NGHTTP2_NV_FLAG_NO_INDEX
                                                                                       : NGHTTP2_NV_FLAG_NONE)});
  }
  auto stream = std::make_shared<H2Stream>();
  stream->body = request.body;
  stream->upload = call.upload != nullptr;
  nghttp2_data_provider provider{{.ptr = stream.get()}, H2Callbacks::ReadBody};
  int32_t id =
      nghttp2_submit_request(session_, nullptr, wire.data(), wire.size(), has_body ? &provider : nullptr, nullptr);
  if (id < 0) {
    call.progress->not_handled = true;
    draining_ = draining_ || id == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE;
    co_return absl::UnavailableError(absl::StrCat("HTTP/2: ", nghttp2_strerror(id)));
  }
  stream->id = id;
  streams_[id] = stream;
  call.progress->maybe_sent = true;
  writable_.Set();
  ArmTimer();
  // From here on the body object ends the stream if this coroutine is cancelled.
  auto body = std::make_unique<H2Body>(shared_from_this(), stream);
  if (call.upload != nullptr) CO_RETURN_IF_ERROR(co_await FeedBody(stream, call));
  while (!stream->header_done && !stream->closed) co_await stream->changed.Wait();
  if (!stream->header_done) {
    call.progress->not_handled = stream->refused;
    call.progress->stale = !stream->refused && !stream->got_any && !error_.ok();
    if (stream->too_long) co_return absl::ResourceExhaustedError("the header is too long");
    co_return Annotate(
        stream->error.ok() ? absl::UnavailableError("the stream ended without a response") : stream->error,
        origin.HostPort());
  }
  if (!stream->body.empty()) {
    // The server answers before it has all; the rest must not be read from a frame that is gone.
    stream->out = stream->body;
    stream->body = {};
    stream->upload = stream->out_end = true;
  }
  StreamingResponse response;
  response.status = stream->status;
  response.headers = std::move(stream->headers);
  response.body = std::move(body);
  co_return response;
}

// Gives the body to nghttp2 piece by piece, until its end or until the server has answered.
Task<Status> H2Connection::FeedBody(StreamPtr stream, Call call) {
  int64_t left = call.upload->size;
  while (true) {
    while (!stream->starved && !stream->closed && !stream->header_done) co_await stream->changed.Wait();
    if (stream->closed || stream->header_done) co_return absl::OkStatus();
    call.progress->source_used = true;
    CO_ASSIGN_OR_RETURN(std::string piece, co_await call.upload->source());
    left -= static_cast<int64_t>(piece.size());
    if (call.upload->size >= 0 && (left < 0 || (piece.empty() && left > 0))) {
      co_return absl::InvalidArgumentError("the body is not as long as was said");
    }
    stream->out_end = piece.empty() || (call.upload->size >= 0 && left == 0);
    stream->out = std::move(piece);
    stream->out_used = 0;
    stream->starved = false;
    if (!stream->closed) {
      nghttp2_session_resume_data(session_, stream->id);
      writable_.Set();
    }
    if (stream->out_end) co_return absl::OkStatus();
  }
}

void H2Connection::Consumed(H2Stream* stream, size_t bytes) {
  if (stream->closed) return;
  nghttp2_session_consume_stream(session_, stream->id, bytes);
  if (nghttp2_session_want_write(session_)) writable_.Set();
}

void H2Connection::Abandon(H2Stream* stream) {
  if (stream->closed) return;
  stream->stopped = true;
  stream->body = {};
  stream->in = {};
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_CANCEL);
  writable_.Set();
}

void H2Connection::Closed(int32_t id, uint32_t error) {
  auto it = streams_.find(id);
  if (it == streams_.end()) return;
  StreamPtr stream = std::move(it->second);
  streams_.erase(it);
  stream->closed = true;
  stream->refused = error == NGHTTP2_REFUSED_STREAM;
  if (!stream->ended) stream->error = StreamError(error);
  stream->changed.NotifyAll();
  if (streams_.empty()) idle_since_ = core_->clock.Now();
  if (draining_) writable_.Set();
  changed_->NotifyAll();
}

void H2Connection::Fail(Status why) {
  error_ = why.ok() ? absl::UnavailableError("the connection ended") : why;
  draining_ = true;
  stream_->Close();
  for (auto& [id, stream] : streams_) {
    stream->closed = true;
    stream->refused = !stream->sent;
    stream->error = error_;
    stream->changed.NotifyAll();
  }
  streams_.clear();
  changed_->NotifyAll();
}

void H2Connection::ArmTimer() {
  if (timer_.armed()) return;
  absl::Duration wait = std::min(core_->options.ping_interval, core_->options.idle_timeout);
  timer_ = core_->clock.Schedule(core_->clock.Now() + wait, [this] { OnQuiet(); });
}

void H2Connection::OnQuiet() {
  Instant now = core_->clock.Now();
  if (streams_.empty()) {
    pinged_ = false;
    if (now - idle_since_ >= core_->options.idle_timeout) return Drain();
  } else if (pinged_ && now - ping_sent_ >= core_->options.ping_interval) {
    error_ = absl::UnavailableError("the server does not answer a PING");
    stream_->Close();
    return;
  } else if (!pinged_ && now - last_received_ >= core_->options.ping_interval) {
    nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
    pinged_ = true;
    ping_sent_ = now;
    writable_.Set();
  }
  ArmTimer();
}

}  // namespace vck::http::internal
