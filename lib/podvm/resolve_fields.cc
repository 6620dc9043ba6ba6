#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "podvm/go_quote.h"
#include "podvm/resolve_parts.h"

namespace vck::podvm::internal {
namespace {

using kubeapi::ContainerView;
using kubeapi::PodView;
using kubeapi::Quantity;

struct Subscript {
  std::string_view path, key;
};
// "metadata.labels['a.b/c']"
std::optional<Subscript> SplitSubscript(std::string_view path) {
  if (!absl::ConsumeSuffix(&path, "']")) return std::nullopt;
  const size_t open = path.find("['");
  if (open == std::string_view::npos || open == 0) return std::nullopt;
  return Subscript{path.substr(0, open), path.substr(open + 2)};
}

std::string FormatMap(const json::Object& map) {
  std::map<std::string_view, std::string_view> sorted;
  for (const auto& member : map) sorted[{member.key().data(), member.key().size()}] = json::AsString(member.value());
  std::string out;
  for (const auto& [key, value] : sorted) absl::StrAppend(&out, out.empty() ? "" : "\n", key, "=", GoQuote(value));
  return out;
}

Status Unsupported(std::string_view path) {
  return absl::InvalidArgumentError(absl::StrCat("unsupported fieldPath: ", path));
}

std::optional<Quantity> NotZero(std::optional<Quantity> amount) {
  return amount && !amount->IsZero() ? amount : std::nullopt;
}

// What a container without the limit may use: the pod's own limit (environment only), else all of the node.
std::optional<Quantity> DefaultLimit(const ResolveInputs& in, std::string_view resource, bool env) {
  if (resource == "cpu") {
    if (auto limit = NotZero(in.pod->PodLimit(resource)); limit && env) return limit;
    return Quantity::FromMilli(in.allocatable.cpu_milli);
  }
  if (resource == "memory") {
    if (auto limit = NotZero(in.pod->PodLimit(resource)); limit && env) return limit;
    return Quantity::FromValue(in.allocatable.memory_bytes);
  }
  if (resource == "ephemeral-storage") return Quantity::FromValue(in.allocatable.ephemeral_bytes);
  return std::nullopt;
}

bool IsDownwardResource(std::string_view name) {
  return name == "cpu" || name == "memory" || name == "ephemeral-storage" || name.starts_with("hugepages-");
}

}  // namespace

StatusOr<std::string> PodField(const PodView& pod, std::string_view path) {
  if (auto subscript = SplitSubscript(path)) {
    if (subscript->path == "metadata.labels") return std::string(pod.label(subscript->key));
    if (subscript->path == "metadata.annotations") return std::string(pod.annotation(subscript->key));
    return absl::InvalidArgumentError(absl::StrCat("fieldPath ", GoQuote(path), " does not support subscript"));
  }
  if (path == "metadata.labels") return FormatMap(json::Members(pod.metadata(), "labels"));
  if (path == "metadata.annotations") return FormatMap(json::Members(pod.metadata(), "annotations"));
  if (path == "metadata.name") return std::string(pod.name());
  if (path == "metadata.namespace") return std::string(pod.ns());
  if (path == "metadata.uid") return std::string(pod.uid());
  return Unsupported(path);
}

StatusOr<std::string> EnvField(const ResolveInputs& in, std::string_view path) {
  const PodView& pod = *in.pod;
  if (path == "spec.nodeName" || path == "spec.host") {
    return std::string(in.node_name.empty() ? pod.node_name() : in.node_name);
  }
  if (path == "spec.serviceAccountName") return std::string(pod.service_account());
  if (path == "status.hostIP" || path == "status.hostIPs") return std::string(in.host_ip);
  if (path == "status.podIP" || path == "status.podIPs") {
    if (in.pod_ip.empty()) return Pending();  // it comes with the VM
    return std::string(in.pod_ip);
  }
  return PodField(pod, path);
}

StatusOr<std::string> ResourceField(const ResolveInputs& in, const json::Value& selector, const ContainerView* self) {
  const std::string_view resource = json::String(selector, "resource");
  std::string_view name = resource;
  const bool limit = absl::ConsumePrefix(&name, "limits.");
  if ((!limit && !absl::ConsumePrefix(&name, "requests.")) || !IsDownwardResource(name)) {
    return absl::InvalidArgumentError(absl::StrCat("unsupported container resource : ", resource));
  }
  const std::string_view wanted = json::String(selector, "containerName");
  std::optional<ContainerView> container;
  if (self != nullptr && wanted.empty()) {
    container = *self;
  } else {
    in.pod->ForEachContainer([&](const ContainerView& view) {
      if (view.name() == wanted && view.kind() != ContainerView::Kind::kEphemeral) container = view;
    });
    if (!container) return absl::NotFoundError(absl::StrCat("container ", wanted, " not found"));
  }
  std::optional<Quantity> amount = limit ? container->Limit(name) : container->Request(name);
  if (limit) {
    // The kubelet gives no default to an init container that a variable of another one names.
    const bool named_init = self != nullptr && !wanted.empty() && container->is_init();
    if (!NotZero(amount) && !named_init) amount = DefaultLimit(in, name, self != nullptr);
  }
  Quantity divisor = Quantity::FromValue(1);
  if (const json::Value* given = json::Get(selector, "divisor")) {
    auto parsed = Quantity::Parse(*given);
    if (parsed.ok() && *parsed > Quantity()) divisor = *parsed;
  }
  const Quantity of = amount.value_or(Quantity());
  // Rounded up, as k8s.io/kubernetes pkg/api/v1/resource does: cpu in thousandths, the rest in units.
  const int64_t dividend = name == "cpu" ? of.MilliValue() : of.Value();
  const int64_t by = std::max<int64_t>(1, name == "cpu" ? divisor.MilliValue() : divisor.Value());
  return absl::StrCat(dividend / by + (dividend % by > 0 ? 1 : 0));
}

}  // namespace vck::podvm::internal
