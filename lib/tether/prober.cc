#include "tether/prober.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "async/timeout.h"
#include "http/h2_once.h"
#include "http/stream.h"
#include "tether/grpc_health.h"
#include "tether/http_get.h"

namespace vck::tether {
namespace {

using guestapi::Handler;
using Outcome = HandlerResult::Outcome;
using Kind = Handler::Kind;

constexpr size_t kMaxGrpcAnswer = 64 * 1024;
constexpr std::string_view kBadHandler = "invalid handler";
// A hook over HTTP has no time-out of its own; with this one a server that never answers does not hold it for ever.
constexpr absl::Duration kLongestGet = absl::Hours(1);

HandlerResult Success(std::string output = {}) { return {Outcome::kSuccess, std::move(output)}; }
HandlerResult Failure(std::string output) { return {Outcome::kFailure, std::move(output)}; }
HandlerResult Error(std::string output) { return {Outcome::kError, std::move(output)}; }

// "1s", "1m30s": as Go writes durations, in whole seconds.
std::string Seconds(absl::Duration d) { return absl::FormatDuration(d); }

class NetProber : public Prober {
 public:
  NetProber(Clock& clock, Runtime& runtime, std::string pod_ip)
      : clock_(clock), runtime_(runtime), pod_ip_(std::move(pod_ip)) {}

  Task<HandlerResult> Probe(std::string run_id, Handler handler, absl::Duration timeout) override {
    switch (handler.kind) {
      case Kind::kExec:
        co_return co_await ExecProbe(std::move(run_id), std::move(handler.command), timeout);
      case Kind::kHttp:
        co_return co_await HttpProbe(std::move(handler), timeout);
      case Kind::kTcp:
        co_return co_await TcpProbe(std::move(handler), timeout);
      case Kind::kGrpc:
        co_return co_await GrpcProbe(std::move(handler), timeout);
      case Kind::kSleep:
        break;
    }
    co_return Error(std::string(kBadHandler));
  }

  Task<HandlerResult> Hook(std::string run_id, HookKind /*kind*/, Handler handler, absl::Duration timeout) override {
    switch (handler.kind) {
      case Kind::kExec: {
        auto result = co_await runtime_.Exec(std::move(run_id), std::move(handler.command), timeout);
        if (!result.ok()) co_return Failure(std::string(result.status().message()));
        if (result->exit_code == 0) co_return Success();
        co_return Failure(
            absl::StrCat("command exited with ", result->exit_code, ", message: \"", result->output, "\""));
      }
      case Kind::kHttp:
        co_return co_await HttpHook(std::move(handler), std::min(timeout, kLongestGet));
      case Kind::kSleep:
        co_await clock_.Sleep(std::min(timeout, absl::Seconds(handler.seconds)));
        co_return Success();
      case Kind::kTcp:
      case Kind::kGrpc:
        break;
    }
    co_return Failure(std::string(kBadHandler));
  }

 private:
  Task<HandlerResult> ExecProbe(std::string run_id, std::vector<std::string> command, absl::Duration timeout) {
    auto result = co_await runtime_.Exec(std::move(run_id), std::move(command), timeout);
    if (result.ok()) co_return result->exit_code == 0 ? Success(result->output) : Failure(result->output);
    if (absl::IsDeadlineExceeded(result.status())) {
      co_return Failure(absl::StrCat("command timed out: timeout ", Seconds(timeout), " exceeded"));
    }
    co_return Error(std::string(result.status().message()));
  }

  StatusOr<std::shared_ptr<http::TlsContext>> Tls() {
    if (tls_ == nullptr) {
      ASSIGN_OR_RETURN(tls_, http::TlsContext::Client({.insecure = true}));
    }
    return tls_;
  }

  Task<StatusOr<GetResult>> Get(Handler handler, std::string purpose, absl::Duration timeout) {
    if (handler.port == 0) co_return absl::InvalidArgumentError("couldn't find a port of that name");
    GetTarget target = TargetOf(handler, pod_ip_);
    std::shared_ptr<http::TlsContext> tls;
    // A redirect may lead to HTTPS.
    CO_ASSIGN_OR_RETURN(tls, Tls());
    std::string url = target.Url();
    auto result = co_await WithTimeout(clock_, timeout, "GET",
                                       HttpGet(clock_, std::move(handler), std::move(target), purpose, tls));
    if (absl::IsDeadlineExceeded(result.status())) {
      co_return absl::DeadlineExceededError(
          absl::StrCat("Get \"", url, "\": context deadline exceeded (Client.Timeout exceeded)"));
    }
    co_return result;
  }

