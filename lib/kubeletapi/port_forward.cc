#include "kubeletapi/port_forward.h"

#include <map>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "async/task_group.h"
#include "base/log.h"
#include "http/websocket.h"
#include "kubeletapi/liveness.h"
#include "kubeletapi/tunnel.h"
#include "spdy/connection.h"

namespace vck::kubeletapi {
namespace {

using internal::Tunnel;

std::string ForwardError(const PortForwardOptions& options, uint16_t port, const Status& status) {
  return absl::StrCat("error forwarding port ", port, " to pod ", options.pod, ", uid ", options.uid, ": ",
                      status.message());
}

// ---- SPDY ----

class SpdyForwarder : public spdy::Events {
 public:
  SpdyForwarder(Clock& clock, Executor executor, std::unique_ptr<http::Stream> stream, std::string leftover,
                PortForwardOptions options)
      : clock_(clock),
        connection_(std::move(stream), std::move(leftover), {}),
        options_(std::move(options)),
        group_(executor) {}

  Task<> Run() {
    Liveness liveness(clock_, options_.idle_timeout,
                      {.moved = [this] { return Moved(); },
                       .hung_up = [this] { return connection_.stream().HungUp(); },
                       .end = [this] { group_.Cancel(); }});
    group_.Spawn("client", ReadClient(this));
    (void)co_await group_.Join();
  }

  // ---- spdy::Events ----
  void OnStream(uint32_t id, http::Headers headers) override {
    const auto port = ParsePort(headers.Get("port").value_or(""));
    const std::string type(headers.Get("streamtype").value_or(""));
    if (!port || (type != "data" && type != "error")) {
      connection_.session().Reset(id, spdy::ResetStatus::kCancel);
      return;
    }
    // Clients that give no number open the error stream first and the data stream next.
    std::string request(headers.Get("requestid").value_or(""));
    if (request.empty()) request = absl::StrCat(type == "error" ? id : id - 2);
    auto& pair = pairs_[request];
    const bool created = pair == nullptr;
    if (created) pair = std::make_shared<Pair>(&drained_);
    uint32_t& place = type == "data" ? pair->data_id : pair->error_id;
    if (place != 0) {
      connection_.session().Reset(id, spdy::ResetStatus::kCancel);
      return;
    }
    place = id;
    connection_.session().Reply(id);
    if (type == "data") {
      pair->port = *port;
      by_data_[id] = pair;
    }
    if (created) {
      pair->expiry = clock_.Schedule(clock_.Now() + options_.creation_timeout, [this, request] { Expire(request); });
    } else if (pair->data_id != 0 && pair->error_id != 0) {
      pair->expiry.Cancel();
      auto whole = pair;
      pairs_.erase(request);
      group_.Spawn("connection", Forward(this, std::move(whole)));
    }
  }
  void OnData(uint32_t id, std::string_view piece) override {
    if (auto pair = by_data_.find(id); pair != by_data_.end()) pair->second->tunnel.Push(piece);
  }
  void OnEnd(uint32_t id) override {
    if (auto pair = by_data_.find(id); pair != by_data_.end()) pair->second->tunnel.PushEnd();
  }
  void OnReset(uint32_t id, spdy::ResetStatus) override {
    if (auto pair = by_data_.find(id); pair != by_data_.end()) pair->second->tunnel.Abort();
  }

 private:
  // The two streams of a connection.
  struct Pair {
    explicit Pair(Signal* drained) : tunnel(drained) {}
    uint32_t data_id = 0, error_id = 0;
    uint16_t port = 0;
    Tunnel tunnel;
    Clock::Timer expiry;
  };

  static Task<> ReadClient(SpdyForwarder* self) {
    while (true) {
      while (self->AnyFull()) co_await self->drained_.Wait();
      auto more = co_await self->connection_.Receive(*self);
      if (!more.ok()) LogV(3, "The client of a port-forward has failed", {{"err", more.status()}});
      if (!more.ok() || !*more) break;
    }
    self->group_.Cancel();
  }

