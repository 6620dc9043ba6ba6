#include <algorithm>
#include <functional>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/time/time.h"
#include "guestapi/expand.h"
#include "podvm/resolve_parts.h"

namespace vck::podvm::internal {
namespace {

using guestapi::Handler;
using kubeapi::ContainerView;

int Bounded(const json::Value& value, std::string_view key, int64_t fallback, int64_t least) {
  const int64_t given = json::Int(value, key, fallback);
  // Zero is what clients of an old API may have stored for "not set".
  return static_cast<int>(
      std::clamp<int64_t>(given == 0 && least > 0 ? fallback : given, least, guestapi::kMaxSpecSeconds));
}

// A number, or the name of one of the container's ports; 0 if it has no such port, so that the handler fails as the
// kubelet's does.
int PortOf(const ContainerView& container, const json::Value& action) {
  int64_t port = json::Int(action, "port");
  if (const std::string_view name = json::String(action, "port"); !name.empty()) {
    bool found = false;
    for (const json::Value& candidate : container.ports()) {
      if (found || json::String(candidate, "name") != name) continue;
      found = true;
      port = json::Int(candidate, "containerPort");
    }
    // The last chance: a number in quotes.
    if (!found && !absl::SimpleAtoi(name, &port)) port = 0;
  }
  return port > 0 && port < 65536 ? static_cast<int>(port) : 0;
}

std::optional<Handler> HandlerOf(const ContainerView& container, const json::Value& value) {
  Handler out;
  if (const json::Value* exec = json::Get(value, "exec")) {
    out.kind = Handler::Kind::kExec;
    for (const json::Value& word : json::Items(exec, "command")) out.command.emplace_back(json::AsString(word));
  } else if (const json::Value* http = json::Get(value, "httpGet")) {
    out.kind = Handler::Kind::kHttp;
    out.host = json::String(http, "host");
    out.port = PortOf(container, *http);
    out.path = json::String(http, "path", "/");
    out.https = json::String(http, "scheme") == "HTTPS";
    for (const json::Value& header : json::Items(http, "httpHeaders")) {
      out.headers.emplace_back(json::String(header, "name"), json::String(header, "value"));
    }
  } else if (const json::Value* tcp = json::Get(value, "tcpSocket")) {
    out.kind = Handler::Kind::kTcp;
    out.host = json::String(tcp, "host");
    out.port = PortOf(container, *tcp);
  } else if (const json::Value* grpc = json::Get(value, "grpc")) {
    out.kind = Handler::Kind::kGrpc;
    out.port = PortOf(container, *grpc);
    out.service = json::String(grpc, "service");
  } else if (const json::Value* sleep = json::Get(value, "sleep")) {
    out.kind = Handler::Kind::kSleep;
    out.seconds = std::clamp<int64_t>(json::Int(sleep, "seconds"), 0, guestapi::kMaxSpecSeconds);
  } else {
    return std::nullopt;
  }
  return out;
}

// Of a probe, not of a hook. Only values that stand in the pod's spec count, as they are there; a variable with another
// source is there and empty (ExpandContainerCommandOnlyStatic of k8s.io/kubernetes).
void ExpandStatic(const ContainerView& container, std::vector<std::string>* command) {
  std::map<std::string, std::string, std::less<>> values;
  for (const json::Value& variable : container.env()) {
    values[std::string(json::String(variable, "name"))] = json::String(variable, "value");
  }
  const auto lookup = [&values](std::string_view name) {
    auto it = values.find(name);
    return it == values.end() ? nullptr : &it->second;
  };
  for (std::string& word : *command) word = guestapi::Expand(word, lookup);
}

}  // namespace

std::optional<guestapi::Probe> ResolveProbe(const ContainerView& container, std::string_view field) {
  const json::Value* value = json::Get(container.json(), field);
  if (value == nullptr) return std::nullopt;
  auto handler = HandlerOf(container, *value);
  if (!handler) return std::nullopt;
  guestapi::Probe probe;
  probe.handler = *std::move(handler);
  ExpandStatic(container, &probe.handler.command);
  probe.initial_delay = Bounded(*value, "initialDelaySeconds", 0, 0);
  probe.timeout = Bounded(*value, "timeoutSeconds", 1, 1);
  probe.period = Bounded(*value, "periodSeconds", 10, 1);
  probe.success_threshold = Bounded(*value, "successThreshold", 1, 1);
  probe.failure_threshold = Bounded(*value, "failureThreshold", 3, 1);
  if (json::Get(value, "terminationGracePeriodSeconds") != nullptr) {
    probe.grace_seconds = Bounded(*value, "terminationGracePeriodSeconds", 0, 0);
  }
  return probe;
}

std::optional<Handler> ResolveHook(const ContainerView& container, std::string_view field) {
  const json::Value* value = json::Get(json::Get(container.json(), "lifecycle"), field);
  return value == nullptr ? std::nullopt : HandlerOf(container, *value);
}

}  // namespace vck::podvm::internal
