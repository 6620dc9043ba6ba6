#include "guestlink/links.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "async/limiter.h"
#include "async/task_group.h"
#include "async/timeout.h"
#include "base/log.h"
#include "guestlink/link.h"
#include "guestlink/trust.h"
#include "http/client.h"

namespace vck::guestlink {
namespace {

using guestapi::GuestState;
using internal::Connection;
using internal::Link;
using internal::Session;
using internal::Trust;

constexpr BackoffPolicy kReconnect{.initial = absl::Milliseconds(100), .max = absl::Seconds(5)};
// A connection that lasted so long was a good one.
constexpr absl::Duration kStable = absl::Seconds(5);

// Of all readers: nothing that waits holds a buffer.
std::span<char> ReadBuffer() {
  thread_local std::array<char, size_t{64} * 1024> buffer;
  return buffer;
}

constexpr size_t kMaxErrorBody = size_t{64} * 1024;
constexpr std::string_view kTetherErrorPayload = "vck/guestlink/tether-error";

struct ErrorBody {
  std::string code, message;
};
ErrorBody ReadError(std::string_view body) {
  auto document = json::Document::Parse(body);
  if (!document.ok()) return {};
  const json::Value* error = json::Get(document->root(), "error");
  return {std::string(json::String(error, "code")), std::string(json::String(error, "message"))};
}

absl::StatusCode CodeOf(int http_status) {
  switch (http_status) {
    case 400:
      return absl::StatusCode::kInvalidArgument;
    case 403:
      return absl::StatusCode::kPermissionDenied;
    case 404:
      return absl::StatusCode::kNotFound;
    case 409:
      return absl::StatusCode::kFailedPrecondition;
    case 429:
      return absl::StatusCode::kResourceExhausted;
    case 426:
    case 501:
      return absl::StatusCode::kUnimplemented;
    case 502:
    case 503:
    case 504:
      return absl::StatusCode::kUnavailable;
    default:
      return absl::StatusCode::kInternal;
  }
}

// An answer that is not the one asked for.
Status ErrorOf(int http_status, std::string_view body) {
  ErrorBody error = ReadError(body);
  if (error.message.empty()) error.message = absl::StrCat("the guest answered ", http_status);
  Status status(CodeOf(http_status), error.message);
  status.SetPayload(kTetherErrorPayload, absl::Cord(absl::StrCat(http_status, " ", error.code)));
  return status;
}

// Known to its session, which closes it when the guest is not wanted any more.
class FurtherStream : public http::Stream {
 public:
  FurtherStream(std::shared_ptr<Session> session, std::unique_ptr<http::Stream> stream)
      : session_(std::move(session)), stream_(std::move(stream)) {
    session_->streams.insert(stream_.get());
  }
  ~FurtherStream() override { session_->streams.erase(stream_.get()); }
  Task<StatusOr<size_t>> ReadSome(std::span<char> buffer) override { return stream_->ReadSome(buffer); }
  Task<Status> WaitReadable() override { return stream_->WaitReadable(); }
  Task<Status> Write(std::string_view data) override { return stream_->Write(data); }
  Task<> ShutdownWrite() override { return stream_->ShutdownWrite(); }
  void Close() override { stream_->Close(); }
  [[nodiscard]] bool ReadableNow() const override { return stream_->ReadableNow(); }
  [[nodiscard]] bool HungUp() const override { return stream_->HungUp(); }
  [[nodiscard]] std::string PeerKeyHash() const override { return stream_->PeerKeyHash(); }
  [[nodiscard]] PeerName Peer() const override { return stream_->Peer(); }
  [[nodiscard]] std::string alpn() const override { return stream_->alpn(); }
  [[nodiscard]] std::string remote_address() const override { return stream_->remote_address(); }