  static Task<> Forward(SpdyForwarder* self, std::shared_ptr<Pair> pair) {
    struct Gone {
      SpdyForwarder* self;
      Pair* pair;
      ~Gone() { self->by_data_.erase(pair->data_id); }
    } gone{self, pair.get()};
    Status status;
    auto guest = co_await self->options_.open(pair->port);
    if (guest.ok()) {
      status =
          co_await pair->tunnel.Run(*std::move(guest), [self, id = pair->data_id](std::string_view data, bool end) {
            return self->connection_.Send(id, data, end);
          });
    } else {
      status = guest.status();
      pair->tunnel.Abort();
    }
    spdy::Session& session = self->connection_.session();
    if (!status.ok() && !absl::IsCancelled(status)) {
      const std::string message = ForwardError(self->options_, pair->port, status);
      LogV(2, "Port-forward failed", {{"err", message}});
      session.Send(pair->error_id, message);
    }
    session.Send(pair->error_id, "", true);
    // A client whose data are of no more use is told so.
    if (status.ok()) {
      session.Send(pair->data_id, "", true);
    } else {
      session.Reset(pair->data_id, spdy::ResetStatus::kCancel);
    }
    (void)co_await self->connection_.Flush();
  }

  void Expire(const std::string& request) {
    auto found = pairs_.find(request);
    if (found == pairs_.end()) return;
    auto pair = found->second;
    pairs_.erase(found);
    spdy::Session& session = connection_.session();
    session.Send(pair->error_id, absl::StrCat("(request=", request, ") timed out waiting for streams"), true);
    session.Reset(pair->data_id, spdy::ResetStatus::kCancel);
    by_data_.erase(pair->data_id);
    pair->tunnel.Abort();  // tells ReadClient, should it wait for room there
    group_.Spawn("flush", FlushNow(this));
  }
  static Task<> FlushNow(SpdyForwarder* self) { (void)co_await self->connection_.Flush(); }

  [[nodiscard]] bool AnyFull() const {
    for (const auto& [id, pair] : by_data_) {
      if (pair->tunnel.full()) return true;
    }
    return false;
  }
  [[nodiscard]] uint64_t Moved() const {
    uint64_t out = connection_.moved();
    for (const auto& [id, pair] : by_data_) out += pair->tunnel.moved();
    return out;
  }

  Clock& clock_;
  spdy::Connection connection_;
  PortForwardOptions options_;
  absl::flat_hash_map<std::string, std::shared_ptr<Pair>> pairs_;  // not whole yet, by request
  absl::flat_hash_map<uint32_t, std::shared_ptr<Pair>> by_data_;
  Signal drained_;
  TaskGroup group_;
};

// ---- WebSocket ----

class WebSocketForwarder : public http::WebSocketEvents, public ChannelEvents {
 public:
  WebSocketForwarder(Clock& clock, Executor executor, std::unique_ptr<http::Stream> stream, std::string leftover,
                     ChannelProtocol protocol, std::vector<uint16_t> ports, PortForwardOptions options)
      : clock_(clock),
        socket_(std::move(stream), std::move(leftover)),
        protocol_(protocol),
        decoder_(protocol),
        options_(std::move(options)),
        group_(executor) {
    for (uint16_t port : ports) connections_.push_back(std::make_unique<PodPort>(port, &drained_));
  }

  Task<> Run() {
    Liveness liveness(clock_, options_.idle_timeout,
                      {.moved = [this] { return Moved(); },
                       .hung_up = [this] { return socket_.stream().HungUp(); },
                       .end = [this] { group_.Cancel(); }});
    // Each channel begins with its port, little-endian.
    for (size_t i = 0; i < connections_.size(); ++i) {
      const uint16_t port = connections_[i]->port;
      const std::string bytes = {static_cast<char>(port & 0xff), static_cast<char>(port >> 8)};
      AppendChannelMessage(&socket_.output(), protocol_, DataChannel(i), bytes);
      AppendChannelMessage(&socket_.output(), protocol_, ErrorChannel(i), bytes);
    }
    if (!(co_await socket_.Flush()).ok()) co_return;
    open_ = connections_.size();
    for (size_t i = 0; i < connections_.size(); ++i) group_.Spawn("port", Forward(this, i));
    group_.Spawn("client", ReadClient(this));
    (void)co_await group_.Join();
  }