  Task<HandlerResult> HttpProbe(Handler handler, absl::Duration timeout) {
    auto result = co_await Get(std::move(handler), "probe", timeout);
    if (absl::IsInvalidArgument(result.status())) co_return Error(std::string(result.status().message()));
    if (!result.ok()) co_return Failure(std::string(result.status().message()));
    if (result->status < 200 || result->status >= 400) {
      co_return Failure(absl::StrCat("HTTP probe failed with statuscode: ", result->status));
    }
    if (result->status < 300) co_return Success(std::move(result->body));
    co_return HandlerResult{Outcome::kWarning,
                            absl::StrCat("Probe terminated redirects, Response body: ", result->body)};
  }

  Task<HandlerResult> HttpHook(Handler handler, absl::Duration timeout) {
    const Instant deadline = clock_.Now() + timeout;
    auto result = co_await Get(handler, "lifecycle", timeout);
    // Servers without TLS are forgiven, as the kubelet does.
    if (handler.https && absl::IsFailedPrecondition(result.status())) {
      handler.https = false;
      std::erase_if(handler.headers, [](const auto& field) { return http::Headers{field}.Get("Authorization"); });
      result = co_await Get(handler, "lifecycle", deadline - clock_.Now());
    }
    co_return result.ok() ? Success() : Failure(std::string(result.status().message()));
  }

  GetTarget Address(const Handler& handler) const { return TargetOf(handler, pod_ip_); }

  Task<HandlerResult> TcpProbe(Handler handler, absl::Duration timeout) {
    if (handler.port == 0) co_return Error("couldn't find a port of that name");
    GetTarget target = Address(handler);
    auto stream = co_await http::Dial(clock_, target.host, static_cast<uint16_t>(target.port), nullptr,
                                      {.connect_timeout = timeout, .alpn = {}, .proxy_url = {}});
    co_return stream.ok() ? Success() : Failure(DialError(stream.status(), target.Authority()));
  }

  Task<HandlerResult> GrpcProbe(Handler handler, absl::Duration timeout) {
    handler.host.clear();
    std::string address = Address(handler).Authority();
    const Instant deadline = clock_.Now() + timeout;
    auto stream = co_await http::Dial(clock_, pod_ip_, static_cast<uint16_t>(handler.port), nullptr,
                                      {.connect_timeout = timeout, .alpn = {}, .proxy_url = {}});
    if (!stream.ok()) {
      co_return Failure(absl::StrCat("timeout: failed to connect service \"", address, "\" within ", Seconds(timeout),
                                     ": ", DialError(stream.status(), address)));
    }
    auto status = co_await WithDeadline(clock_, deadline, "health rpc",
                                        Check(stream->get(), std::move(handler.service), address, timeout));
    if (status.ok()) co_return Success("service healthy");
    if (absl::IsDeadlineExceeded(status)) {
      co_return Failure(absl::StrCat("timeout: health rpc did not complete within ", Seconds(timeout)));
    }
    co_return Failure(std::string(status.message()));
  }

  static Task<Status> Check(http::Stream* stream, std::string service, std::string authority, absl::Duration timeout) {
    http::Request request;
    request.method = "POST";
    request.target = "/grpc.health.v1.Health/Check";
    request.headers = {{"Host", authority},
                       {"te", "trailers"},
                       {"content-type", "application/grpc"},
                       {"user-agent", "kube-probe/1.36"},
                       {"grpc-timeout", absl::StrCat(absl::ToInt64Milliseconds(timeout), "m")}};
    request.body = GrpcHealthRequest(service);
    auto answer = co_await http::RequestH2(*stream, "http", std::move(request), kMaxGrpcAnswer);
    if (!answer.ok()) {
      co_return absl::UnavailableError(absl::StrCat(
          "error: health rpc probe failed: rpc error: code = Unavailable desc = ", answer.status().message()));
    }
    const http::Response& response = answer->response;
    co_return GrpcHealthAnswer(response.status, response.headers, answer->trailers, response.body);
  }

  Clock& clock_;
  Runtime& runtime_;
  std::string pod_ip_;
  std::shared_ptr<http::TlsContext> tls_;
};

}  // namespace

std::unique_ptr<Prober> MakeProber(Clock& clock, Runtime& runtime, std::string pod_ip) {
  return std::make_unique<NetProber>(clock, runtime, std::move(pod_ip));
}

}  // namespace vck::tether
