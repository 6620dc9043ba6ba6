// The kubelet API on a real port, before a tether that does what a test says.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "guestapi/stream.h"
#include "guestlink/net.h"
#include "guestlink/scripted_tether.h"
#include "http/client.h"
#include "http/server.h"
#include "http/tls.h"
#include "http/websocket.h"
#include "kubeletapi/api.h"
#include "kubeletapi/auth.h"
#include "kubeletapi/observer.h"
#include "kubeletapi/pod_directory.h"
#include "spdy/session.h"

namespace vck::kubeletapi {

using guestapi::StreamChannel;
using guestlink::Net;

// Who may do what is a set of "user verb subresource"; tokens are a map.
class FakeReviews : public Reviews {
 public:
  Task<StatusOr<std::optional<User>>> ReviewToken(std::string token) override {
    ++token_reviews;
    CO_RETURN_IF_ERROR(error);
    auto found = tokens.find(token);
    if (found == tokens.end()) co_return std::nullopt;
    co_return found->second;
  }
  Task<StatusOr<bool>> ReviewAccess(User user, std::string verb, std::string subresource) override {
    ++access_reviews;
    last_user = user;
    CO_RETURN_IF_ERROR(error);
    for (const std::string& group : user.groups) {
      if (group == "system:masters") co_return true;
    }
    co_return allowed.contains(absl::StrCat(user.name, " ", verb, " ", subresource));
  }
  std::map<std::string, User> tokens;
  std::set<std::string> allowed;
  Status error;
  User last_user;
  int token_reviews = 0, access_reviews = 0;
};

struct ClientCa {
  std::string key = *http::GenerateKeyPem();
  std::string cert =
      *http::SignCertificate(key, {.common_name = "client CA", .is_ca = true, .now = absl::Now()}, "", key);
  // Certificate and key.
  std::pair<std::string, std::string> Issue(http::CertRequest request) const {
    std::string of = *http::GenerateKeyPem();
    if (request.now == absl::Time()) request.now = absl::Now();
    return {*http::SignCertificate(of, request, cert, key), of};
  }
};

inline kube::ObjectPtr PodObject(const std::string& name = "web", const std::string& uid = "uid-1",
                                 const std::string& status = "{}") {
  return *kube::Object::Parse(absl::StrCat(
      R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":")", name, R"(","namespace":"default","uid":")", uid,
      R"("},"spec":{"containers":[{"name":"c"},{"name":"term","tty":true}],"initContainers":[{"name":"init"}]},"status":)",
      status, "}"));
}

// A request of a test: what goes to the port in the end.
struct Ask {
  std::string method = "GET";
  std::string target;
  http::Headers headers;
  std::string body;
};

class ApiTest : public ::testing::Test {
 protected:
  ApiTest() {
    pods_.Put("uid-1", PodObject());
    auth_.SetClientCa(*http::CertificatePool::Parse(ca_.cert));
    tether_.Say(guestlink::HelloOf("b1"));
    guestapi::GuestState state = guestlink::StateOf("b1", 1);
    state.containers.push_back(
        {.name = "c", .phase = guestapi::ContainerState::Phase::kRunning, .image_id = "img@sha256:1"});
    tether_.Say(state);
    tether_.Further([this](http::Exchange& exchange) { return further_(exchange); });
    std::string key = *http::GenerateKeyPem();
    http::CertRequest request{.common_name = "kubelet", .ip_addresses = {"127.0.0.1"}, .now = absl::Now()};
    server_cert_ = *http::SignCertificate(key, request, "", key);
    http::ServerOptions options{
        .tls = *http::TlsContext::Server(
            {.cert_pem = server_cert_, .key_pem = key, .client_ca_pem = ca_.cert, .defer_client_verification = true})};
    server_ = *http::Server::Listen(net_.executor(), net_.clock(), std::move(options),
                                    [this](http::Exchange& exchange) { return api_.Handle(exchange); });
    net_.Spawn(server_->Run());
    net_.Spawn(observer_.Run());
    admin_ = ca_.Issue({.common_name = "apiserver", .organizations = {"system:masters"}});
  }
  ~ApiTest() override { net_.Close(); }

  void Connect() {
    kubelet_->Connect("uid-1", tether_.endpoint());
    ASSERT_TRUE(kubelet_.UntilConnected("uid-1"));
  }

