#include "node/status_server.h"

#include "absl/strings/numbers.h"
#include "node/host.h"

namespace vck::node {
namespace {

Task<Status> Serve(http::Exchange& exchange, metrics::Registry& registry, const std::function<Status()>& health) {
  const http::Request& request = exchange.request();
  std::string path = request.target.substr(0, request.target.find('?'));
  http::Response response{.status = 200, .headers = {{"Content-Type", "text/plain; charset=utf-8"}}, .body = {}};
  if (request.method != "GET" && request.method != "HEAD") {
    response.status = 405;
    response.headers.Set("Allow", "GET, HEAD");
    response.body = "only GET is answered here\n";
  } else if (path == "/metrics") {
    response.headers.Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    response.body = registry.Text();
  } else if (path == "/healthz" || path == "/livez") {
    Status status = health();
    response.status = status.ok() ? 200 : 503;
    response.body = status.ok() ? "ok" : std::string(status.message());
  } else {
    response.status = 404;
    response.body = "there are /metrics and /healthz\n";
  }
  co_return co_await exchange.Respond(std::move(response));
}

}  // namespace

StatusOr<std::unique_ptr<http::Server>> MakeStatusServer(Executor executor, Clock& clock, const std::string& address,
                                                         metrics::Registry& registry, std::function<Status()> health) {
  registry.callback("process_resident_memory_bytes", "Resident memory size in bytes.", {}, false,
                    [] { return ReadProcessUsage().resident_bytes; });
  registry.callback("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", {}, true,
                    [] { return ReadProcessUsage().cpu_seconds; });
  registry.callback("process_open_fds", "Number of open file descriptors.", {}, false,
                    [] { return ReadProcessUsage().open_fds; });
  registry.callback("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", {}, false,
                    [] { return ReadProcessUsage().start_time; });
  size_t colon = address.rfind(':');
  http::ServerOptions options;
  options.address = address.substr(0, colon);
  int port = 0;
  if (!absl::SimpleAtoi(address.substr(colon + 1), &port))
    return absl::InvalidArgumentError("--metrics-address: no port");
  options.port = static_cast<uint16_t>(port);
  options.max_connections = 64;
  auto server = http::Server::Listen(
      executor, clock, options,
      [&registry, health = std::move(health)](http::Exchange& exchange) { return Serve(exchange, registry, health); });
  if (!server.ok()) return Annotate(server.status(), absl::StrCat("--metrics-address ", address));
  return server;
}

}  // namespace vck::node
