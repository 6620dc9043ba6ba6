#include "http/client.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "async/task_group.h"
#include "async/timeout.h"
#include "http/client_h2.h"
#include "http/client_internal.h"
#include "http/h1.h"

namespace vck::http {
namespace internal {

Status ClosedClient() { return absl::UnavailableError("the HTTP client was closed"); }

Task<StatusOr<std::unique_ptr<Stream>>> DialOrigin(std::shared_ptr<ClientCore> core, std::vector<std::string> alpn) {
  DialOptions options = core->options.dial;
  options.alpn = std::move(alpn);
  auto stream =
      co_await Dial(core->clock, core->options.origin.host, core->options.origin.port, core->tls, std::move(options));
  if (stream.ok()) ++core->stats.connections_opened;
  co_return stream;
}

namespace {

constexpr int kMaxAttempts = 4;

bool Idempotent(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE" || method == "OPTIONS" ||
         method == "TRACE";
}

class ClientImpl : public Client {
 public:
  ClientImpl(Executor executor, Clock& clock, ClientOptions options)
      : core_(std::make_shared<ClientCore>(clock, std::move(options))),
        pool_(std::make_shared<H1Pool>(core_)),
        multiplexed_(core_->options.http2 && core_->options.tls != nullptr),
        group_(executor) {}

  Task<StatusOr<Response>> Do(Request request, CallOptions options) override {
    co_return co_await Whole(std::move(request), nullptr, options);
  }

  Task<StatusOr<Response>> Upload(Request request, int64_t size, BodySource source, CallOptions options) override {
    internal::Upload upload{size, std::move(source)};
    co_return co_await Whole(std::move(request), &upload, options);
  }

  Task<StatusOr<StreamingResponse>> Open(Request request, CallOptions options) override {
    Progress progress;
    CO_RETURN_IF_ERROR(Prepare(&request));
    auto response =
        co_await WithTimeout(core_->clock, options.timeout, What(request), Start({&request, nullptr, &progress}));
    if (!response.ok()) co_return WithProgress(response.status(), progress);
    co_return response;
  }

  void SetTls(std::shared_ptr<TlsContext> tls) override {
    core_->tls = std::move(tls);
    ++core_->generation;
    pool_->DropIdle();
    for (auto& connection : connections_) connection->Drain();
  }

  Task<> Close() override {
    core_->closed = true;
    pool_->Close();
    group_.Cancel();
    changed_.NotifyAll();
    (void)co_await group_.Join();
    connections_.clear();
  }

  [[nodiscard]] Stats stats() const override { return core_->stats; }

 private:
  std::string What(const Request& request) const {
    std::string_view path = request.target;
    return absl::StrCat(request.method, " ", core_->options.origin.HostPort(), path.substr(0, path.find('?')));
  }

  Status Prepare(Request* request) const {
    if (core_->options.accept_gzip && !request->headers.Get("Accept-Encoding")) {
      request->headers.Add("Accept-Encoding", "gzip");
    }
    return CheckHead(request->method, request->target, request->headers);
  }

  static Status WithProgress(Status status, const Progress& progress) {
    if (progress.maybe_sent && !status.ok()) status.SetPayload(kMaybeSent, absl::Cord("1"));
    return status;
  }

  Task<StatusOr<Response>> Whole(Request request, internal::Upload* upload, CallOptions options) {
    Progress progress;
    CO_RETURN_IF_ERROR(Prepare(&request));
    auto response = co_await WithTimeout(core_->clock, options.timeout, What(request),
                                         StartAndRead({&request, upload, &progress}, options.max_body_bytes));
    if (!response.ok()) co_return WithProgress(response.status(), progress);
    co_return response;
  }

  Task<StatusOr<Response>> StartAndRead(Call call, size_t max_body_bytes) {
    CO_ASSIGN_OR_RETURN(StreamingResponse stream, co_await Start(call));
    Response response;
    response.status = stream.status;
    response.headers = std::move(stream.headers);
    while (true) {
      CO_ASSIGN_OR_RETURN(std::string piece, co_await stream.body->Read());
      if (piece.empty()) break;
      if (response.body.size() + piece.size() > max_body_bytes) {
        co_return absl::ResourceExhaustedError(
            absl::StrCat(What(*call.request), ": the response is longer than ", max_body_bytes, " bytes"));
      }
      if (response.body.empty()) {
        response.body = std::move(piece);
      } else {
        response.body += piece;
      }
    }
    co_return response;
  }

