#include "metrics/metrics.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vck::metrics {
namespace {

using ::testing::HasSubstr;

TEST(Registry, WritesTheTextFormat) {
  Registry registry;
  Counter& a = registry.counter("calls_total", "Calls.", {{"verb", "get"}});
  a.Increment(2);
  registry.counter("calls_total", "Calls.", {{"verb", "get"}}).Increment();
  registry.counter("calls_total", "Calls.", {{"verb", "list"}}).Increment();
  registry.histogram("lat_seconds", "Latency.", {0.1, 1}).Observe(0.5);
  double depth = 7;
  registry.callback("depth", "Depth.", {{"name", "pod"}}, false, [&depth] { return depth; });
  std::string text = registry.Text();
  EXPECT_THAT(text, HasSubstr("# TYPE calls_total counter"));
  EXPECT_THAT(text, HasSubstr("calls_total{verb=\"get\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("calls_total{verb=\"list\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("lat_seconds_bucket{le=\"0.1\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("lat_seconds_bucket{le=\"1\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE depth gauge\ndepth{name=\"pod\"} 7\n"));
}

}  // namespace
}  // namespace vck::metrics
