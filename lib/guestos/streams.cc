#include "guestos/streams.h"

#include <array>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "async/offload.h"
#include "async/task_group.h"
#include "guestapi/stream.h"
#include "guestos/stats.h"
#include "http/stream.h"

namespace vck::guestos {
namespace {

using tether::ErrorResponse;

constexpr absl::Duration kDialTimeout = absl::Seconds(10);
constexpr std::string_view kExecPrefix = "OCI runtime exec failed: unable to start container process: ";

http::Response ErrorOf(const Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return ErrorResponse(404, "NotFound", status.message());
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
      return ErrorResponse(400, "BadRequest", status.message());
    default:
      return ErrorResponse(500, "InternalError", status.message());
  }
}

bool Offers(const http::Exchange& exchange, std::string_view protocol) {
  for (std::string_view offered : absl::StrSplit(exchange.request().headers.Get("Upgrade").value_or(""), ',')) {
    if (absl::EqualsIgnoreCase(absl::StripAsciiWhitespace(offered), protocol)) return true;
  }
  return false;
}

Task<Status> RefuseUpgrade(http::Exchange* exchange, std::string_view protocol) {
  auto refusal = ErrorResponse(426, "UnsupportedVersion", absl::StrCat("this endpoint speaks ", protocol));
  refusal.headers.Set("Upgrade", std::string(protocol));
  co_return co_await exchange->Respond(std::move(refusal));
}

class ToResponse : public LogSink {
 public:
  explicit ToResponse(http::Exchange* exchange) : exchange_(exchange) {}
  Task<Status> Write(std::string_view text) override { co_return co_await exchange_->WriteSome(text); }

 private:
  http::Exchange* exchange_;
};

// Ends its group, well or not.
Task<Status> ReadThenEnd(asio::thread_pool* pool, RunLog log, LogReadOptions options, LogSink* sink, Status* result) {
  *result = co_await ReadLog(pool, log.path, log.live, options, sink);
  co_return absl::CancelledError("the log has been read");
}
Task<Status> AwaitClosed(http::Exchange* exchange, Status* result) {
  co_await exchange->WaitClosed();
  *result = absl::UnavailableError("the client has left");
  co_return *result;
}

StatusOr<LogReadOptions> ParseLogOptions(const Query& query) {
  LogReadOptions out;
  ASSIGN_OR_RETURN(out.tail_lines, query.Number("tailLines", 0));
  ASSIGN_OR_RETURN(out.query.limit_bytes, query.Number("limitBytes", 1));
  ASSIGN_OR_RETURN(auto since, query.Number("sinceTime", 0));
  if (since) out.query.since = absl::FromUnixNanos(*since);
  out.query.timestamps = query.Flag("timestamps");
  out.follow = query.Flag("follow");
  const std::string_view stream = query.Get("stream");
  if (stream == "Stdout") {
    out.query.stream = guestapi::LogStream::kStdout;
  } else if (stream == "Stderr") {
    out.query.stream = guestapi::LogStream::kStderr;
  } else if (!stream.empty() && stream != "All") {
    return absl::InvalidArgumentError(absl::StrCat("stream=", stream, ": not Stdout, Stderr or All"));
  }
  return out;
}

// One direction of a tunnel; its end is passed on.
Task<Status> Copy(http::Stream* from, http::Stream* to, std::string first) {
  if (!first.empty()) CO_RETURN_IF_ERROR(co_await to->Write(first));
  while (true) {
    CO_RETURN_IF_ERROR(co_await from->WaitReadable());
    std::string data(size_t{16} * 1024, '\0');
    CO_ASSIGN_OR_RETURN(size_t n, co_await from->ReadSome(std::span<char>(data)));
    if (n == 0) break;
    data.resize(n);
    CO_RETURN_IF_ERROR(co_await to->Write(data));
  }
  co_await to->ShutdownWrite();
  co_return absl::OkStatus();
}

}  // namespace