 private:
  std::shared_ptr<Session> session_;
  std::unique_ptr<http::Stream> stream_;
};

bool Contains(const std::vector<std::string>& list, const std::string& text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

class LinksImpl : public Links {
 public:
  LinksImpl(Executor executor, Clock& clock, metrics::Registry& registry, Options options, std::unique_ptr<Trust> trust)
      : clock_(clock),
        options_(std::move(options)),
        trust_(std::move(trust)),
        handshakes_(options_.max_handshakes),
        further_handshakes_(options_.max_handshakes),
        handshakes_ok_(registry.counter("vch_guest_handshakes_total", kHandshakesHelp, {{"result", "ok"}})),
        handshakes_failed_(registry.counter("vch_guest_handshakes_total", kHandshakesHelp, {{"result", "failed"}})),
        handshakes_refused_(registry.counter("vch_guest_handshakes_total", kHandshakesHelp, {{"result", "refused"}})),
        reconnects_(registry.counter("vch_guest_reconnects_total", "Channels that were lost and are made again")),
        connected_(registry.gauge("vch_guest_links", kLinksHelp, {{"state", "connected"}})),
        connecting_(registry.gauge("vch_guest_links", kLinksHelp, {{"state", "connecting"}})),
        group_(executor) {}

  void Connect(const std::string& pod_uid, const Endpoint& endpoint) override {
    Link& link = links_[pod_uid];
    if (link.session != nullptr && link.session->endpoint == endpoint) return;
    EndSession(&link);
    link.session = std::make_shared<Session>(kReconnect);
    link.session->pod_uid = pod_uid;
    link.session->endpoint = endpoint;
    connecting_.Increment();
    if (running_) group_.Spawn(pod_uid, RunSession(this, link.session));
    auto known = states_.Get(pod_uid);
    if (known != nullptr && known->connected) PutDisconnected(pod_uid, "");
  }

  void Disconnect(const std::string& pod_uid) override {
    auto link = links_.find(pod_uid);
    if (link == links_.end()) return;
    EndSession(&link->second);
    auto known = states_.Get(pod_uid);
    if (known != nullptr && (known->connected || !known->error.empty())) PutDisconnected(pod_uid, "");
  }

  void Forget(const std::string& pod_uid) override {
    auto link = links_.find(pod_uid);
    if (link == links_.end()) return;
    EndSession(&link->second);
    links_.erase(link);
    states_.Erase(pod_uid);
  }

  void Push(const std::string& pod_uid, std::shared_ptr<const guestapi::GuestSpec> spec) override {
    Link& link = links_[pod_uid];
    link.spec = std::move(spec);
    Kick(&link);
  }

  void Stop(const std::string& pod_uid, guestapi::StopRequest request) override {
    Link& link = links_[pod_uid];
    if (link.stop && request.stay_on == link.stop->stay_on && request.grace_seconds >= link.stop->grace_seconds) return;
    link.stop = std::move(request);
    ++link.stop_number;
    Kick(&link);
  }

  void PowerOff(const std::string& pod_uid) override {
    Link& link = links_[pod_uid];
    link.power_off = true;
    Kick(&link);
  }

  Task<StatusOr<OpenedStream>> Open(std::string pod_uid, http::Request request) override {
    request.headers.Set("Host", std::string(guestapi::kTetherDnsName));
    request.headers.Set("Connection", "Upgrade");
    co_return co_await WithTimeout(clock_, options_.connect_timeout, "opening a stream to the guest",
                                   DialAndUpgrade(std::move(pod_uid), std::move(request)));
  }

  Task<StatusOr<http::StreamingResponse>> Get(std::string pod_uid, std::string target) override {
    http::Request request;
    request.target = std::move(target);
    request.headers.Set("Host", std::string(guestapi::kTetherDnsName));
    co_return co_await WithTimeout(clock_, options_.connect_timeout, "asking the guest",
                                   DialAndGet(std::move(pod_uid), std::move(request)));
  }

  [[nodiscard]] bool Streaming(const std::string& pod_uid) const override {
    auto it = links_.find(pod_uid);
    return it != links_.end() && it->second.session != nullptr && !it->second.session->streams.empty();
  }

  flow::Store<std::string, LinkState>& states() override { return states_; }
  [[nodiscard]] std::string key_hash() const override { return trust_->key_hash(); }
  [[nodiscard]] std::string ca_pem() const override { return trust_->ca_pem(); }

  Task<Status> Run() override {
    running_ = true;
    for (auto& [uid, link] : links_) {
      if (link.session != nullptr) group_.Spawn(uid, RunSession(this, link.session));
    }
    // Lives also while there is no link.
    group_.Spawn("links", Forever(&clock_));
    co_return co_await group_.Join();
  }

 private:
  static constexpr const char* kHandshakesHelp =
      "TLS handshakes with guests: ok, failed, or refused for a wrong identity";
  static constexpr const char* kLinksHelp = "Channels to guests that are wanted, by state";

  static Task<> Forever(Clock* clock) {
    while (true) co_await clock->Sleep(absl::Hours(24));
  }

  void EndSession(Link* link) {
    if (link->session == nullptr) return;
    (Live(*link->session) ? connected_ : connecting_).Decrement();
    std::exchange(link->session, nullptr)->End();
  }

  static bool Live(const Session& session) { return session.connection != nullptr && session.connection->greeted; }

  // Ends only with its session, or by cancellation.
  static Task<> RunSession(LinksImpl* self, std::shared_ptr<Session> session) {
    while (!session->ended) {
      Status status = co_await self->Attempt(session);
      if (session->ended) co_return;
      self->Lost(session.get(), std::move(status));
      Waiter nap;
      struct Nap {
        Session* session;
        ~Nap() { session->nap = nullptr; }
      } guard{session.get()};
      session->nap = &nap;
      auto timer = self->clock_.Schedule(self->clock_.Now() + session->backoff.Next(), [&nap] { nap.Wake(); });
      co_await nap.Wait();
    }
  }

  void Lost(Session* session, Status status) {
    auto connection = std::exchange(session->connection, nullptr);
    if (connection != nullptr && connection->greeted) {
      connected_.Decrement();
      connecting_.Increment();
      reconnects_.Increment();
      if (clock_.Now() - connection->since >= kStable) session->backoff.Reset();
    }
    bool refused = absl::IsFailedPrecondition(status) || absl::IsUnauthenticated(status);
    if (refused && !std::exchange(session->refusal_logged, true)) {
      Log(Severity::kError, "Guest is not what it should be",
          {{"pod", session->pod_uid},
           {"vm", session->endpoint.vm},
           {"address", session->endpoint.address},
           {"err", status}});
    } else {
      LogV(2, "No channel to guest", {{"pod", session->pod_uid}, {"vm", session->endpoint.vm}, {"err", status}});
    }
    std::string error(status.message());
    auto known = states_.Get(session->pod_uid);
    // A failure that is repeated is no news.
    if (known == nullptr || known->connected || known->error != error)
      PutDisconnected(session->pod_uid, std::move(error));
  }

  void PutDisconnected(const std::string& pod_uid, std::string error) {
    auto known = states_.Get(pod_uid);
    auto next = known != nullptr ? std::make_shared<LinkState>(*known) : std::make_shared<LinkState>();
    if (known == nullptr || known->connected) next->since = clock_.Now();
    next->connected = false;
    next->error = std::move(error);
    states_.Put(pod_uid, std::move(next));
  }

  // One connection, from dialling to its end.
  Task<Status> Attempt(std::shared_ptr<Session> session) {
    auto connection = std::make_shared<Connection>();
    std::string leftover;
    {
      auto permit = co_await handshakes_.Acquire();
      if (session->ended) co_return absl::OkStatus();
      CO_RETURN_IF_ERROR(co_await Dial(session.get(), connection.get()));
      if (session->ended) co_return absl::OkStatus();
      CO_RETURN_IF_ERROR(co_await WithTimeout(clock_, options_.connect_timeout, "opening the channel",
                                              Open(connection.get(), &leftover)));
      if (session->ended) co_return absl::OkStatus();
    }
    session->connection = connection;
    connection->since = clock_.Now();
    // A peer that says nothing is none.
    auto greeting = clock_.Schedule(clock_.Now() + options_.connect_timeout, [c = connection.get()] {
      if (!c->greeted) c->stream->Close();
    });
    CO_RETURN_IF_ERROR(Receive(session.get(), connection.get(), std::exchange(leftover, {})));
    while (true) {
      CO_RETURN_IF_ERROR(co_await connection->stream->WaitReadable());
      std::span<char> buffer = ReadBuffer();
      CO_ASSIGN_OR_RETURN(size_t n, co_await connection->stream->ReadSome(buffer));
      if (n == 0) co_return absl::UnavailableError("the guest closed the channel");
      CO_RETURN_IF_ERROR(Receive(session.get(), connection.get(), {buffer.data(), n}));
    }
  }

  // The channel's connection.
  Task<Status> Dial(Session* session, Connection* connection) {
    CO_ASSIGN_OR_RETURN(connection->stream, co_await DialTether(session, 2 * options_.keepalive));
    connection->key_hash = connection->stream->PeerKeyHash();
    co_return absl::OkStatus();
  }

  // By the key that is expected, or else by a certificate that we have signed before.
  Task<StatusOr<std::unique_ptr<http::Stream>>> DialTether(Session* session, absl::Duration user_timeout) {
    const Endpoint& endpoint = session->endpoint;
    http::DialOptions dial{
        .connect_timeout = options_.connect_timeout, .keepalive = options_.keepalive, .user_timeout = user_timeout};
    auto stream = co_await http::Dial(clock_, endpoint.address, endpoint.port, trust_->by_key(), dial);
    if (!stream.ok()) co_return Refused(stream.status());
    if (!session->ended && (*stream)->PeerKeyHash() != ExpectedKey(*session)) {
      stream = co_await http::Dial(clock_, endpoint.address, endpoint.port, trust_->by_certificate(), dial);
      bool named = stream.ok() && Contains((*stream)->Peer().uris, guestapi::PodUri(session->pod_uid));
      if (!stream.ok() && !absl::IsFailedPrecondition(stream.status())) co_return Refused(stream.status());
      if (!named) {
        co_return Refused(absl::FailedPreconditionError(
            "the guest's key is not the announced one, and it has no certificate of this VCH for the pod"));
      }
    }
    if (session->ended) co_return absl::UnavailableError("the guest is not wanted any more");
    handshakes_ok_.Increment();
    co_return *std::move(stream);
  }

  // A further connection of a guest whose channel is up. A peer that does not read is none that is dead: no limit on
  // how long data may wait to be sent.
  Task<StatusOr<std::unique_ptr<http::Stream>>> DialFurther(std::string pod_uid) {
    auto link = links_.find(pod_uid);
    if (link == links_.end() || link->second.session == nullptr) {
      co_return absl::NotFoundError(absl::StrCat("the guest of pod ", pod_uid, " is not there"));
    }
    std::shared_ptr<Session> session = link->second.session;
    if (!Live(*session)) {
      auto known = states_.Get(pod_uid);
      co_return absl::UnavailableError(absl::StrCat("the guest of pod ", pod_uid, " is not connected",
                                                    known != nullptr && !known->error.empty() ? ": " : "",
                                                    known != nullptr ? known->error : ""));
    }
    auto permit = co_await further_handshakes_.Acquire();
    if (session->ended) co_return absl::UnavailableError("the guest has been disconnected");
    CO_ASSIGN_OR_RETURN(auto stream, co_await DialTether(session.get(), absl::ZeroDuration()));
    co_return std::make_unique<FurtherStream>(std::move(session), std::move(stream));
  }

  Task<StatusOr<OpenedStream>> DialAndUpgrade(std::string pod_uid, http::Request request) {
    OpenedStream out;
    CO_ASSIGN_OR_RETURN(out.stream, co_await DialFurther(std::move(pod_uid)));
    CO_ASSIGN_OR_RETURN(auto response, co_await http::Upgrade(*out.stream, std::move(request), &out.leftover));
    if (response.status != 101) co_return ErrorOf(response.status, response.body);
    co_return out;
  }

  Task<StatusOr<http::StreamingResponse>> DialAndGet(std::string pod_uid, http::Request request) {
    CO_ASSIGN_OR_RETURN(auto stream, co_await DialFurther(std::move(pod_uid)));
    CO_ASSIGN_OR_RETURN(auto response, co_await http::FetchOn(std::move(stream), std::move(request)));
    if (response.status < 300) co_return response;
    std::string body;
    while (body.size() < kMaxErrorBody) {
      CO_ASSIGN_OR_RETURN(std::string piece, co_await response.body->Read());
      if (piece.empty()) break;
      body += piece;
    }
    co_return ErrorOf(response.status, body);
  }

  Status Refused(Status status) {
    (absl::IsFailedPrecondition(status) ? handshakes_refused_ : handshakes_failed_).Increment();
    return status;
  }

  [[nodiscard]] const std::string& ExpectedKey(const Session& session) const {
    const guestapi::GuestAnnouncement& announced = session.endpoint.guest;
    auto link = links_.find(session.pod_uid);
    bool pinned = link != links_.end() && link->second.pinned_boot == announced.boot_id;
    return pinned ? link->second.pinned_key : announced.key_hash;
  }

  static Task<Status> Open(Connection* connection, std::string* leftover) {
    http::Request request;
    request.target = std::string(guestapi::kChannelPath);
    request.headers = {{"Host", std::string(guestapi::kTetherDnsName)},
                       {"Connection", "Upgrade"},
                       {"Upgrade", std::string(guestapi::kChannelProtocol)}};
    CO_ASSIGN_OR_RETURN(auto response, co_await http::Upgrade(*connection->stream, std::move(request), leftover));
    if (response.status == 101) co_return absl::OkStatus();
    auto error = ReadError(response.body);
    co_return absl::FailedPreconditionError(
        absl::StrCat("the guest answered ", response.status, error.message.empty() ? "" : ": ", error.message));
  }

  Status Receive(Session* session, Connection* connection, std::string_view data) {
    return connection->splitter.Feed(data, [&](std::string_view line) -> Status {
      // A frame may be the consequence of one before that ended the session.
      if (session->ended) return absl::OkStatus();
      ASSIGN_OR_RETURN(guestapi::Frame frame, guestapi::DecodeFrame(line));
      if (auto* hello = std::get_if<guestapi::Hello>(&frame)) return OnHello(session, connection, *hello);
      if (auto* state = std::get_if<GuestState>(&frame)) return OnState(session, connection, std::move(*state));
      return absl::OkStatus();
    });
  }

  Status OnHello(Session* session, Connection* connection, const guestapi::Hello& hello) {
    if (hello.version != guestapi::kVersion) {
      return absl::FailedPreconditionError(
          absl::StrCat("the guest speaks version ", hello.version, ", and this kubelet ", guestapi::kVersion));
    }
    if (hello.pod_uid != session->pod_uid) {
      return absl::FailedPreconditionError(absl::StrCat("the guest says that it is of pod ", hello.pod_uid));
    }
    auto link = links_.find(session->pod_uid);
    if (link == links_.end()) return absl::OkStatus();
    link->second.pinned_boot = hello.boot_id;
    link->second.pinned_key = connection->key_hash;
    if (!hello.certify) return absl::OkStatus();
    ASSIGN_OR_RETURN(connection->certificate,
                     trust_->Certify(session->pod_uid, http::PeerPublicKey(*connection->stream), clock_.WallNow()));
    Kick(&link->second);
    return absl::OkStatus();
  }

  Status OnState(Session* session, Connection* connection, GuestState state) {
    if (!state.pod_uid.empty() && state.pod_uid != session->pod_uid) {
      return absl::FailedPreconditionError(absl::StrCat("the guest runs pod ", state.pod_uid));
    }
    auto link = links_.find(session->pod_uid);
    if (link == links_.end()) return absl::OkStatus();
    auto known = states_.Get(session->pod_uid);
    bool newer = known == nullptr || known->guest.boot_id != state.boot_id || known->guest.sequence < state.sequence;
    if (!newer && known->connected) return absl::OkStatus();
    auto next = std::make_shared<LinkState>();
    next->connected = true;
    next->since = known != nullptr && known->connected ? known->since : clock_.Now();
    next->clock_offset = clock_.WallNow() - state.guest_now;
    if (newer) {
      next->guest = std::move(state);
    } else {
      next->guest = known->guest;
    }
    if (!std::exchange(connection->greeted, true)) {
      connecting_.Decrement();
      connected_.Increment();
      session->refusal_logged = false;
    }
    const int64_t revision = next->guest.spec_revision;
    states_.Put(session->pod_uid, std::move(next));
    // The subscriber may have forgotten the link.
    link = links_.find(session->pod_uid);
    if (link == links_.end()) return absl::OkStatus();
    auto& spec = link->second.spec;
    if (spec != nullptr && revision >= spec->revision) spec.reset();
    Kick(&link->second);
    return absl::OkStatus();
  }

  // Writes what the guest should know, in a coroutine that lives only so long.
  void Kick(Link* link) {
    if (link->session == nullptr || link->session->connection == nullptr) return;
    const auto& connection = link->session->connection;
    if (connection->writing || NextFrame(*link, connection.get(), false).empty()) return;
    connection->writing = true;
    group_.Spawn("write", Write(this, link->session->pod_uid, connection));
  }

  static Task<> Write(LinksImpl* self, std::string pod_uid, std::shared_ptr<Connection> connection) {
    while (true) {
      auto link = self->links_.find(pod_uid);
      if (link == self->links_.end()) break;
      if (link->second.session == nullptr || link->second.session->connection != connection) break;
      std::string frame = self->NextFrame(link->second, connection.get(), true);
      if (frame.empty()) break;
      if (!(co_await connection->stream->Write(frame)).ok()) {
        connection->stream->Close();  // ends the reader, too
        break;
      }
    }
    connection->writing = false;
  }

  // What is to be sent next, or "". Unless `take`, it is only asked whether there is something ("x").
  std::string NextFrame(const Link& link, Connection* connection, bool take) {
    if (!connection->certificate.empty()) {
      if (!take) return "x";
      return guestapi::EncodeFrame(guestapi::Certificate{std::exchange(connection->certificate, {})});
    }
    // What the guest knows is in its first snapshot.
    if (!connection->greeted) return "";
    auto known = states_.Get(link.session->pod_uid);
    if (known == nullptr) return "";
    const GuestState& guest = known->guest;
    if (link.spec != nullptr && guest.spec_revision < link.spec->revision &&
        connection->spec_revision < link.spec->revision) {
      if (!take) return "x";
      connection->spec_revision = link.spec->revision;
      // Only with a deadline is there a time in it, and most specs need no copy.
      if (link.spec->start_time == absl::InfinitePast()) return guestapi::EncodeFrame(*link.spec);
      guestapi::GuestSpec spec = *link.spec;
      spec.start_time -= known->clock_offset;
      return guestapi::EncodeFrame(spec);
    }
    if (link.stop && connection->stop_number < link.stop_number) {
      if (!take) return "x";
      connection->stop_number = link.stop_number;
      return guestapi::EncodeFrame(*link.stop);
    }
    if (guest.finished && connection->acked < guest.sequence) {
      if (!take) return "x";
      connection->acked = guest.sequence;
      return guestapi::EncodeFrame(guestapi::Ack{guest.sequence});
    }
    if (link.power_off && !connection->power_off) {
      if (!take) return "x";
      connection->power_off = true;
      return guestapi::EncodeFrame(guestapi::PowerOff{});
    }
    return "";
  }

  Clock& clock_;
  Options options_;
  std::unique_ptr<Trust> trust_;
  Limiter handshakes_;          // of channels
  Limiter further_handshakes_;  // does not wait for guests that do not answer
  metrics::Counter& handshakes_ok_;
  metrics::Counter& handshakes_failed_;
  metrics::Counter& handshakes_refused_;
  metrics::Counter& reconnects_;
  metrics::Gauge& connected_;
  metrics::Gauge& connecting_;
  absl::flat_hash_map<std::string, Link> links_;
  flow::Store<std::string, LinkState> states_;
  bool running_ = false;
  TaskGroup group_;
};

}  // namespace

std::optional<TetherError> GetTetherError(const Status& status) {
  auto payload = status.GetPayload(kTetherErrorPayload);
  if (!payload) return std::nullopt;
  std::string text(*payload);
  TetherError out;
  size_t space = text.find(' ');
  if (!absl::SimpleAtoi(text.substr(0, space), &out.http_status)) return std::nullopt;
  out.code = text.substr(space + 1);
  return out;
}

Task<StatusOr<OpenedStream>> Links::Open(std::string, http::Request) {
  co_return absl::UnimplementedError("no further connections");
}
Task<StatusOr<http::StreamingResponse>> Links::Get(std::string, std::string) {
  co_return absl::UnimplementedError("no further connections");
}

StatusOr<std::unique_ptr<Links>> Links::Create(Executor executor, Clock& clock, metrics::Registry& registry,
                                               Options options) {
  ASSIGN_OR_RETURN(auto trust, Trust::Create(options.key_pem, clock.WallNow()));
  return std::make_unique<LinksImpl>(executor, clock, registry, std::move(options), std::move(trust));
}

}  // namespace vck::guestlink