  Task<StatusOr<StreamingResponse>> Start(Call call) {
    Progress& progress = *call.progress;
    ++core_->stats.requests;
    for (int attempt = 1;; ++attempt) {
      bool sent_before = progress.maybe_sent;
      progress.stale = progress.not_handled = false;
      auto response = co_await StartOnce(call);
      if (response.ok()) {
        if (core_->options.accept_gzip &&
            absl::EqualsIgnoreCase(response->headers.Get("Content-Encoding").value_or(""), "gzip")) {
          response->headers.Remove("Content-Encoding");
          response->headers.Remove("Content-Length");
          response->body = MakeGzipReader(std::move(response->body));
        }
        co_return response;
      }
      if (progress.not_handled) progress.maybe_sent = sent_before;
      bool repeatable = progress.not_handled || (progress.stale && Idempotent(call.request->method));
      bool again = progress.stale && progress.need_fresh;
      if (!repeatable || again || progress.source_used || attempt == kMaxAttempts || core_->closed) {
        co_return response.status();
      }
      progress.need_fresh = progress.stale;
    }
  }

  Task<StatusOr<StreamingResponse>> StartOnce(Call call) {
    if (core_->closed) co_return ClosedClient();
    if (multiplexed_) {
      CO_ASSIGN_OR_RETURN(auto connection, co_await AcquireH2());
      if (connection != nullptr) co_return co_await connection->Start(call);
    }
    co_return co_await pool_->Start(call);
  }

  // A connection with a free place; null when the server turned out to speak HTTP/1.1 only. One attempt to connect at
  // a time serves all that wait, and goes on when the one who started it gives up.
  Task<StatusOr<std::shared_ptr<H2Connection>>> AcquireH2() {
    int64_t failures = connect_failures_;
    while (true) {
      if (core_->closed) co_return ClosedClient();
      if (!multiplexed_) co_return nullptr;
      int live = 0;
      for (auto& connection : connections_) {
        if (connection->CanTake()) co_return connection;
        if (!connection->draining()) ++live;
      }
      if (connect_failures_ != failures) co_return connect_error_;
      if (!connecting_ && live < core_->options.max_connections) {
        connecting_ = true;
        group_.Spawn("connection", ConnectH2(this));
      }
      co_await changed_.Wait();
    }
  }

  static Task<> ConnectH2(ClientImpl* self) {
    int generation = self->core_->generation;
    auto stream = co_await DialOrigin(self->core_, {"h2", "http/1.1"});
    self->connecting_ = false;
    if (!stream.ok()) {
      ++self->connect_failures_;
      self->connect_error_ = stream.status();
    } else if ((*stream)->alpn() != "h2") {
      self->multiplexed_ = false;
      self->pool_->AddIdle(*std::move(stream), generation);
    } else if (generation == self->core_->generation) {
      auto connection = std::make_shared<H2Connection>(self->core_, *std::move(stream), &self->changed_);
      self->connections_.push_back(connection);
      self->changed_.NotifyAll();
      co_await connection->Run();
      std::erase(self->connections_, connection);
    }
    self->changed_.NotifyAll();
  }

  std::shared_ptr<ClientCore> core_;
  std::shared_ptr<H1Pool> pool_;
  bool multiplexed_;  // HTTP/2, unless and until the server chooses otherwise
  std::vector<std::shared_ptr<H2Connection>> connections_;
  Signal changed_;  // of connections_, their places, multiplexed_ or connect_failures_
  bool connecting_ = false;
  int64_t connect_failures_ = 0;
  Status connect_error_;
  TaskGroup group_;
};

}  // namespace
}  // namespace internal

std::shared_ptr<Client> Client::Create(Executor executor, Clock& clock, ClientOptions options) {
  return std::make_shared<internal::ClientImpl>(executor, clock, std::move(options));
}

}  // namespace vck::http