Task<Status> GuestStreams::Serve(http::Exchange* exchange) {
  const http::Request& request = exchange->request();
  auto query = Query::Parse(request.target);
  if (!query.ok()) co_return co_await exchange->Respond(ErrorOf(query.status()));
  const std::string path = query->path();
  const std::string method = path == "/v1/exec" || path == "/v1/attach" ? "POST" : "GET";
  const bool known = method == "POST" || path == "/v1/logs" || path == "/v1/logfile" || path == "/v1/portforward" ||
                     path == "/v1/stats";
  if (!known) co_return co_await exchange->Respond(ErrorResponse(404, "NotFound", "no such endpoint"));
  if (request.method != method) {
    auto response = ErrorResponse(405, "MethodNotAllowed", absl::StrCat(path, " wants ", method));
    response.headers.Set("Allow", method);
    co_return co_await exchange->Respond(std::move(response));
  }
  if (path == "/v1/exec") co_return co_await Exec(exchange, *std::move(query));
  if (path == "/v1/attach") co_return co_await Attach(exchange, *std::move(query));
  if (path == "/v1/logs") co_return co_await Logs(exchange, *std::move(query));
  if (path == "/v1/logfile") co_return co_await LogFile(exchange, *std::move(query));
  if (path == "/v1/stats") co_return co_await Stats(exchange);
  co_return co_await PortForward(exchange, *std::move(query));
}

Task<StatusOr<std::shared_ptr<StreamPeer>>> GuestStreams::UpgradeToFrames(http::Exchange* exchange) {
  std::string leftover;
  http::Headers headers{{"Upgrade", std::string(guestapi::kStreamProtocol)}};
  CO_ASSIGN_OR_RETURN(auto stream, co_await exchange->Upgrade(std::move(headers), &leftover));
  co_return std::make_shared<StreamPeer>(std::move(stream), std::move(leftover));
}

Task<Status> GuestStreams::Exec(http::Exchange* exchange, Query query) {
  auto run = runtime_->RunningRun(query.Get("container"));
  if (!run.ok()) co_return co_await exchange->Respond(ErrorOf(run.status()));
  ProcessRequest request{.command = query.All("command"), .tty = query.Flag("tty")};
  request.streams = {.in = query.Flag("stdin"), .out = query.Flag("stdout"), .err = query.Flag("stderr")};
  if (request.command.empty()) {
    co_return co_await exchange->Respond(ErrorResponse(400, "BadRequest", "you must specify at least 1 command"));
  }
  if (!request.streams.in && !request.streams.out && !request.streams.err) {
    co_return co_await exchange->Respond(
        ErrorResponse(400, "BadRequest", "you must specify at least 1 of stdin, stdout, stderr"));
  }
  if (!Offers(*exchange, guestapi::kStreamProtocol)) {
    co_return co_await RefuseUpgrade(exchange, guestapi::kStreamProtocol);
  }
  CO_ASSIGN_OR_RETURN(auto peer, co_await UpgradeToFrames(exchange));
  auto started = co_await runtime_->StartProcess(*std::move(run), std::move(request));
  if (!started.ok()) {
    const std::string_view prefix = absl::IsInvalidArgument(started.status()) ? kExecPrefix : "";
    co_await peer->Finish(runtime_->clock(), {.error = absl::StrCat(prefix, started.status().message())});
    co_return absl::OkStatus();
  }
  auto process = std::make_shared<StartedProcess>(*std::move(started));
  co_await ServeProcess(runtime_->clock(), std::move(process), std::move(peer));
  co_return absl::OkStatus();
}

Task<Status> GuestStreams::Attach(http::Exchange* exchange, Query query) {
  auto run = runtime_->RunningRun(query.Get("container"));
  std::shared_ptr<ContainerIo> io = run.ok() ? runtime_->IoOf(*run) : nullptr;
  if (run.ok() && io == nullptr) run = absl::NotFoundError("the container has ended");
  if (!run.ok()) co_return co_await exchange->Respond(ErrorOf(run.status()));
  if (!Offers(*exchange, guestapi::kStreamProtocol)) {
    co_return co_await RefuseUpgrade(exchange, guestapi::kStreamProtocol);
  }
  CO_ASSIGN_OR_RETURN(auto peer, co_await UpgradeToFrames(exchange));
  ContainerIo::AttachOptions options{
      .in = query.Flag("stdin"), .out = query.Flag("stdout"), .err = query.Flag("stderr")};
  co_await io->Attach(std::move(peer), options);
  co_return absl::OkStatus();
}

