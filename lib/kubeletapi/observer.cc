#include "kubeletapi/observer.h"

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kubeletapi/answers.h"
#include "kubeletapi/cadvisor_metrics.h"
#include "kubeletapi/daemon_log.h"
#include "kubeletapi/probe_metrics.h"
#include "kubeletapi/resource_metrics.h"
#include "kubeletapi/summary.h"

namespace vck::kubeletapi {
namespace {

using internal::Text;

// Text is sent in pieces of this size, however many pods there are.
constexpr size_t kPiece = size_t{32} * 1024;
constexpr std::string_view kMetricsType = "text/plain; version=0.0.4; charset=utf-8";
constexpr std::string_view kForPeople =
    "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is "
    "for "
    "debugging purposes only.\n";
constexpr std::array<std::string_view, 17> kPaths = {"/attach",
                                                     "/configz",
                                                     "/containerLogs",
                                                     "/exec",
                                                     "/flagz",
                                                     "/healthz",
                                                     "/logs",
                                                     "/metrics",
                                                     "/metrics/cadvisor",
                                                     "/metrics/probes",
                                                     "/metrics/resource",
                                                     "/pods",
                                                     "/portForward",
                                                     "/run",
                                                     "/runningpods",
                                                     "/stats/summary",
                                                     "/statusz"};
constexpr const char* kAsked = "vch_guest_stats_requests_total";
constexpr const char* kAskedHelp = "Guests asked for their figures: ok, or failed";

// Sends what has been gathered once it is enough.
Task<Status> Flush(http::Exchange* exchange, std::string* text, bool all) {
  if (text->empty() || (!all && text->size() < kPiece)) co_return absl::OkStatus();
  CO_RETURN_IF_ERROR(co_await exchange->WriteSome(*text));
  text->clear();
  co_return absl::OkStatus();
}

std::string_view RootOf(const Target& target) {
  return target.segments.empty() ? std::string_view() : std::string_view(target.segments[0]);
}

}  // namespace

Observer::Observer(Deps deps, PollOptions options)
    : deps_(std::move(deps)),
      started_(deps_.clock.WallNow()),
      network_(started_),
      stats_({.clock = deps_.clock,
              .links = deps_.links,
              .pods = deps_.pods,
              .answered = deps_.registry.counter(kAsked, kAskedHelp, {{"what", "stats"}, {"result", "ok"}}),
              .failed = deps_.registry.counter(kAsked, kAskedHelp, {{"what", "stats"}, {"result", "failed"}})},
             {.target = "/v1/stats",
              .decode = DecodePodStats,
              .only_if = {},
              .seen = [this](const PodStats& pod) { network_.Add(pod); }},
             options),
      probes_({.clock = deps_.clock,
               .links = deps_.links,
               .pods = deps_.pods,
               .answered = deps_.registry.counter(kAsked, kAskedHelp, {{"what", "probes"}, {"result", "ok"}}),
               .failed = deps_.registry.counter(kAsked, kAskedHelp, {{"what", "probes"}, {"result", "failed"}})},
              // livenessProbe, readinessProbe, startupProbe.
              {.target = "/v1/probes", .decode = DecodePodProbes, .only_if = "Probe\":", .seen = {}}, options) {}

bool Observer::Knows(const Target& target) {
  const std::string_view root = RootOf(target);
  if (root == "logs") return true;
  if (root == "stats") return target.segments.size() == 2 && target.segments[1] == "summary";
  if (root == "metrics" && target.segments.size() == 2) {
    const std::string& of = target.segments[1];
    return of == "resource" || of == "cadvisor" || of == "probes";
  }
  return target.segments.size() == 1 &&
         (root == "metrics" || root == "configz" || root == "statusz" || root == "flagz");
}

Task<Status> Observer::Serve(http::Exchange& exchange, Target target) {
  const std::string root(RootOf(target));
  if (root == "stats") co_return co_await Summary(exchange, target.query.Get("only_cpu_and_memory") != "true");
  if (root == "metrics") {
    const std::string of = target.segments.size() == 2 ? target.segments[1] : "";
    if (of == "resource") co_return co_await Metrics(exchange, ResourceFamilies(), true);
    if (of == "cadvisor") co_return co_await Metrics(exchange, CadvisorFamilies(), false);
    if (of == "probes") co_return co_await Probes(exchange);
    co_return co_await exchange.Respond({200, {{"Content-Type", std::string(kMetricsType)}}, deps_.registry.Text()});
  }
  if (root == "configz") {
    co_return co_await exchange.Respond(
        {200, {{"Content-Type", "application/json"}}, absl::StrCat(R"({"kubeletconfig":)", deps_.configz, "}\n")});
  }
  if (root == "statusz") co_return co_await exchange.Respond(Text(200, Statusz()));
  if (root == "flagz") co_return co_await exchange.Respond(Text(200, Flagz()));
  co_return co_await exchange.Respond(DaemonLog(target, deps_.log));
}

Task<Status> Observer::Run() {
  auto executor = co_await asio::this_coro::executor;
  TaskGroup group(executor);
  group.Spawn("stats", stats_.Run());
  group.Spawn("probes", probes_.Run());
  co_return co_await group.Join();
}

NodeStats Observer::Node() {
  const std::vector<kube::ObjectPtr> pods = deps_.pods.All();
  if (network_.size() > pods.size()) network_.Keep(pods);
  NodeStats out = deps_.node();
  out.network = network_.total();
  return out;
}

Task<Status> Observer::Summary(http::Exchange& exchange, bool all) {
  const std::vector<PodStatsPtr> pods = co_await stats_.Get();
  CO_RETURN_IF_ERROR(co_await exchange.Begin(200, {{"Content-Type", "application/json"}}));
  std::string out = R"({"node":)";
  AppendNodeSummary(Node(), all, &out);
  out.append(R"(,"pods":[)");
  bool first = true;
  for (const PodStatsPtr& pod : pods) {
    if (!std::exchange(first, false)) out.push_back(',');
    AppendPodSummary(*pod, all, &out);
    CO_RETURN_IF_ERROR(co_await Flush(&exchange, &out, false));
  }
  out.append("]}\n");
  CO_RETURN_IF_ERROR(co_await Flush(&exchange, &out, true));
  co_return co_await exchange.Finish();
}

Task<Status> Observer::Metrics(http::Exchange& exchange, std::span<const MetricFamily> families, bool resource) {
  const std::vector<PodStatsPtr> pods = co_await stats_.Get();
  const NodeStats node = Node();
  CO_RETURN_IF_ERROR(co_await exchange.Begin(200, {{"Content-Type", std::string(kMetricsType)}}));
  std::string out;
  for (const MetricFamily& family : families) {
    // A family without a line has no header either.
    std::string lines;
    if (family.node != nullptr) family.node(family, node, &lines);
    bool begun = false;
    size_t i = 0;
    do {
      if (family.pod != nullptr && i < pods.size()) family.pod(family, *pods[i], &lines);
      if (!lines.empty() && !std::exchange(begun, true)) AppendHeader(family, &out);
      out.append(lines);
      lines.clear();
      CO_RETURN_IF_ERROR(co_await Flush(&exchange, &out, false));
    } while (++i < pods.size() && family.pod != nullptr);
  }
  if (resource) {
    const MetricFamily error{.name = "resource_scrape_error",
                             .type = "gauge",
                             .help = "1 if there was an error while getting container metrics, 0 otherwise"};
    AppendHeader(error, &out);
    absl::StrAppend(&out, error.name, " 0\n");
  }
  CO_RETURN_IF_ERROR(co_await Flush(&exchange, &out, true));
  co_return co_await exchange.Finish();
}

Task<Status> Observer::Probes(http::Exchange& exchange) {
  const std::vector<PodProbesPtr> pods = co_await probes_.Get();
  CO_RETURN_IF_ERROR(co_await exchange.Begin(200, {{"Content-Type", std::string(kMetricsType)}}));
  std::string out;
  for (const ProbeFamily& family : ProbeFamilies()) {
    bool begun = false;
    for (const PodProbesPtr& pod : pods) {
      std::string lines;
      family.append(family, *pod, &lines);
      if (!lines.empty() && !std::exchange(begun, true)) AppendHeader(family, &out);
      out.append(lines);
      CO_RETURN_IF_ERROR(co_await Flush(&exchange, &out, false));
    }
  }
  CO_RETURN_IF_ERROR(co_await Flush(&exchange, &out, true));
  co_return co_await exchange.Finish();
}

std::string Observer::Statusz() const {
  const absl::Duration up = deps_.clock.WallNow() - started_;
  const int64_t seconds = absl::ToInt64Seconds(up);
  std::string out =
      absl::StrCat("\nkubelet statusz\n", kForPeople,
                   "\nStarted: ", absl::FormatTime("%a %b %e %H:%M:%S UTC %Y", started_, absl::UTCTimeZone()), "\n");
  absl::StrAppendFormat(&out, "Up: %d hr %02d min %02d sec\n", seconds / 3600, seconds / 60 % 60, seconds % 60);
  absl::StrAppend(&out, "Binary version: vch-kubelet ", deps_.version, "\nPaths:");
  for (std::string_view path : kPaths) absl::StrAppend(&out, " ", path);
  out.push_back('\n');
  return out;
}

std::string Observer::Flagz() const {
  std::string out = absl::StrCat("\nkubelet flagz\n", kForPeople, "\n");
  for (const auto& [name, value] : deps_.flags) absl::StrAppend(&out, name, "=", value, "\n");
  return out;
}

}  // namespace vck::kubeletapi