  void OnMessage(http::WebSocketOp, std::string_view piece, bool begin, bool end) override {
    if (status_.ok()) status_ = decoder_.Feed(piece, begin, end, *this);
  }
  void OnChannel(uint8_t channel, std::string_view piece) override {
    if (channel % 2 == 0 && channel / 2 < connections_.size()) connections_[channel / 2]->tunnel.Push(piece);
  }

 private:
  struct PodPort {
    PodPort(uint16_t p, Signal* drained) : port(p), tunnel(drained) {}
    uint16_t port;
    Tunnel tunnel;
  };

  static uint8_t DataChannel(size_t i) { return static_cast<uint8_t>(i * 2); }
  static uint8_t ErrorChannel(size_t i) { return static_cast<uint8_t>(i * 2 + 1); }

  static Task<> ReadClient(WebSocketForwarder* self) {
    while (true) {
      while (self->AnyFull()) co_await self->drained_.Wait();
      auto more = co_await self->socket_.Receive(*self);
      if (!self->status_.ok()) {
        (void)co_await self->socket_.Close(http::kCloseProtocolError, self->status_.message());
        break;
      }
      if (!more.ok() || !*more) break;
    }
    self->group_.Cancel();
  }

  static Task<> Forward(WebSocketForwarder* self, size_t i) {
    PodPort& port = *self->connections_[i];
    Status status;
    auto guest = co_await self->options_.open(port.port);
    if (guest.ok()) {
      status = co_await port.tunnel.Run(
          *std::move(guest), [self, i](std::string_view data, bool end) { return Write(self, DataChannel(i), data); });
    } else {
      status = guest.status();
      port.tunnel.Abort();
    }
    if (!status.ok() && !absl::IsCancelled(status)) {
      (void)co_await Write(self, ErrorChannel(i), ForwardError(self->options_, port.port, status));
    }
    if (--self->open_ > 0) co_return;
    (void)co_await self->socket_.Close(http::kCloseNormal, "");
    co_await self->socket_.stream().ShutdownWrite();
    // As of commands: the client closes when it has read all, which ends ReadClient.
    co_await self->clock_.Sleep(self->options_.linger);
    self->group_.Cancel();
  }

  // There is no word for the end of one channel.
  static Task<Status> Write(WebSocketForwarder* self, uint8_t channel, std::string_view data) {
    if (data.empty()) co_return absl::OkStatus();
    AppendChannelMessage(&self->socket_.output(), self->protocol_, channel, data);
    co_return co_await self->socket_.Flush();
  }

  [[nodiscard]] bool AnyFull() const {
    for (const auto& connection : connections_) {
      if (connection->tunnel.full()) return true;
    }
    return false;
  }
  [[nodiscard]] uint64_t Moved() const {
    uint64_t out = socket_.moved();
    for (const auto& connection : connections_) out += connection->tunnel.moved();
    return out;
  }

  Clock& clock_;
  http::WebSocket socket_;
  ChannelProtocol protocol_;
  ChannelDecoder decoder_;
  PortForwardOptions options_;
  std::vector<std::unique_ptr<PodPort>> connections_;
  size_t open_ = 0;
  Status status_;
  Signal drained_;
  TaskGroup group_;
};

}  // namespace

std::optional<uint16_t> ParsePort(std::string_view text) {
  uint32_t port = 0;
  if (text.empty() || text.size() > 5 || text.find_first_not_of("0123456789") != std::string_view::npos ||
      !absl::SimpleAtoi(text, &port) || port == 0 || port > 0xffff) {
    return std::nullopt;
  }
  return static_cast<uint16_t>(port);
}

Task<> RunSpdyPortForward(Clock& clock, std::unique_ptr<http::Stream> stream, std::string leftover,
                          PortForwardOptions options) {
  SpdyForwarder forwarder(clock, co_await asio::this_coro::executor, std::move(stream), std::move(leftover),
                          std::move(options));
  co_await forwarder.Run();
}

Task<> RunWebSocketPortForward(Clock& clock, std::unique_ptr<http::Stream> stream, std::string leftover,
                               ChannelProtocol protocol, std::vector<uint16_t> ports, PortForwardOptions options) {
  WebSocketForwarder forwarder(clock, co_await asio::this_coro::executor, std::move(stream), std::move(leftover),
                               protocol, std::move(ports), std::move(options));
  co_await forwarder.Run();
}

}  // namespace vck::kubeletapi
