#include "kubeletapi/api.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "async/timeout.h"
#include "base/log.h"
#include "guestapi/stream.h"
#include "json/json.h"
#include "kubeapi/pod_view.h"
#include "kubeletapi/answers.h"
#include "kubeletapi/attributes.h"
#include "kubeletapi/command_client.h"
#include "kubeletapi/command_session.h"
#include "kubeletapi/container_logs.h"
#include "kubeletapi/port_forward.h"
#include "kubeletapi/remote_command.h"
#include "kubeletapi/websocket_stream.h"

namespace vck::kubeletapi {
namespace {

using internal::Text;

constexpr size_t kMaxRunOutput = size_t{1024} * 1024;
constexpr std::string_view kPortForwardProtocol = "portforward.k8s.io";
constexpr std::string_view kTunnelledPortForward = "SPDY/3.1+portforward.k8s.io";

http::Response NotFoundPage() { return Text(404, "404: Page Not Found"); }

http::Response NotAllowed(std::string allow) {
  http::Response out = Text(405, "405: Method Not Allowed");
  out.headers.Set("Allow", std::move(allow));
  return out;
}

// A body of which the first piece has been read already.
class Prefetched : public http::BodyReader {
 public:
  Prefetched(std::string first, std::unique_ptr<http::BodyReader> rest)
      : first_(std::move(first)), rest_(std::move(rest)) {}
  Task<StatusOr<std::string>> Read() override {
    // An empty one is the end.
    if (!std::exchange(begun_, true)) co_return std::move(first_);
    co_return co_await rest_->Read();
  }