Task<Status> GuestStreams::Logs(http::Exchange* exchange, Query query) {
  auto options = ParseLogOptions(query);
  if (!options.ok()) co_return co_await exchange->Respond(ErrorOf(options.status()));
  auto log = co_await runtime_->FindLog(std::string(query.Get("container")), query.Flag("previous"));
  if (!log.ok()) co_return co_await exchange->Respond(ErrorOf(log.status()));
  co_return co_await SendLog(exchange, *std::move(log), *std::move(options));
}

Task<Status> GuestStreams::LogFile(http::Exchange* exchange, Query query) {
  const std::string_view run = query.Get("run");
  if (!run.empty() && run != "current" && run != "previous") {
    co_return co_await exchange->Respond(ErrorResponse(400, "BadRequest", "run: current or previous"));
  }
  auto log = co_await runtime_->FindLog(std::string(query.Get("container")), run == "previous");
  if (absl::IsFailedPrecondition(log.status())) log = absl::NotFoundError(log.status().message());
  if (!log.ok()) co_return co_await exchange->Respond(ErrorOf(log.status()));
  co_return co_await SendLog(exchange, *std::move(log), {.raw = true});
}

Task<Status> GuestStreams::SendLog(http::Exchange* exchange, RunLog log, LogReadOptions options) {
  CO_RETURN_IF_ERROR(co_await exchange->Begin(200, {{"Content-Type", "text/plain"}}));
  ToResponse sink(exchange);
  Status result;
  if (!options.follow || log.live == nullptr) {
    result = co_await ReadLog(runtime_->pool(), log.path, log.live, options, &sink);
  } else {
    // A silent container's log must not keep a connection that nobody holds any more.
    TaskGroup group(runtime_->executor());
    group.Spawn("read", ReadThenEnd(runtime_->pool(), std::move(log), options, &sink, &result));
    group.Spawn("client", AwaitClosed(exchange, &result));
    (void)co_await group.Join();
  }
  // One that has been rotated away is an empty one.
  if (!result.ok() && !absl::IsNotFound(result)) co_return result;
  co_return co_await exchange->Finish();
}

Task<Status> GuestStreams::PortForward(http::Exchange* exchange, Query query) {
  auto port = query.Number("port", 1);
  if (port.ok() && (!*port || **port > 65535)) port = absl::InvalidArgumentError("port: a number from 1 to 65535");
  if (!port.ok()) co_return co_await exchange->Respond(ErrorOf(port.status()));
  if (!Offers(*exchange, guestapi::kTunnelProtocol)) {
    co_return co_await RefuseUpgrade(exchange, guestapi::kTunnelProtocol);
  }
  // The pod's network namespace is the guest's own.
  StatusOr<std::unique_ptr<http::Stream>> target;
  for (const char* host : {"127.0.0.1", "::1"}) {
    target = co_await http::Dial(*runtime_->clock(), host, static_cast<uint16_t>(**port), nullptr,
                                 {.connect_timeout = kDialTimeout});
    if (target.ok()) break;
  }
  if (!target.ok()) {
    co_return co_await exchange->Respond(ErrorResponse(
        502, "BadGateway",
        absl::StrCat("failed to connect to localhost:", **port, " inside the pod: ", target.status().message())));
  }
  std::string leftover;
  http::Headers headers{{"Upgrade", std::string(guestapi::kTunnelProtocol)}};
  CO_ASSIGN_OR_RETURN(auto client, co_await exchange->Upgrade(std::move(headers), &leftover));
  TaskGroup group(runtime_->executor());
  group.Spawn("to the pod", Copy(client.get(), target->get(), std::move(leftover)));
  group.Spawn("from the pod", Copy(target->get(), client.get(), ""));
  (void)co_await group.Join();
  co_return absl::OkStatus();
}

Task<Status> GuestStreams::Stats(http::Exchange* exchange) {
  auto read = [sources = runtime_->Measured(), now = runtime_->clock()->WallNow()] {
    return json::Serialize(ReadStats(sources, now));
  };
  std::string body = co_await Offload(*runtime_->pool(), std::move(read));
  co_return co_await exchange->Respond({200, {{"Content-Type", "application/json"}}, std::move(body)});
}

}  // namespace vck::guestos
