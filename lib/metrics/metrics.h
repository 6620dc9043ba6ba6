// Prometheus metrics by prometheus-cpp. A series is looked up once, when its owner is built, and then only touched.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>

namespace vck::metrics {

using Labels = std::map<std::string, std::string>;
using prometheus::Counter;
using prometheus::Gauge;
using prometheus::Histogram;

// client-go's buckets for queue and work durations: 10 ns to 1000 s by powers of ten, in seconds.
std::vector<double> WorkqueueBuckets();
// 1, 2, 4 … ms up to some 65 s, in seconds.
std::vector<double> LatencyBuckets();

// References stay valid as long as the registry. One thread.
class Registry {
 public:
  Registry();
  ~Registry();

  Counter& counter(const std::string& name, const std::string& help, const Labels& labels = {});
  Gauge& gauge(const std::string& name, const std::string& help, const Labels& labels = {});
  Histogram& histogram(const std::string& name, const std::string& help, std::vector<double> bounds,
                       const Labels& labels = {});
  // A value that is asked for at every scrape; `fn` must live as long as the registry is scraped.
  void callback(const std::string& name, const std::string& help, const Labels& labels, bool is_counter,
                std::function<double()> fn);
  // Text exposition format 0.0.4.
  [[nodiscard]] std::string Text() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vck::metrics