  std::shared_ptr<http::TlsContext> ClientTls(std::pair<std::string, std::string> identity) {
    return *http::TlsContext::Client({.ca_pem = server_cert_,
                                      .client_cert_pem = std::move(identity.first),
                                      .client_key_pem = std::move(identity.second)});
  }
  std::unique_ptr<http::Stream> Dial(std::shared_ptr<http::TlsContext> tls) {
    auto stream = net_.Run(http::Dial(net_.clock(), "127.0.0.1", server_->port(), std::move(tls), {}));
    EXPECT_TRUE(stream.ok()) << stream.status();
    return stream.ok() ? *std::move(stream) : nullptr;
  }
  static http::Request RequestOf(Ask ask) {
    http::Request request{std::move(ask.method), std::move(ask.target), std::move(ask.headers), std::move(ask.body)};
    request.headers.Set("Host", "kubelet");
    return request;
  }
  // A whole response.
  http::Response Fetch(Ask ask, std::shared_ptr<http::TlsContext> tls) {
    std::string leftover;
    auto stream = Dial(std::move(tls));
    auto response = net_.Run(http::Upgrade(*stream, RequestOf(std::move(ask)), &leftover));
    EXPECT_TRUE(response.ok()) << response.status();
    return response.ok() ? *std::move(response) : http::Response{};
  }
  http::Response Fetch(Ask ask) { return Fetch(std::move(ask), ClientTls(admin_)); }
  http::Response Get(std::string target) { return Fetch({.target = std::move(target)}); }

  Net net_;
  ClientCa ca_;
  std::pair<std::string, std::string> admin_;
  guestlink::Kubelet kubelet_{&net_, guestlink::NewKey()};
  guestlink::ScriptedTether tether_{&net_, kubelet_->ca_pem()};
  http::Handler further_ = [](http::Exchange& exchange) {
    return exchange.Respond({404, {}, R"({"error":{"code":"NotFound","message":"nothing here"}})"});
  };
  flow::Store<std::string, kube::Object> pods_;
  StoreDirectory directory_{pods_};
  FakeReviews reviews_;
  Auth auth_{reviews_, {}};
  std::map<std::string, std::string> archive_;  // "uid/container/current": raw log
  int archive_opened_ = 0;
  Status health_;
  ApiOptions options_;
  metrics::Registry registry_;
  LogMemory log_{size_t{1} << 16};
  NodeStats node_;
  Observer observer_{{.clock = net_.clock(),
                      .links = *kubelet_,
                      .pods = directory_,
                      .registry = registry_,
                      .node = [this] { return node_; },
                      .configz = R"({"kind":"KubeletConfiguration","maxPods":7})",
                      .flags = {{"max-pods", "7"}, {"node-name", "vch1"}},
                      .version = "1.2.3",
                      .log = log_},
                     {.fresh = absl::Milliseconds(300),
                      .patience = absl::Seconds(2),
                      .guest = absl::Seconds(1),
                      .expiry = absl::Minutes(1)}};
  Api api_{{.clock = net_.clock(),
            .links = *kubelet_,
            .pods = directory_,
            .auth = auth_,
            .archive =
                [this](std::string uid, std::string container, bool previous) {
                  return OpenArchive(this, absl::StrCat(uid, "/", container, previous ? "/previous" : "/current"));
                },
            .health = [this] { return health_; },
            .observer = &observer_,
            .registry = &registry_},
           {.idle_timeout = absl::Seconds(30), .creation_timeout = absl::Seconds(1)}};
  std::string server_cert_;
  std::unique_ptr<http::Server> server_;

 private:
  class Text : public http::BodyReader {
   public:
    explicit Text(std::string text) : text_(std::move(text)) {}
    Task<StatusOr<std::string>> Read() override {
      std::string out = text_.substr(0, 10);
      text_.erase(0, out.size());
      co_return out;
    }

   private:
    std::string text_;
  };
  static Task<StatusOr<std::unique_ptr<http::BodyReader>>> OpenArchive(ApiTest* self, std::string path) {
    ++self->archive_opened_;
    auto found = self->archive_.find(path);
    if (found == self->archive_.end()) co_return absl::NotFoundError("no such file");
    co_return std::make_unique<Text>(found->second);
  }
};

