// Figures: read from guests, and written as the kubelet writes them.
#include "kubeletapi/stats.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "json/json.h"
#include "kubeletapi/cadvisor_metrics.h"
#include "kubeletapi/cpu_meter.h"
#include "kubeletapi/guest_figures.h"
#include "kubeletapi/network_meter.h"
#include "kubeletapi/probe_metrics.h"
#include "kubeletapi/resource_metrics.h"
#include "kubeletapi/summary.h"

namespace vck::kubeletapi {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const absl::Time kNow = absl::FromUnixSeconds(1'772'366'500);

kube::ObjectPtr Pod() {
  return *kube::Object::Parse(
      R"({"metadata":{"name":"web","namespace":"shop","uid":"uid-1"},"spec":{"containers":[)"
      R"({"name":"c","image":"reg/web:1","resources":{"limits":{"memory":"4Mi","cpu":"250m"}}},{"name":"gone"}]},)"
      R"("status":{"startTime":"2026-03-01T11:00:00Z"}})");
}

guestlink::LinkState Link() {
  guestlink::LinkState link{.connected = true, .clock_offset = absl::Seconds(100)};
  link.guest.containers.push_back({.name = "c",
                                   .phase = guestapi::ContainerState::Phase::kRunning,
                                   .id = "run-1",
                                   .started_at = absl::FromUnixSeconds(1'772'366'000)});
  link.guest.containers.push_back({.name = "gone", .phase = guestapi::ContainerState::Phase::kTerminated, .id = "r"});
  return link;
}

PodStatsPtr Stats(const PodStats* previous = nullptr, std::string_view body = kGuestFigures) {
  auto stats = DecodePodStats(*Pod(), Link(), body, kNow, previous);
  EXPECT_TRUE(stats.ok()) << stats.status();
  return *stats;
}

NodeStats Node() {
  return {.name = "vch1",
          .machine_id = "m",
          .boot_id = "b",
          .time = kNow,
          .started = kNow - absl::Hours(1),
          .cpu_nanos = 3'600'250'000'000,
          .cpu_nano_cores = 1'500'000'000,
          .cpu_cores = 16,
          .memory_capacity_bytes = 10'000,
          .memory_used_bytes = 4'000,
          .fs_name = "nfs",
          .fs_capacity_bytes = 900,
          .fs_available_bytes = 300,
          .network = {.name = "eth0", .rx_bytes = 70, .rx_packets = 7, .rx_errors = 0, .tx_bytes = 50}};
}

std::string Text(std::span<const MetricFamily> families) {
  const NodeStats node = Node();
  const PodStatsPtr pod = Stats();
  std::string out;
  for (const MetricFamily& family : families) {
    std::string lines;
    if (family.node != nullptr) family.node(family, node, &lines);
    if (family.pod != nullptr) family.pod(family, *pod, &lines);
    if (!lines.empty()) AppendHeader(family, &out);
    out += lines;
  }
  return out;
}

TEST(GuestStats, OfContainersThatRun) {
  const PodStatsPtr pod = Stats();
  ASSERT_EQ(pod->containers.size(), 1u) << "what has ended by the snapshot is left out";
  const ContainerStats& c = pod->containers[0];
  EXPECT_EQ(c.id, "run-1");
  EXPECT_EQ(c.image, "reg/web:1");
  EXPECT_EQ(c.memory_limit_bytes, 4 << 20);
  EXPECT_EQ(c.cpu_limit_milli, 250);
  EXPECT_EQ(absl::ToUnixSeconds(c.started), 1'772'366'100) << "by our clock";
  EXPECT_EQ(c.usage.cpu_nano_cores, -1) << "one sample is no rate";
  EXPECT_EQ(pod->time, kNow);
}

TEST(GuestStats, RatesAreOfTheSameRunByTheGuestsClock) {
  PodStats before = *Stats();
  before.guest_time -= absl::Seconds(10);
  before.time -= absl::Seconds(99);
  before.containers[0].usage.cpu_nanos -= 1'000'000'000;
  before.pod.cpu_nanos -= 500'000'000;
  EXPECT_EQ(Stats(&before)->containers[0].usage.cpu_nano_cores, 100'000'000);
  EXPECT_EQ(Stats(&before)->pod.cpu_nano_cores, 50'000'000);
  before.containers[0].id = "an earlier run";
  before.pod.cpu_nanos = 3'000'000'000;  // the guest was rebooted
  EXPECT_EQ(Stats(&before)->containers[0].usage.cpu_nano_cores, -1);
  EXPECT_EQ(Stats(&before)->pod.cpu_nano_cores, -1);
  before = *Stats();  // at the same time
  EXPECT_EQ(Stats(&before)->pod.cpu_nano_cores, -1);
}

TEST(GuestStats, WhatIsNotToldIsNotKnown) {
  const PodStatsPtr pod = Stats(nullptr, R"({"time":1,"containers":[{"name":"c"}]})");
  EXPECT_EQ(pod->pod.cpu_nanos, -1);
  std::string out;
  AppendPodSummary(*pod, true, &out);
  EXPECT_EQ(out, R"({"podRef":{"name":"web","namespace":"shop","uid":"uid-1"},"startTime":"2026-03-01T11:00:00Z",)"
                 R"("containers":[{"name":"c","startTime":"2026-03-01T11:55:00Z"}]})");
  for (std::string_view bad : {"", "{}", R"({"time":0})", "[1"}) {
    EXPECT_FALSE(DecodePodStats(*Pod(), Link(), bad, kNow, nullptr).ok()) << bad;
  }
}

TEST(Summary, OfAPod) {
  PodStats pod = *Stats();
  pod.containers[0].usage.cpu_nano_cores = 123;
  std::string out;
  AppendPodSummary(pod, true, &out);
  EXPECT_EQ(
      out,
      R"({"podRef":{"name":"web","namespace":"shop","uid":"uid-1"},"startTime":"2026-03-01T11:00:00Z","containers":[)"
      R"({"name":"c","startTime":"2026-03-01T11:55:00Z",)"
      R"("cpu":{"time":"2026-03-01T12:01:40Z","usageNanoCores":123,"usageCoreNanoSeconds":1500000000},)"
      R"("memory":{"time":"2026-03-01T12:01:40Z","availableBytes":2194304,"usageBytes":3000000,)"
      R"("workingSetBytes":2000000,"rssBytes":1000000,"pageFaults":70,"majorPageFaults":7},)"
      R"("swap":{"time":"2026-03-01T12:01:40Z","swapUsageBytes":0}}],)"
      R"("cpu":{"time":"2026-03-01T12:01:40Z","usageCoreNanoSeconds":2000000000},)"
      R"("memory":{"time":"2026-03-01T12:01:40Z","usageBytes":5000000,"workingSetBytes":4000000,"rssBytes":1100000,)"
      R"("pageFaults":80,"majorPageFaults":8},"swap":{"time":"2026-03-01T12:01:40Z","swapUsageBytes":0},)"
      R"("network":{"time":"2026-03-01T12:01:40Z","name":"eth0","rxBytes":11,"rxErrors":13,"txBytes":21,"txErrors":23,)"
      R"("interfaces":[{"name":"eth0","rxBytes":11,"rxErrors":13,"txBytes":21,"txErrors":23}]},)"
      R"("ephemeral-storage":{"time":"2026-03-01T12:01:40Z","availableBytes":600,"capacityBytes":1000,"usedBytes":350,)"
      R"("inodesFree":90,"inodes":100,"inodesUsed":10}})");
  EXPECT_TRUE(json::Parse(out).ok());
  std::string some;
  AppendPodSummary(pod, false, &some);
  EXPECT_TRUE(json::Parse(some).ok());
  EXPECT_THAT(some, Not(HasSubstr("network")));
  EXPECT_THAT(some, Not(HasSubstr("ephemeral")));
  EXPECT_THAT(some, HasSubstr("\"memory\""));
}

TEST(Stats, PartsOfTheScratchFileSystem) {
  const PodStatsPtr pod =
      Stats(nullptr, R"({"time":1,"containers":[{"name":"c",)"
                     R"("rootfs":{"usedBytes":30,"inodesUsed":3},"logs":{"usedBytes":20,"inodesUsed":2}}],)"
                     R"("volumes":[{"name":"data","usedBytes":10,"inodesUsed":1}],)"
                     R"("scratch":{"capacityBytes":1000,"availableBytes":600,"inodes":100,"freeInodes":90}})");
  std::string all, some;
  AppendPodSummary(*pod, true, &all);
  AppendPodSummary(*pod, false, &some);
  EXPECT_TRUE(json::Parse(all).ok()) << all;
  constexpr std::string_view kRoom = R"({"time":"2026-03-01T12:01:40Z","availableBytes":600,"capacityBytes":1000,)";
  EXPECT_THAT(all, HasSubstr(absl::StrCat(R"("rootfs":)", kRoom,
                                          R"("usedBytes":30,"inodesFree":90,"inodes":100,"inodesUsed":3})")));
  EXPECT_THAT(all, HasSubstr(absl::StrCat(R"("logs":)", kRoom,
                                          R"("usedBytes":20,"inodesFree":90,"inodes":100,"inodesUsed":2}}])")));
  EXPECT_THAT(all,
              HasSubstr(absl::StrCat(R"("volume":[)", kRoom,
                                     R"("usedBytes":10,"inodesFree":90,"inodes":100,"inodesUsed":1,"name":"data"}])")));
  std::string usage;
  for (const MetricFamily& family : CadvisorFamilies()) {
    if (family.name == "container_fs_usage_bytes") family.pod(family, *pod, &usage);
  }
  EXPECT_THAT(usage, testing::StartsWith(R"(container_fs_usage_bytes{container="c",device="scratch",)"));
  EXPECT_THAT(usage, HasSubstr("} 50 ")) << "the writable layer and logs";
  EXPECT_THAT(some, Not(HasSubstr("usedBytes")));
  // A guest that does not count says nothing of it.
  std::string none;
  AppendPodSummary(*Stats(), true, &none);
  EXPECT_THAT(none, Not(HasSubstr("rootfs")));
  EXPECT_THAT(none, Not(HasSubstr("\"volume\"")));
}

TEST(Summary, OfTheNode) {
  std::string out;
  AppendNodeSummary(Node(), true, &out);
  EXPECT_EQ(
      out, R"({"nodeName":"vch1","startTime":"2026-03-01T11:01:40Z",)"
           R"("cpu":{"time":"2026-03-01T12:01:40Z","usageNanoCores":1500000000,"usageCoreNanoSeconds":3600250000000},)"
           R"("memory":{"time":"2026-03-01T12:01:40Z","availableBytes":6000,"usageBytes":4000,"workingSetBytes":4000},)"
           R"("network":{"time":"2026-03-01T12:01:40Z","name":"eth0","rxBytes":70,"rxErrors":0,"txBytes":50,)"
           R"("interfaces":[{"name":"eth0","rxBytes":70,"rxErrors":0,"txBytes":50}]},)"
           R"("fs":{"time":"2026-03-01T12:01:40Z","availableBytes":300,"capacityBytes":900,"usedBytes":600},)"
           R"("runtime":{"imageFs":{"time":"2026-03-01T12:01:40Z","availableBytes":300,"capacityBytes":900,)"
           R"("usedBytes":600}}})");
  out.clear();
  AppendNodeSummary({.name = "vch1"}, true, &out);
  EXPECT_EQ(out, R"({"nodeName":"vch1","startTime":null})") << "vCenter has told nothing";
}

// What pods move is added up, whoever comes and goes.
TEST(NetworkMeter, NeverDecreases) {
  NetworkMeter meter(kNow);
  const auto told = [&](const std::string& uid, absl::Duration started, int64_t rx) {
    PodStats pod{.uid = uid, .started = kNow + started};
    pod.interfaces = {{.name = "eth0", .rx_bytes = rx}, {.name = "lo", .rx_bytes = 1000}};
    meter.Add(pod);
    return meter.total().rx_bytes;
  };
  EXPECT_EQ(meter.total().name, "");
  EXPECT_EQ(told("old", -absl::Hours(1), 5000), 0) << "it is not known when that was";
  EXPECT_EQ(meter.total().name, "eth0");
  EXPECT_EQ(meter.total().tx_bytes, -1) << "nobody has told";
  EXPECT_EQ(told("old", -absl::Hours(1), 5100), 100);
  EXPECT_EQ(told("new", absl::Seconds(1), 30), 130) << "all of it since then";
  EXPECT_EQ(told("new", absl::Seconds(1), 20), 150) << "it has booted again";
  EXPECT_EQ(told("silent", absl::Seconds(1), -1), 150);
  EXPECT_EQ(told("silent", absl::Seconds(1), 10), 160);
  meter.Keep({Pod()});
  EXPECT_EQ(meter.size(), 0u);
  EXPECT_EQ(meter.total().rx_bytes, 160);
}

TEST(Metrics, OfResources) {
  EXPECT_EQ(Text(ResourceFamilies()),
            R"(# HELP container_cpu_usage_seconds_total CPU time that the container has used, in core-seconds
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="c",namespace="shop",pod="web"} 1.5 1772366500000
# HELP container_memory_working_set_bytes Working set of the container in bytes
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{container="c",namespace="shop",pod="web"} 2000000 1772366500000
# HELP container_start_time_seconds When the container was started, in seconds since the Unix epoch
# TYPE container_start_time_seconds gauge
container_start_time_seconds{container="c",namespace="shop",pod="web"} 1772366100
# HELP container_swap_usage_bytes Swap that the container uses, in bytes
# TYPE container_swap_usage_bytes gauge
container_swap_usage_bytes{container="c",namespace="shop",pod="web"} 0 1772366500000
# HELP node_cpu_usage_seconds_total CPU time that the node has used, in core-seconds
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 3600.25 1772366500000
# HELP node_memory_working_set_bytes Working set of the node in bytes
# TYPE node_memory_working_set_bytes gauge
node_memory_working_set_bytes 4000 1772366500000
# HELP pod_cpu_usage_seconds_total CPU time that the pod has used, in core-seconds
# TYPE pod_cpu_usage_seconds_total counter
pod_cpu_usage_seconds_total{namespace="shop",pod="web"} 2 1772366500000
# HELP pod_memory_working_set_bytes Working set of the pod in bytes
# TYPE pod_memory_working_set_bytes gauge
pod_memory_working_set_bytes{namespace="shop",pod="web"} 4000000 1772366500000
# HELP pod_swap_usage_bytes Swap that the pod uses, in bytes
# TYPE pod_swap_usage_bytes gauge
pod_swap_usage_bytes{namespace="shop",pod="web"} 0 1772366500000
)");
}

// Without HELP and TYPE, which the test above shows.
TEST(Metrics, OfCadvisor) {
  std::string lines;
  for (std::string_view line : absl::StrSplit(Text(CadvisorFamilies()), '\n', absl::SkipEmpty())) {
    if (line[0] != '#') absl::StrAppend(&lines, line, "\n");
  }
  const std::string pod = R"(container="",id="/kubepods/poduid-1",image="",name="",namespace="shop",pod="web"} )";
  const std::string c =
      R"(container="c",id="/kubepods/poduid-1/run-1",image="reg/web:1",name="run-1",namespace="shop",pod="web"} )";
  const std::string root = R"(container="",id="/",image="",name="",namespace="",pod=""} )";
  const auto with = [](std::string labels, std::string before, std::string extra) {
    return labels.insert(labels.find(before), extra + ",");
  };
  const std::string at = " 1772366500000\n";
  std::string expected;
  const auto line = [&expected](std::string_view name, std::string_view labels, std::string_view value,
                                std::string_view stamp) {
    absl::StrAppend(&expected, name, "{", labels, value, stamp);
  };
  line("container_cpu_cfs_periods_total", c, "20", at);
  line("container_cpu_cfs_throttled_periods_total", c, "2", at);
  line("container_cpu_cfs_throttled_seconds_total", c, "0.03", at);
  line("container_cpu_system_seconds_total", c, "0.5", at);
  line("container_cpu_usage_seconds_total", with(root, "id=", R"(cpu="total")"), "3600.25", at);
  line("container_cpu_usage_seconds_total", with(pod, "id=", R"(cpu="total")"), "2", at);
  line("container_cpu_usage_seconds_total", with(c, "id=", R"(cpu="total")"), "1.5", at);
  line("container_cpu_user_seconds_total", c, "1", at);
  line("container_fs_limit_bytes", with(root, "id=", R"(device="nfs")"), "900", at);
  line("container_fs_limit_bytes", with(pod, "id=", R"(device="scratch")"), "1000", at);
  const std::string pod_sda = with(pod, "id=", R"(device="/dev/sda")");
  const std::string c_sda = with(c, "id=", R"(device="/dev/sda")");
  line("container_fs_reads_bytes_total", pod_sda, "1024", at);
  line("container_fs_reads_bytes_total", c_sda, "512", at);
  line("container_fs_reads_total", pod_sda, "2", at);
  line("container_fs_reads_total", c_sda, "1", at);
  line("container_fs_usage_bytes", with(root, "id=", R"(device="nfs")"), "600", at);
  line("container_fs_usage_bytes", with(pod, "id=", R"(device="scratch")"), "350", at);
  line("container_fs_writes_bytes_total", pod_sda, "8192", at);
  line("container_fs_writes_bytes_total", c_sda, "8192", at);
  line("container_fs_writes_total", pod_sda, "2", at);
  line("container_fs_writes_total", c_sda, "2", at);
  line("container_last_seen", pod, "1772366500", at);
  line("container_last_seen", c, "1772366500", at);
  line("container_memory_cache", c, "900000", at);
  line("container_memory_failcnt", c, "1", at);
  for (const auto& [labels, minor, major] : {std::tuple{pod, "80", "8"}, std::tuple{c, "70", "7"}}) {
    std::string of = with(labels, "id=", R"(failure_type="pgfault")");
    of.insert(of.find("} "), R"(,scope="hierarchy")");
    line("container_memory_failures_total", of, minor, at);
    line("container_memory_failures_total", of.replace(of.find("pgfault"), 7, "pgmajfault"), major, at);
  }
  line("container_memory_mapped_file", c, "800000", at);
  line("container_memory_max_usage_bytes", c, "4000000", at);
  line("container_memory_rss", pod, "1100000", at);
  line("container_memory_rss", c, "1000000", at);
  line("container_memory_swap", pod, "0", at);
  line("container_memory_swap", c, "0", at);
  line("container_memory_usage_bytes", root, "4000", at);
  line("container_memory_usage_bytes", pod, "5000000", at);
  line("container_memory_usage_bytes", c, "3000000", at);
  line("container_memory_working_set_bytes", root, "4000", at);
  line("container_memory_working_set_bytes", pod, "4000000", at);
  line("container_memory_working_set_bytes", c, "2000000", at);
  const std::string root_eth0 = with(root, "name=", R"(interface="eth0")");
  const std::string eth0 = with(pod, "name=", R"(interface="eth0")");
  line("container_network_receive_bytes_total", root_eth0, "70", at);
  line("container_network_receive_bytes_total", eth0, "11", at);
  line("container_network_receive_errors_total", root_eth0, "0", at);
  line("container_network_receive_errors_total", eth0, "13", at);
  line("container_network_receive_packets_dropped_total", eth0, "14", at);
  line("container_network_receive_packets_total", root_eth0, "7", at);
  line("container_network_receive_packets_total", eth0, "12", at);
  line("container_network_transmit_bytes_total", root_eth0, "50", at);
  line("container_network_transmit_bytes_total", eth0, "21", at);
  line("container_network_transmit_errors_total", eth0, "23", at);
  line("container_network_transmit_packets_dropped_total", eth0, "24", at);
  line("container_network_transmit_packets_total", eth0, "22", at);
  line("container_oom_events_total", c, "0", at);
  expected += "container_scrape_error 0\n";
  line("container_spec_cpu_period", c, "100000", "\n");
  line("container_spec_cpu_quota", c, "25000", "\n");
  line("container_spec_memory_limit_bytes", c, "4194304", "\n");
  line("container_start_time_seconds", c, "1772366100", "\n");
  line("container_threads", pod, "4", at);
  line("container_threads", c, "3", at);
  line("machine_cpu_cores", R"(boot_id="b",machine_id="m",system_uuid=""} )", "16", "\n");
  line("machine_memory_bytes", R"(boot_id="b",machine_id="m",system_uuid=""} )", "10000", "\n");
  line("vch_guest_cpu_usage_seconds_total", R"(namespace="shop",pod="web"} )", "9", at);
  line("vch_guest_memory_available_bytes", R"(namespace="shop",pod="web"} )", "100000000", at);
  line("vch_guest_memory_bytes", R"(namespace="shop",pod="web"} )", "134217728", at);
  EXPECT_EQ(lines, expected);
}

TEST(Metrics, FamiliesAreInOrderAndOnce) {
  for (auto families : {ResourceFamilies(), CadvisorFamilies()}) {
    for (size_t i = 1; i < families.size(); ++i) EXPECT_LT(families[i - 1].name, families[i].name);
  }
}

TEST(Metrics, NumbersAreExact) {
  EXPECT_EQ(FromNanos(0), "0");
  EXPECT_EQ(FromNanos(1), "0.000000001");
  EXPECT_EQ(FromNanos(1'500'000'000), "1.5");
  EXPECT_EQ(FromNanos(9'007'199'254'740'993), "9007199.254740993");
  EXPECT_EQ(EscapeLabel("a\"b\\c\nd"), R"(a\"b\\c\nd)");
}

TEST(Metrics, OfProbes) {
  auto probes = DecodePodProbes(
      *Pod(), Link(),
      R"({"time":5,"probes":[{"container":"c","type":"Liveness","successful":3,"failed":1,)"
      R"("durationNanos":1503000000,"within":[2,0,0,0,0,0,0,0,1]},)"
      R"({"container":"c","type":"Readiness","successful":0,"failed":2,"durationNanos":0,"within":[]}]})",
      kNow, nullptr);
  ASSERT_TRUE(probes.ok());
  std::string durations;
  ASSERT_EQ(ProbeFamilies().size(), 2u);
  ProbeFamilies()[0].append(ProbeFamilies()[0], **probes, &durations);
  std::string expected;
  for (const auto& [bound, count] : {std::pair{"0.005", 2},
                                     {"0.01", 2},
                                     {"0.025", 2},
                                     {"0.05", 2},
                                     {"0.1", 2},
                                     {"0.25", 2},
                                     {"0.5", 2},
                                     {"1", 2},
                                     {"2.5", 3},
                                     {"5", 3},
                                     {"10", 3},
                                     {"+Inf", 3}}) {
    absl::StrAppend(&expected,
                    R"(prober_probe_duration_seconds_bucket{container="c",namespace="shop",pod="web",)"
                    R"(probe_type="Liveness",le=")",
                    bound, "\"} ", count, "\n");
  }
  for (const auto& [name, value] : {std::pair{"sum", "1.503"}, {"count", "3"}}) {
    absl::StrAppend(&expected, "prober_probe_duration_seconds_", name,
                    R"({container="c",namespace="shop",pod="web",probe_type="Liveness"} )", value, "\n");
  }
  EXPECT_EQ(durations, expected);
  std::string out;
  ProbeFamilies()[1].append(ProbeFamilies()[1], **probes, &out);
  EXPECT_EQ(
      out,
      R"(prober_probe_total{container="c",namespace="shop",pod="web",pod_uid="uid-1",probe_type="Liveness",result="successful"} 3
prober_probe_total{container="c",namespace="shop",pod="web",pod_uid="uid-1",probe_type="Liveness",result="failed"} 1
prober_probe_total{container="c",namespace="shop",pod="web",pod_uid="uid-1",probe_type="Readiness",result="failed"} 2
)");
}

TEST(CpuMeter, AddsRatesUp) {
  CpuMeter meter;
  const auto at = [](int64_t seconds) { return Instant{absl::Seconds(seconds)}; };
  EXPECT_EQ(meter.Nanos(at(1)), -1);
  meter.Set(at(2), -1);
  EXPECT_EQ(meter.Nanos(at(5)), -1) << "vCenter has not told";
  meter.Set(at(10), 0);
  EXPECT_EQ(meter.Nanos(at(20)), 0);
  meter.Set(at(20), 2'000'000'000);
  EXPECT_EQ(meter.Nanos(at(25)), 10'000'000'000);
  meter.Set(at(30), 500'000'000);
  EXPECT_EQ(meter.Nanos(at(34)), 22'000'000'000);
  meter.Set(at(40), -1);  // an outage
  EXPECT_EQ(meter.Nanos(at(99)), 25'000'000'000) << "nothing is made up";
  meter.Set(at(100), 1'000'000'000);
  EXPECT_EQ(meter.Nanos(at(101)), 26'000'000'000);
}

}  // namespace
}  // namespace vck::kubeletapi
