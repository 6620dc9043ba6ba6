#include "vsphere/history.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace vck::vsphere {
namespace {

constexpr int32_t kRealTime = 20;  // seconds between samples

vim::EventFilterSpec Filter(MoRef entity, std::vector<std::string> types) {
  vim::EventFilterSpec filter;
  filter.entity = vim::EventFilterSpecByEntity{.entity = std::move(entity), .recursion = "all"};
  filter.eventTypeId = std::move(types);
  return filter;
}

}  // namespace

Task<StatusOr<Events>> QueryEvents(Session& session, MoRef entity, std::vector<std::string> types, int max) {
  CO_RETURN_IF_ERROR(co_await session.Connect());
  if (!session.content().eventManager) co_return absl::UnimplementedError("the server has no event manager");
  vim::EventFilterSpec filter = Filter(std::move(entity), std::move(types));
  filter.maxCount = max;
  co_return co_await session.Invoke(vim::QueryEvents(*session.content().eventManager, filter));
}

EventReader::EventReader(Session& session, MoRef entity, std::vector<std::string> types)
    : session_(session), filter_(Filter(std::move(entity), std::move(types))) {}

Task<Status> EventReader::Open() {
  CO_RETURN_IF_ERROR(co_await session_.Connect());
  if (!session_.content().eventManager) co_return absl::UnimplementedError("the server has no event manager");
  epoch_ = session_.epoch();
  CO_ASSIGN_OR_RETURN(
      collector_, co_await session_.Invoke(vim::CreateCollectorForEvents(*session_.content().eventManager, filter_)));
  co_return absl::OkStatus();
}

Task<StatusOr<Events>> EventReader::Next(int max) {
  if (collector_.empty() || epoch_ != session_.epoch()) {
    co_return absl::FailedPreconditionError("the event collector went with its session");
  }
  co_return co_await session_.Invoke(vim::ReadNextEvents(collector_, max));
}

Task<> EventReader::Close() {
  if (!collector_.empty() && epoch_ == session_.epoch())
    (void)co_await session_.Invoke(vim::DestroyCollector(collector_));
  collector_ = {};
}

Task<Status> PerfReader::LoadNames() {
  if (!ids_.empty()) co_return absl::OkStatus();
  CO_RETURN_IF_ERROR(co_await calls_.session().Connect());
  if (!calls_.session().content().perfManager) co_return absl::UnimplementedError("the server has no counters");
  CO_ASSIGN_OR_RETURN(std::vector<ObjectChange> found,
                      co_await calls_.Retrieve({*calls_.session().content().perfManager}, {"perfCounter"}));
  const vim::RawXml* raw = nullptr;
  if (!found.empty() && !found[0].changes.empty()) raw = std::get_if<vim::RawXml>(&found[0].changes[0].value);
  if (raw == nullptr) co_return absl::UnimplementedError("the server has no counters");
  CO_ASSIGN_OR_RETURN(auto counters, vim::FromRaw<std::vector<vim::PerfCounterInfo>>(*raw));
  for (const vim::PerfCounterInfo& counter : counters) {
    if (counter.groupInfo == nullptr || counter.nameInfo == nullptr) continue;
    std::string name = absl::StrCat(counter.groupInfo->key, ".", counter.nameInfo->key, ".", counter.rollupType);
    names_[counter.key] = name;
    ids_[std::move(name)] = counter.key;
  }
  co_return absl::OkStatus();
}

Task<StatusOr<std::vector<Sample>>> PerfReader::Query(std::vector<MoRef> entities, std::vector<std::string> counters,
                                                      int samples) {
  CO_RETURN_IF_ERROR(co_await LoadNames());
  std::vector<vim::PerfMetricId> metrics;
  metrics.reserve(counters.size());
  for (const std::string& counter : counters) {
    auto id = ids_.find(counter);
    if (id == ids_.end()) co_return absl::InvalidArgumentError(absl::StrCat("no counter ", counter));
    metrics.push_back({.counterId = id->second, .instance = ""});
  }
  std::vector<vim::PerfQuerySpec> specs;
  specs.reserve(entities.size());
  for (MoRef& entity : entities) {
    specs.push_back({.entity = std::move(entity),
                     .maxSample = samples,
                     .metricId = metrics,
                     .intervalId = kRealTime,
                     .format = "normal"});
  }
  CO_ASSIGN_OR_RETURN(auto results,
                      co_await calls_.session().Invoke(vim::QueryPerf(*calls_.session().content().perfManager, specs)));
  std::vector<Sample> out;
  for (const auto& result : results) {
    const auto* metric = dynamic_cast<const vim::PerfEntityMetric*>(result.get());
    if (metric == nullptr) continue;
    for (const auto& value : metric->value) {
      const auto* series = dynamic_cast<const vim::PerfMetricIntSeries*>(value.get());
      if (series == nullptr) continue;
      auto name = names_.find(series->id.counterId);
      out.push_back({.entity = metric->entity,
                     .counter = name == names_.end() ? "" : name->second,
                     .instance = series->id.instance,
                     .values = series->value});
    }
  }
  co_return out;
}

}  // namespace vck::vsphere