// The tether's side of exec: what the kubelet sent, and ways to answer.
class GuestCommand {
 public:
  explicit GuestCommand(Net* net) : net_(net) {}
  // Serves one request: answers 101 and notes what comes, until the kubelet closes. The handler's `exchange` target is
  // kept.
  Task<Status> Serve(http::Exchange& exchange) {
    target = exchange.request().target;
    method = exchange.request().method;
    protocol = std::string(exchange.request().headers.Get("Upgrade").value_or(""));
    std::string leftover;
    CO_ASSIGN_OR_RETURN(auto upgraded, co_await exchange.Upgrade({{"Upgrade", protocol}}, &leftover));
    // The next command may come before this one has ended.
    std::shared_ptr<http::Stream> stream = std::move(upgraded);
    stream_ = stream;
    guestapi::StreamDecoder decoder;
    std::string text = leftover;
    while (true) {
      if (!raw) {
        CO_RETURN_IF_ERROR(decoder.Feed(text, [this](StreamChannel channel, std::string_view data) {
          if (channel == StreamChannel::kStdin && data.empty()) stdin_ended = true;
          if (channel == StreamChannel::kResize) resizes.emplace_back(data);
          if (channel == StreamChannel::kStdin) input.append(data);
          return absl::OkStatus();
        }));
      } else {
        input += text;
      }
      while (hold) co_await net_->clock().Sleep(absl::Milliseconds(5));
      char buffer[20'000];
      auto n = co_await stream->ReadSome(buffer);
      if (!n.ok() || *n == 0) break;
      text.assign(buffer, *n);
    }
    closed = true;
    if (!half_close && stream_ == stream) stream_.reset();
    co_return absl::OkStatus();
  }
  http::Handler handler() {
    return [this](http::Exchange& exchange) { return Serve(exchange); };
  }
  void Say(StreamChannel channel, std::string_view data) { Write(guestapi::EncodeStreamFrame(channel, data)); }
  void End(guestapi::StreamStatus status) { Say(StreamChannel::kStatus, Encode(status)); }
  void Write(std::string text) { EXPECT_TRUE(net_->Run(stream_->Write(text)).ok()); }
  http::Stream& stream() { return *stream_; }
  [[nodiscard]] bool open() const { return stream_ != nullptr; }
  void Drop() { stream_->Close(); }

  std::string target, method, protocol, input;
  std::vector<std::string> resizes;
  bool stdin_ended = false, closed = false;
  bool hold = false;        // reads nothing while this is set
  bool raw = false;         // no frames: a tunnel
  bool half_close = false;  // what it says is not over when the kubelet has said all

 private:
  Net* net_;
  std::shared_ptr<http::Stream> stream_;
};

// A client that speaks SPDY through the port.
class SpdyClient : public spdy::Events {
 public:
  SpdyClient(Net* net, std::unique_ptr<http::Stream> stream, std::string leftover)
      : net_(net), stream_(std::move(stream)) {
    EXPECT_TRUE(session_.Feed(leftover, *this).ok());
    net_->Spawn(Read(this));
  }
  ~SpdyClient() override { Close(); }
  void Close() {
    if (stream_ == nullptr || done_) return;
    stream_->Close();
    EXPECT_TRUE(net_->Until([this] { return done_; }));
  }
  uint32_t Open(http::Headers headers) {
    uint32_t id = session_.Open(headers);
    Flush();
    return id;
  }
  void Send(uint32_t id, std::string_view text, bool fin = false) {
    session_.Send(id, text, fin);
    Flush();
  }
  void Flush() {
    std::string out = std::exchange(session_.output(), {});
    EXPECT_TRUE(net_->Run(stream_->Write(out)).ok());
  }
  bool UntilEnded(uint32_t id) {
    return net_->Until([&] { return ended.contains(id); });
  }
  spdy::Session& session() { return session_; }
  http::Stream& stream() { return *stream_; }
  [[nodiscard]] bool done() const { return done_; }

  void OnStream(uint32_t, http::Headers) override { ADD_FAILURE() << "the kubelet opens no streams"; }
  void OnReply(uint32_t id, http::Headers) override { replied.insert(id); }
  void OnData(uint32_t id, std::string_view piece) override { data[id].append(piece); }
  void OnEnd(uint32_t id) override {
    ended.insert(id);
    order.push_back(id);
  }
  void OnReset(uint32_t id, spdy::ResetStatus status) override { resets[id] = status; }
  void OnGoAway(spdy::GoAwayStatus) override { gone_away = true; }
  void OnPong(uint32_t) override { ++pongs; }