 private:
  std::string first_;
  std::unique_ptr<http::BodyReader> rest_;
  bool begun_ = false;
};

bool HasContainer(const kubeapi::PodView& pod, std::string_view name) {
  bool found = false;
  pod.ForEachContainer([&](const kubeapi::ContainerView& c) { found = found || c.name() == name; });
  return found;
}

bool HasTty(const kubeapi::PodView& pod, std::string_view name) {
  bool tty = false;
  pod.ForEachContainer([&](const kubeapi::ContainerView& c) {
    if (c.name() == name) tty = json::Bool(c.json(), "tty");
  });
  return tty;
}

// The query, and of a POST the form in its body, too (Go's Request.FormValue).
Query FormOf(const http::Request& request, const Query& query) {
  Query out;
  if (request.method == "POST" && absl::StartsWithIgnoreCase(request.headers.Get("Content-Type").value_or(""),
                                                             "application/x-www-form-urlencoded")) {
    ParseForm(request.body, &out);
  }
  out.AddAll(query);
  return out;
}

http::Response NoSuchProtocol(std::vector<std::string> offered) {
  std::erase_if(offered, IsTokenProtocol);
  return Text(403, absl::StrCat("requested protocol(s) are not supported: [", absl::StrJoin(offered, " "), "]"));
}

// What the tether said about a container that has no such process: in the kubelet's words and with its status.
http::Response CommandError(const Status& status, std::string_view container) {
  if (absl::IsNotFound(status)) return Text(500, absl::StrCat("container not found (\"", container, "\")"));
  const auto tether = guestlink::GetTetherError(status);
  return Text(tether && tether->http_status == 400 ? 400 : 500, std::string(status.message()));
}

}  // namespace

Task<Status> Api::Handle(http::Exchange& exchange) {
  const http::Request& request = exchange.request();
  auto target = ParseTarget(request.target);
  if (!target.ok()) co_return co_await exchange.Respond(Text(400, "400 Bad Request"));
  if (!target->cleaned.empty()) {
    http::Response elsewhere = Text(307, "");
    elsewhere.headers.Set("Location", target->cleaned);
    co_return co_await exchange.Respond(std::move(elsewhere));
  }
  // Without anybody who could be let in, health is all that is told, and to everybody.
  if (!deps_.auth.open() && target->path == "/healthz") co_return co_await Healthz(exchange);
  Refusal refusal = co_await deps_.auth.Check(exchange, AttributesOf(request.method, *target));
  if (refusal.status != 0) co_return co_await exchange.Respond(Text(refusal.status, std::move(refusal.body)));
  if (target->devious) co_return co_await exchange.Respond(NotFoundPage());
  co_return co_await Serve({exchange, *std::move(target)});
}

Task<Status> Api::Serve(Call call) {
  const std::vector<std::string>& path = call.target.segments;
  const std::string& method = call.exchange.request().method;
  const bool get = method == "GET", post = method == "POST";
  const std::string root = path.empty() ? "" : path[0];
  const size_t more = path.empty() ? 0 : path.size() - 1;
  if (root == "healthz" && more <= 1) {
    if (!get && method != "HEAD") co_return co_await call.exchange.Respond(NotAllowed("GET, HEAD"));
    if (more == 1 && path[1] != "ping" && path[1] != "log" && path[1] != "syncloop") {
      co_return co_await call.exchange.Respond(NotFoundPage());
    }
    co_return co_await Healthz(call.exchange);
  }
  if (deps_.observer != nullptr && Observer::Knows(call.target)) {
    if (!get) co_return co_await call.exchange.Respond(NotAllowed("GET"));
    co_return co_await deps_.observer->Serve(call.exchange, std::move(call.target));
  }
  if ((root == "pods" || root == "runningpods") && more == 0) {
    if (!get) co_return co_await call.exchange.Respond(NotAllowed("GET"));
    co_return co_await Pods(call.exchange, root == "runningpods");
  }
  if (root == "containerLogs" && more == 3) {
    if (!get) co_return co_await call.exchange.Respond(NotAllowed("GET"));
    co_return co_await ContainerLogs(std::move(call));
  }
  if ((root == "exec" || root == "attach") && (more == 3 || more == 4)) {
    if (!get && !post) co_return co_await call.exchange.Respond(NotAllowed("GET, POST"));
    co_return co_await ExecOrAttach(std::move(call), root == "attach");
  }
  if (root == "portForward" && (more == 2 || more == 3)) {
    if (!get && !post) co_return co_await call.exchange.Respond(NotAllowed("GET, POST"));
    co_return co_await PortForward(std::move(call));
  }
  if (root == "run" && (more == 3 || more == 4)) {
    if (!post) co_return co_await call.exchange.Respond(NotAllowed("POST"));
    co_return co_await Run(std::move(call));
  }
  co_return co_await call.exchange.Respond(NotFoundPage());
}

Task<Status> Api::Healthz(http::Exchange& exchange) {
  const Status health = deps_.health ? deps_.health() : absl::OkStatus();
  if (health.ok()) co_return co_await exchange.Respond(Text(200, "ok"));
  co_return co_await exchange.Respond(Text(500, absl::StrCat("[-]syncloop failed: ", health.message(), "\n")));
}

Task<Status> Api::Pods(http::Exchange& exchange, bool running) {
  // The objects are held, and written one by one: a node may have thousands.
  const std::vector<kube::ObjectPtr> pods = deps_.pods.All();
  CO_RETURN_IF_ERROR(co_await exchange.Begin(200, {{"Content-Type", "application/json"}}));
  std::string out = R"({"kind":"PodList","apiVersion":"v1","metadata":{},"items":[)";
  bool first = true;
  for (const kube::ObjectPtr& pod : pods) {
    std::string item;
    if (!running) {
      item = pod->json();
    } else if (auto link = deps_.links.states().Get(std::string(pod->uid())); link != nullptr) {
      // As the kubelet makes it of what its runtime tells.
      json::Array containers;
      for (const auto& container : link->guest.containers) {
        if (container.phase != guestapi::ContainerState::Phase::kRunning) continue;
        containers.push_back(json::Object{{"name", container.name}, {"image", container.image_id}});
      }
      if (!containers.empty()) {
        json::Object metadata{{"name", pod->name()}, {"namespace", pod->ns()}, {"uid", pod->uid()}};
        item = json::Serialize(json::Object{{"metadata", std::move(metadata)},
                                            {"spec", json::Object{{"containers", std::move(containers)}}},
                                            {"status", json::Object()}});
      }
    }
    if (item.empty()) continue;
    absl::StrAppend(&out, std::exchange(first, false) ? "" : ",", item);
    if (out.size() < size_t{32} * 1024) continue;
    CO_RETURN_IF_ERROR(co_await exchange.WriteSome(out));
    out.clear();
  }
  out += "]}\n";
  CO_RETURN_IF_ERROR(co_await exchange.WriteSome(out));
  co_return co_await exchange.Finish();
}

// ---- logs ----

Task<Status> Api::ContainerLogs(Call call) {
  http::Exchange& exchange = call.exchange;
  auto options = ParseLogOptions(call.target.query);
  if (!options.ok()) {
    co_return co_await exchange.Respond(
        Text(absl::IsInvalidArgument(options.status()) ? 400 : 422, std::string(options.status().message())));
  }
  Place place{.pod = deps_.pods.Find(call.target.segments[1], call.target.segments[2]),
              .uid = {},
              .name = call.target.segments[2],
              .ns = call.target.segments[1],
              .container = call.target.segments[3]};
  if (place.pod == nullptr) {
    co_return co_await exchange.Respond(Text(404, absl::StrCat("pod \"", place.name, "\" does not exist")));
  }
  place.uid = std::string(place.pod->uid());
  {
    CO_ASSIGN_OR_RETURN(auto document, json::Document::Parse(place.pod->json()));
    if (!HasContainer(kubeapi::PodView(document.root()), place.container)) {
      co_return co_await exchange.Respond(
          Text(404, absl::StrCat("container \"", place.container, "\" not found in pod \"", place.name, "\"")));
    }
  }
  // Seconds ago are by our clock, log times by the guest's.
  absl::Time guest_now = deps_.clock.WallNow();
  if (auto link = deps_.links.states().Get(place.uid); link != nullptr && link->guest.sequence > 0) {
    guest_now -= link->clock_offset;
  }
  auto log = co_await deps_.links.Get(place.uid, TetherLogsTarget(place.container, *options, guest_now));
  if (log.ok() && options->follow) co_return co_await internal::SendLog(exchange, std::move(log->body));
  if (log.ok()) {
    // Until its first piece is there nothing is promised: the guest of a finished pod may power off at any time.
    auto first = co_await log->body->Read();
    if (first.ok()) {
      co_return co_await internal::SendLog(exchange,
                                           std::make_unique<Prefetched>(*std::move(first), std::move(log->body)));
    }
    log = first.status();
  }
  const auto tether = guestlink::GetTetherError(log.status());
  // A guest that is there knows best, but not what an earlier boot of it has kept.
  if (tether && tether->http_status != 404) {
    co_return co_await exchange.Respond(
        Text(tether->http_status == 400 ? 400 : 500, std::string(log.status().message())));
  }
  co_return co_await ArchivedLogs(exchange, std::move(place), *options, log.status());
}

Task<Status> Api::ArchivedLogs(http::Exchange& exchange, Place place, LogOptions options, Status why) {
  Status status = absl::NotFoundError("");
  if (deps_.archive) {
    status = co_await internal::SendArchivedLog(exchange, deps_.archive, place.uid, place.container, options,
                                                deps_.clock.WallNow());
    if (status.ok()) co_return status;
  }
  if (absl::IsNotFound(status)) {
    CO_ASSIGN_OR_RETURN(auto document, json::Document::Parse(place.pod->json()));
    status = internal::CheckLogStatus(kubeapi::PodView(document.root()), place.container, options.previous);
    if (status.ok()) status = why;
  }
  // A log that was begun cannot become an error any more.
  co_return co_await exchange.Respond(Text(400, std::string(status.message())));
}

void Api::Count(const char* kind, bool websocket, std::string_view protocol) {
  if (deps_.registry == nullptr) return;
  deps_.registry
      ->counter("vch_kubelet_streams_total", "Streams that were begun, by what the client speaks.",
                {{"kind", kind}, {"transport", websocket ? "websocket" : "spdy"}, {"protocol", std::string(protocol)}})
      .Increment();
}

// ---- commands ----

Task<Status> Api::ExecOrAttach(Call call, bool attach) {
  http::Exchange& exchange = call.exchange;
  const http::Request& request = exchange.request();
  const std::vector<std::string>& path = call.target.segments;
  const Query form = FormOf(request, call.target.query);
  auto streams = ParseCommandStreams(form);
  if (!streams.ok()) co_return co_await exchange.Respond(Text(400, std::string(streams.status().message())));
  Place place{
      .pod = deps_.pods.Find(path[1], path[2]), .uid = {}, .name = path[2], .ns = path[1], .container = path.back()};
  if (place.pod == nullptr) co_return co_await exchange.Respond(Text(404, "pod does not exist"));
  place.uid = std::string(place.pod->uid());
  {
    CO_ASSIGN_OR_RETURN(auto document, json::Document::Parse(place.pod->json()));
    kubeapi::PodView pod(document.root());
    if (!HasContainer(pod, place.container) || (path.size() == 5 && path[3] != place.uid)) {
      co_return co_await exchange.Respond(Text(
          500, attach ? absl::StrCat("container ", place.container, " not found in pod ", place.name, "_", place.ns)
                      : absl::StrCat("container not found (\"", place.container, "\")")));
    }
    // Whether a container has a terminal was decided when it started.
    if (attach) {
      streams->tty = HasTty(pod, place.container);
      if (streams->tty) streams->err = false;
    }
  }
  const std::vector<std::string>& command = call.target.query.All("command");
  if (!attach && command.empty()) {
    co_return co_await exchange.Respond(Text(400, "you must specify at least one command for the container"));
  }

  // What the client speaks is checked before anything is started for it.
  std::optional<WebSocketChoice> socket;
  Negotiation negotiated;
  http::Headers upgrade;
  if (http::IsWebSocketRequest(request)) {
    socket = ChooseCommandProtocol(request);
    if (!socket) {
      co_return co_await exchange.Respond(NoSuchProtocol(http::WebSocketProtocols(request)));
    }
    auto headers = http::AcceptWebSocket(request, socket->protocol);
    if (!headers.ok()) co_return co_await exchange.Respond(Text(400, std::string(headers.status().message())));
    upgrade = *std::move(headers);
  } else if (IsSpdyRequest(request)) {
    negotiated = Negotiate(request, CommandProtocols());
    if (negotiated.protocol.empty()) {
      http::Response response = Text(negotiated.status, negotiated.error + "\n");
      for (const auto& [name, value] : negotiated.headers.fields()) response.headers.Add(name, value);
      co_return co_await exchange.Respond(std::move(response));
    }
    upgrade = negotiated.headers;
    upgrade.Add("Connection", "Upgrade");
    upgrade.Add("Upgrade", "SPDY/3.1");
  } else {
    co_return co_await exchange.Respond(Text(400, "Upgrade request required"));
  }

  http::Request wanted{.method = "POST",
                       .target = attach ? TetherAttachTarget(place.container, *streams)
                                        : TetherExecTarget(place.container, command, *streams),
                       .headers = {{"Upgrade", std::string(guestapi::kStreamProtocol)}},
                       .body = {}};
  auto guest = co_await deps_.links.Open(place.uid, std::move(wanted));
  if (!guest.ok()) co_return co_await exchange.Respond(CommandError(guest.status(), place.container));

  std::string leftover;
  CO_ASSIGN_OR_RETURN(auto stream, co_await exchange.Upgrade(std::move(upgrade), &leftover));
  Count(attach ? "attach" : "exec", socket.has_value(), socket ? socket->protocol : negotiated.protocol);
  CommandClientOptions options{
      .streams = *streams, .what = attach ? "error attaching to container" : "error executing command in container"};
  auto client = socket ? MakeWebSocketCommandClient(std::move(stream), std::move(leftover), *socket, std::move(options))
                       : MakeSpdyCommandClient(std::move(stream), std::move(leftover),
                                               CommandVersionOf(negotiated.protocol), std::move(options));
  co_await RunCommandSession(deps_.clock, std::move(client), *std::move(guest),
                             {.idle_timeout = options_.idle_timeout,
                              .creation_timeout = options_.creation_timeout,
                              .linger = options_.linger});
  co_return absl::OkStatus();
}

// ---- port-forward ----

Task<StatusOr<guestlink::OpenedStream>> Api::OpenTunnel(std::string uid, uint16_t port) {
  http::Request request{.method = "GET",
                        .target = absl::StrCat("/v1/portforward?port=", port),
                        .headers = {{"Upgrade", std::string(guestapi::kTunnelProtocol)}},
                        .body = {}};
  return deps_.links.Open(std::move(uid), std::move(request));
}

Task<Status> Api::PortForward(Call call) {
  http::Exchange& exchange = call.exchange;
  const http::Request& request = exchange.request();
  const std::vector<std::string>& path = call.target.segments;
  const bool socket = http::IsWebSocketRequest(request);
  const auto offered = http::WebSocketProtocols(request);
  const bool tunnelled = socket && std::find(offered.begin(), offered.end(), kTunnelledPortForward) != offered.end();
  std::vector<uint16_t> ports;
  if (socket && !tunnelled) {
    const auto& texts = call.target.query.All("port");
    if (texts.empty()) co_return co_await exchange.Respond(Text(400, R"(query parameter "port" is required)"));
    for (const std::string& text : texts) {
      for (std::string_view one : absl::StrSplit(text, ',')) {
        auto port = ParsePort(one);
        if (!port || ports.size() >= 127) {
          co_return co_await exchange.Respond(Text(400, absl::StrCat("unable to parse \"", text, "\" as a port")));
        }
        ports.push_back(*port);
      }
    }
  }
  kube::ObjectPtr pod = deps_.pods.Find(path[1], path[2]);
  if (pod == nullptr) co_return co_await exchange.Respond(Text(404, "pod does not exist"));
  const std::string uid(pod->uid());
  if (path.size() == 4 && path[3] != uid) co_return co_await exchange.Respond(Text(404, "pod not found"));
  auto link = deps_.links.states().Get(uid);
  if (link == nullptr || !link->connected) {
    co_return co_await exchange.Respond(
        Text(500, absl::StrCat("pod not found (\"", path[2], "_", path[1], "\"): its VM is not connected")));
  }
  PortForwardOptions options{.open = [this, uid](uint16_t port) { return OpenTunnel(uid, port); },
                             .pod = absl::StrCat(path[2], "_", path[1]),
                             .uid = uid,
                             .idle_timeout = options_.idle_timeout,
                             .creation_timeout = options_.creation_timeout,
                             .linger = options_.linger};
  std::string leftover;
  if (socket) {
    ChannelProtocol protocol;
    std::string chosen;
    if (tunnelled) {
      chosen = std::string(kTunnelledPortForward);
    } else if (!offered.empty()) {
      for (const std::string& one : offered) {
        if (chosen.empty() && (one == "v4.channel.k8s.io" || one == "v4.base64.channel.k8s.io")) chosen = one;
      }
      protocol.base64 = chosen == "v4.base64.channel.k8s.io";
      if (chosen.empty()) {
        co_return co_await exchange.Respond(NoSuchProtocol(offered));
      }
    }
    auto headers = http::AcceptWebSocket(request, chosen);
    if (!headers.ok()) co_return co_await exchange.Respond(Text(400, std::string(headers.status().message())));
    CO_ASSIGN_OR_RETURN(auto stream, co_await exchange.Upgrade(*std::move(headers), &leftover));
    Count("portForward", true, chosen);
    if (tunnelled) {
      co_await RunSpdyPortForward(deps_.clock, MakeWebSocketStream(std::move(stream), std::move(leftover)), "",
                                  std::move(options));
    } else {
      co_await RunWebSocketPortForward(deps_.clock, std::move(stream), std::move(leftover), protocol, std::move(ports),
                                       std::move(options));
    }
    co_return absl::OkStatus();
  }
  if (!IsSpdyRequest(request)) co_return co_await exchange.Respond(Text(400, "Upgrade request required"));
  Negotiation negotiated = Negotiate(request, {std::string(kPortForwardProtocol)});
  if (negotiated.protocol.empty()) {
    http::Response response = Text(negotiated.status, negotiated.error + "\n");
    for (const auto& [name, value] : negotiated.headers.fields()) response.headers.Add(name, value);
    co_return co_await exchange.Respond(std::move(response));
  }
  http::Headers upgrade = negotiated.headers;
  upgrade.Add("Connection", "Upgrade");
  upgrade.Add("Upgrade", "SPDY/3.1");
  CO_ASSIGN_OR_RETURN(auto stream, co_await exchange.Upgrade(std::move(upgrade), &leftover));
  Count("portForward", false, negotiated.protocol);
  co_await RunSpdyPortForward(deps_.clock, std::move(stream), std::move(leftover), std::move(options));
  co_return absl::OkStatus();
}

// ---- run ----

namespace {

// stdout and stderr of a command, at most kMaxRunOutput, and how it ended.
Task<StatusOr<std::string>> CollectOutput(guestlink::OpenedStream guest) {
  guestapi::StreamDecoder decoder;
  std::string out;
  std::optional<guestapi::StreamStatus> verdict;
  std::string text = std::exchange(guest.leftover, {});
  while (!verdict) {
    Status decoded = decoder.Feed(text, [&](guestapi::StreamChannel channel, std::string_view data) -> Status {
      if (channel == guestapi::StreamChannel::kStatus) {
        ASSIGN_OR_RETURN(verdict, guestapi::DecodeStreamStatus(data));
      } else if (out.size() + data.size() > kMaxRunOutput) {
        return absl::ResourceExhaustedError("the command's output is too long");
      } else {
        out.append(data);
      }
      return absl::OkStatus();
    });
    if (!decoded.ok()) co_return decoded;
    if (verdict) break;
    text.resize(size_t{16} * 1024);
    CO_ASSIGN_OR_RETURN(size_t n, co_await guest.stream->ReadSome(text));
    if (n == 0) co_return absl::UnavailableError("the connection to the pod's VM was lost");
    text.resize(n);
  }
  if (!verdict->error.empty()) co_return absl::InternalError(verdict->error);
  if (verdict->exit_code != 0) {
    co_return absl::InternalError(absl::StrCat("command terminated with exit code ", verdict->exit_code));
  }
  co_return out;
}

}  // namespace

Task<Status> Api::Run(Call call) {
  http::Exchange& exchange = call.exchange;
  const std::vector<std::string>& path = call.target.segments;
  const Query form = FormOf(exchange.request(), call.target.query);
  kube::ObjectPtr pod = deps_.pods.Find(path[1], path[2]);
  if (pod == nullptr) co_return co_await exchange.Respond(Text(404, "pod does not exist"));
  const std::string uid(pod->uid());
  const std::string& container = path.back();
  if (path.size() == 5 && path[3] != uid) {
    co_return co_await exchange.Respond(Text(500, absl::StrCat("container not found (\"", container, "\")")));
  }
  // As the kubelet: words are told apart by single spaces.
  const std::vector<std::string> command = absl::StrSplit(form.Get("cmd"), ' ');
  http::Request wanted{.method = "POST",
                       .target = TetherExecTarget(container, command, {.out = true, .err = true}),
                       .headers = {{"Upgrade", std::string(guestapi::kStreamProtocol)}},
                       .body = {}};
  auto guest = co_await deps_.links.Open(uid, std::move(wanted));
  if (!guest.ok()) co_return co_await exchange.Respond(CommandError(guest.status(), container));
  auto output =
      co_await WithTimeout(deps_.clock, options_.run_timeout, "the command", CollectOutput(*std::move(guest)));
  if (!output.ok()) co_return co_await exchange.Respond(Text(500, std::string(output.status().message())));
  co_return co_await exchange.Respond({200, {{"Content-Type", "application/json"}}, *std::move(output)});
}

}  // namespace vck::kubeletapi
