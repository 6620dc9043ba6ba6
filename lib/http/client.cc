#include "http/client.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "async/task_group.h"
#include "async/timeout.h"
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
  }

  Task<> Close() override {
    core_->closed = true;
    pool_->Close();
    group_.Cancel();
    (void)co_await group_.Join();
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
      if (!repeatable || progress.source_used || attempt == kMaxAttempts || core_->closed) co_return response.status();
      progress.need_fresh = progress.stale;
    }
  }

  Task<StatusOr<StreamingResponse>> StartOnce(Call call) {
    if (core_->closed) co_return ClosedClient();
    co_return co_await pool_->Start(call);
  }

  std::shared_ptr<ClientCore> core_;
  std::shared_ptr<H1Pool> pool_;
  TaskGroup group_;
};

}  // namespace
}  // namespace internal

std::shared_ptr<Client> Client::Create(Executor executor, Clock& clock, ClientOptions options) {
  return std::make_shared<internal::ClientImpl>(executor, clock, std::move(options));
}

}  // namespace vck::http