  std::map<uint32_t, std::string> data;
  std::set<uint32_t> replied, ended;
  std::vector<uint32_t> order;
  std::map<uint32_t, spdy::ResetStatus> resets;
  bool gone_away = false;
  int pongs = 0;

 private:
  static Task<Status> Read(SpdyClient* self) {
    while (true) {
      char buffer[20'000];
      auto n = co_await self->stream_->ReadSome(buffer);
      if (!n.ok() || *n == 0) break;
      EXPECT_TRUE(self->session_.Feed({buffer, *n}, *self).ok());
    }
    self->done_ = true;
    co_return absl::OkStatus();
  }
  Net* net_;
  std::unique_ptr<http::Stream> stream_;
  spdy::Session session_{{.role = spdy::Role::kClient}};
  bool done_ = false;
};

inline http::Headers SpdyHeaders(std::string protocols = "v4.channel.k8s.io") {
  return {{"Connection", "Upgrade"}, {"Upgrade", "SPDY/3.1"}, {"X-Stream-Protocol-Version", std::move(protocols)}};
}
inline http::Headers WebSocketHeaders(std::string protocol) {
  http::Headers out{{"Connection", "Upgrade"},
                    {"Upgrade", "websocket"},
                    {"Sec-WebSocket-Version", "13"},
                    {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}};
  if (!protocol.empty()) out.Add("Sec-WebSocket-Protocol", std::move(protocol));
  return out;
}

// A client that speaks WebSocket through the port. Messages of the kubelet's are small enough to be whole frames.
class WebSocketClient {
 public:
  WebSocketClient(Net* net, std::unique_ptr<http::Stream> stream, std::string leftover)
      : net_(net), stream_(std::move(stream)), text_(std::move(leftover)) {
    net_->Spawn(Read(this));
  }
  ~WebSocketClient() { Close(); }
  void Close() {
    if (done) return;
    stream_->Close();
    EXPECT_TRUE(net_->Until([this] { return done; }));
  }
  void Send(std::string_view payload, http::WebSocketOp op = http::WebSocketOp::kBinary) {
    std::string out;
    http::AppendWebSocketHeader(&out, op, payload.size());
    out[1] = static_cast<char>(out[1] | 0x80);
    out += std::string(4, '\0');  // the mask
    out += payload;
    EXPECT_TRUE(net_->Run(stream_->Write(out)).ok());
  }
  bool UntilClosed() {
    return net_->Until([this] { return closed; });
  }
  // All that came on a channel, by the first byte of the messages.
  std::string On(char channel) const {
    std::string out;
    for (const std::string& message : messages) {
      if (!message.empty() && message[0] == channel) out += message.substr(1);
    }
    return out;
  }
  std::vector<std::string> messages;
  bool closed = false;  // by a close frame
  uint16_t close_code = 0;
  bool done = false;

 private:
  static Task<Status> Read(WebSocketClient* self) {
    while (true) {
      self->Parse();
      char buffer[20'000];
      auto n = co_await self->stream_->ReadSome(buffer);
      if (!n.ok() || *n == 0) break;
      self->text_.append(buffer, *n);
    }
    self->done = true;
    co_return absl::OkStatus();
  }
  void Parse() {
    while (text_.size() >= 2) {
      const auto byte = [this](size_t i) { return static_cast<uint8_t>(text_[i]); };
      size_t header = 2, size = byte(1);
      if (size >= 126) {
        const size_t bytes = size == 126 ? 2 : 8;
        header += bytes;
        if (text_.size() < header) return;
        size = 0;
        for (size_t i = 0; i < bytes; ++i) size = size << 8 | byte(2 + i);
      }
      if (text_.size() < header + size) return;
      std::string payload = text_.substr(header, size);
      if ((byte(0) & 15) == 8) {
        closed = true;
        if (payload.size() >= 2)
          close_code = static_cast<uint16_t>(static_cast<uint8_t>(payload[0]) << 8 | static_cast<uint8_t>(payload[1]));
      } else {
        messages.push_back(std::move(payload));
      }
      text_.erase(0, header + size);
    }
  }
  Net* net_;
  std::unique_ptr<http::Stream> stream_;
  std::string text_;
};

}  // namespace vck::kubeletapi
