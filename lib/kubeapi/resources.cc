#include "kubeapi/resources.h"

#include <algorithm>

namespace vck::kubeapi {
namespace {

// The formula that requests and limits share: an init container runs beside the sidecars that were started before it,
// and the main containers beside all of them.
template <class Of>
Quantity OverPhases(const PodView& pod, Of&& of) {
  Quantity sidecars, peak;
  for (const json::Value& c : pod.init_containers()) {
    const ContainerView view(c, PodView::InitKind(c));
    const Quantity amount = of(view);
    if (view.kind() == ContainerView::Kind::kSidecar) {
      sidecars += amount;
      peak = std::max(peak, sidecars);
    } else {
      peak = std::max(peak, sidecars + amount);
    }
  }
  Quantity mains = sidecars;
  for (const json::Value& c : pod.containers()) mains += of(ContainerView(c, ContainerView::Kind::kMain));
  return std::max(peak, mains);
}

template <class Of>
Quantity RequestsBy(const PodView& pod, std::string_view resource, Of&& of) {
  auto whole = pod.PodRequest(resource);
  return (whole ? *whole : OverPhases(pod, of)) + pod.Overhead(resource).value_or(Quantity());
}

Quantity AmountIn(const json::Value* list, std::string_view resource) {
  const json::Value* value = json::Get(list, resource);
  return value == nullptr ? Quantity() : Quantity::Parse(*value).value_or(Quantity());
}

// determineContainerReqs() of component-helpers.
Quantity HeldBy(const PodView& pod, const ContainerView& c, std::string_view resource, bool infeasible) {
  const Quantity wanted = c.Request(resource).value_or(Quantity());
  if (c.kind() == ContainerView::Kind::kInit) return wanted;
  const json::Value* status = pod.ContainerStatus(c.kind(), c.name());
  const json::Value* has = json::Get(status, "resources");
  if (has == nullptr) return wanted;
  const Quantity held = std::max(AmountIn(json::Get(has, "requests"), resource),
                                 AmountIn(json::Get(status, "allocatedResources"), resource));
  return infeasible ? held : std::max(wanted, held);
}

}  // namespace

Quantity PodRequests(const PodView& pod, std::string_view resource) {
  return RequestsBy(pod, resource, [&](const ContainerView& c) { return c.Request(resource).value_or(Quantity()); });
}

Quantity HeldByPod(const PodView& pod, std::string_view resource) {
  const json::Value* resize = pod.Condition("PodResizePending");
  const bool infeasible = json::String(resize, "reason") == "Infeasible";
  return RequestsBy(pod, resource, [&](const ContainerView& c) { return HeldBy(pod, c, resource, infeasible); });
}

Quantity PodLimits(const PodView& pod, std::string_view resource) {
  auto whole = pod.PodLimit(resource);
  Quantity sum =
      whole ? *whole : OverPhases(pod, [&](const ContainerView& c) { return c.Limit(resource).value_or(Quantity()); });
  return sum.IsZero() ? sum : sum + pod.Overhead(resource).value_or(Quantity());
}

bool AllLimited(const PodView& pod, std::string_view resource) {
  if (pod.PodLimit(resource)) return true;
  bool all = true;
  pod.ForEachContainer([&](const ContainerView& c) {
    if (c.kind() != ContainerView::Kind::kEphemeral) all &= c.Limit(resource).has_value();
  });
  return all;
}

Quantity PodCeiling(const PodView& pod, std::string_view resource, bool* unstated) {
  *unstated = false;
  const Quantity overhead = pod.Overhead(resource).value_or(Quantity());
  if (auto whole = pod.PodLimit(resource)) return *whole + overhead;
  Quantity sum = OverPhases(pod, [&](const ContainerView& c) {
    auto limit = c.Limit(resource);
    if (!limit) limit = c.Request(resource);
    // An init container that states nothing makes do with what the others leave it.
    if (!limit && c.kind() != ContainerView::Kind::kInit) *unstated = true;
    return limit.value_or(Quantity());
  });
  if (sum.IsZero()) *unstated = true;
  if (auto request = pod.PodRequest(resource)) {
    sum = std::max(sum, *request);
    *unstated = false;
  }
  return sum + overhead;
}

std::vector<std::string_view> ResourceNames(const PodView& pod) {
  std::vector<std::string_view> names;
  auto collect = [&names](const json::Value* resources) {
    for (std::string_view list : {"requests", "limits"}) {
      for (const auto& member : json::Members(resources, list)) {
        const std::string_view name(member.key().data(), member.key().size());
        if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
      }
    }
  };
  collect(json::Get(pod.spec(), "resources"));
  pod.ForEachContainer([&](const ContainerView& c) { collect(json::Get(c.json(), "resources")); });
  return names;
}

std::string_view QosClass(const PodView& pod) {
  if (const json::Value* whole = json::Get(pod.spec(), "resources"); whole != nullptr) {
    bool any = false, guaranteed = true;
    for (std::string_view resource : {"cpu", "memory"}) {
      auto limit = pod.PodLimit(resource), request = pod.PodRequest(resource);
      any |= request && !request->IsZero();
      guaranteed &= limit && !limit->IsZero() && request && *request == *limit;
    }
    if (any) return guaranteed ? "Guaranteed" : "Burstable";
  }
  bool any = false, guaranteed = true;
  pod.ForEachContainer([&](const ContainerView& c) {
    if (c.kind() == ContainerView::Kind::kEphemeral) return;
    for (std::string_view resource : {"cpu", "memory"}) {
      auto limit = c.Limit(resource), request = c.Request(resource);
      any |= (request && !request->IsZero()) || (limit && !limit->IsZero());
      guaranteed &= limit && !limit->IsZero() && request && *request == *limit;
    }
  });
  if (!any) return "BestEffort";
  return guaranteed ? "Guaranteed" : "Burstable";
}

}  // namespace vck::kubeapi
