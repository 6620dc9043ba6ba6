#include "http/h2_once.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include <nghttp2/nghttp2.h>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "http/h1.h"
#include "http/socket_stream.h"

namespace vck::http {
namespace {

struct Exchange {
  std::string_view body;  // of the request, not sent yet
  size_t max_bytes = 0;
  size_t bytes = 0;
  int32_t id = -1;
  bool header_done = false;
  bool ended = false;  // END_STREAM came
  bool closed = false;
  bool too_large = false;
  uint32_t error = 0;
  TrailedResponse out;

  static Exchange* Of(void* user) { return static_cast<Exchange*>(user); }
  bool Count(size_t n) {
    bytes += n;
    too_large = too_large || bytes > max_bytes;
    return !too_large;
  }
};

int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size, const uint8_t* value,
             size_t value_size, uint8_t, void* user) {
  Exchange* exchange = Exchange::Of(user);
  if (frame->hd.stream_id != exchange->id) return 0;
  if (!exchange->Count(name_size + value_size + 32)) return NGHTTP2_ERR_CALLBACK_FAILURE;
  std::string key(reinterpret_cast<const char*>(name), name_size);
  std::string text(reinterpret_cast<const char*>(value), value_size);
  if (exchange->header_done) {
    exchange->out.trailers.Add(std::move(key), std::move(text));
  } else if (key == ":status") {
    (void)absl::SimpleAtoi(text, &exchange->out.response.status);
  } else {
    exchange->out.response.headers.Add(std::move(key), std::move(text));
  }
  return 0;
}

int OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
  Exchange* exchange = Exchange::Of(user);
  if (frame->hd.stream_id != exchange->id) return 0;
  if (frame->hd.type == NGHTTP2_HEADERS && !exchange->header_done) {
    if (exchange->out.response.status / 100 == 1) {
      exchange->out.response = {};
    } else {
      exchange->header_done = true;
    }
  }
  const bool carries = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
  if (carries && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) exchange->ended = true;
  return 0;
}

int OnData(nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user) {
  Exchange* exchange = Exchange::Of(user);
  if (id != exchange->id) return 0;
  if (!exchange->Count(size)) return NGHTTP2_ERR_CALLBACK_FAILURE;
  exchange->out.response.body.append(reinterpret_cast<const char*>(data), size);
  return 0;
}

int OnClose(nghttp2_session*, int32_t id, uint32_t error, void* user) {
  Exchange* exchange = Exchange::Of(user);
  if (id != exchange->id) return 0;
  exchange->closed = true;
  exchange->error = error;
  return 0;
}

ssize_t ReadBody(nghttp2_session*, int32_t, uint8_t* buffer, size_t size, uint32_t* flags, nghttp2_data_source* source,
                 void*) {
  auto* exchange = static_cast<Exchange*>(source->ptr);
  const size_t n = std::min(size, exchange->body.size());
  std::memcpy(buffer, exchange->body.data(), n);
  exchange->body.remove_prefix(n);
  if (exchange->body.empty()) *flags |= NGHTTP2_DATA_FLAG_EOF;
  return static_cast<ssize_t>(n);
}

struct Deleter {
  void operator()(nghttp2_session* session) const { nghttp2_session_del(session); }
};
using Session = std::unique_ptr<nghttp2_session, Deleter>;

Session NewSession(Exchange* exchange) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, OnHeader);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, OnFrame);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnData);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, OnClose);
  nghttp2_session* session = nullptr;
  nghttp2_session_client_new(&session, callbacks, exchange);
  nghttp2_session_callbacks_del(callbacks);
  const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
  nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  return Session(session);
}

Status Submit(nghttp2_session* session, Exchange* exchange, const std::string& scheme, const Request& request,
              const std::string& authority) {
  std::vector<std::pair<std::string, std::string>> fields = {
      {":method", request.method}, {":scheme", scheme}, {":authority", authority}, {":path", request.target}};
  for (const auto& [name, value] : request.headers.fields()) {
    std::string lower = absl::AsciiStrToLower(name);
    if (lower != "host" && !internal::IsFramingField(lower)) fields.emplace_back(std::move(lower), value);
  }
  std::vector<nghttp2_nv> wire;
  wire.reserve(fields.size());
  for (auto& [name, value] : fields) {
    wire.push_back({reinterpret_cast<uint8_t*>(name.data()), reinterpret_cast<uint8_t*>(value.data()), name.size(),
                    value.size(), NGHTTP2_NV_FLAG_NONE});
  }
  exchange->body = request.body;
  nghttp2_data_provider provider{{.ptr = exchange}, ReadBody};
  exchange->id = nghttp2_submit_request(session, nullptr, wire.data(), wire.size(),
                                        request.body.empty() ? nullptr : &provider, nullptr);
  if (exchange->id < 0) return absl::InternalError(absl::StrCat("HTTP/2: ", nghttp2_strerror(exchange->id)));
  return absl::OkStatus();
}

Status Broken(ssize_t error) {
  return absl::UnavailableError(absl::StrCat("HTTP/2: ", nghttp2_strerror(static_cast<int>(error))));
}

}  // namespace

Task<StatusOr<TrailedResponse>> RequestH2(Stream& stream, std::string scheme, Request request, size_t max_bytes) {
  Exchange exchange;
  exchange.max_bytes = max_bytes;
  Session session = NewSession(&exchange);
  const std::string authority(request.headers.Get("Host").value_or(stream.remote_address()));
  CO_RETURN_IF_ERROR(Submit(session.get(), &exchange, scheme, request, authority));
  while (true) {
    while (true) {
      const uint8_t* data = nullptr;
      const ssize_t n = nghttp2_session_mem_send(session.get(), &data);
      if (n < 0) co_return Broken(n);
      if (n == 0) break;
      CO_RETURN_IF_ERROR(co_await stream.Write({reinterpret_cast<const char*>(data), static_cast<size_t>(n)}));
    }
    if (exchange.ended) co_return std::move(exchange.out);
    if (exchange.closed) {
      co_return absl::UnavailableError(
          absl::StrCat("the server reset the stream: ", nghttp2_http2_strerror(exchange.error)));
    }
    std::span<char> buffer = internal::SharedReadBuffer();
    CO_ASSIGN_OR_RETURN(size_t n, co_await stream.ReadSome(buffer));
    if (n == 0) co_return absl::UnavailableError("the server closed the connection");
    const ssize_t used = nghttp2_session_mem_recv(session.get(), reinterpret_cast<const uint8_t*>(buffer.data()), n);
    if (exchange.too_large) co_return absl::ResourceExhaustedError("the response is too large");
    if (used < 0) co_return Broken(used);
  }
}

}  // namespace vck::http
