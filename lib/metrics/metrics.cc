#include "metrics/metrics.h"

#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace vck::metrics {

struct Registry::Impl {
  struct Callback {
    std::string help;
    bool is_counter;
    std::vector<std::pair<Labels, std::function<double()>>> series;
  };
  prometheus::Registry registry{prometheus::Registry::InsertBehavior::Merge};
  std::map<std::string, Callback> callbacks;
};

Registry::Registry() : impl_(std::make_unique<Impl>()) {}
Registry::~Registry() = default;

Counter& Registry::counter(const std::string& name, const std::string& help, const Labels& labels) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(impl_->registry).Add(labels);
}

Gauge& Registry::gauge(const std::string& name, const std::string& help, const Labels& labels) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(impl_->registry).Add(labels);
}

Histogram& Registry::histogram(const std::string& name, const std::string& help, std::vector<double> bounds,
                               const Labels& labels) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(impl_->registry).Add(labels, std::move(bounds));
}

void Registry::callback(const std::string& name, const std::string& help, const Labels& labels, bool is_counter,
                        std::function<double()> fn) {
  auto& entry = impl_->callbacks[name];
  entry.help = help;
  entry.is_counter = is_counter;
  entry.series.emplace_back(labels, std::move(fn));
}

std::string Registry::Text() const {
  auto families = impl_->registry.Collect();
  for (const auto& [name, callback] : impl_->callbacks) {
    prometheus::MetricFamily family;
    family.name = name;
    family.help = callback.help;
    family.type = callback.is_counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
    for (const auto& [labels, fn] : callback.series) {
      prometheus::ClientMetric metric;
      for (const auto& [key, value] : labels) metric.label.push_back({key, value});
      metric.counter.value = metric.gauge.value = fn();
      family.metric.push_back(std::move(metric));
    }
    families.push_back(std::move(family));
  }
  return prometheus::TextSerializer().Serialize(families);
}

std::vector<double> WorkqueueBuckets() { return {1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100, 1000}; }

std::vector<double> LatencyBuckets() {
  std::vector<double> bounds;
  for (double b = 0.001; b < 70; b *= 2) bounds.push_back(b);
  return bounds;
}

}  // namespace vck::metrics
