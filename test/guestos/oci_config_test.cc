#include "guestos/oci_config.h"

#include <algorithm>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vck::guestos {
namespace {

using guestapi::ContainerSpec;
using guestapi::GuestSpec;
using guestapi::Security;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;

struct Case {
  GuestSpec pod;
  ImageConfig image{.entrypoint = {"/entry"}, .cmd = {"arg"}, .env = {"PATH=/bin", "A=image", "B=image"}};
  OciInput input;

  Case() {
    pod.host_name = "web-0";
    pod.containers.push_back({.name = "main"});
    input.capabilities = CapabilityNames(0x1ffffffffff);
    input.rootfs = "/root";
    input.cgroup_path = "/pod/id";
    input.memory_bytes = int64_t{1} << 30;
  }
  ContainerSpec& container() { return pod.containers[0]; }
  json::Object Make() {
    input.pod = &pod;
    input.container = &container();
    input.image = &image;
    auto config = MakeOciConfig(input);
    EXPECT_TRUE(config.ok()) << config.status();
    return config.ok() ? *std::move(config) : json::Object();
  }
};

std::vector<std::string> Texts(const json::Value& array) {
  std::vector<std::string> out;
  for (const json::Value& item : array.as_array()) out.emplace_back(json::AsString(item));
  return out;
}
std::vector<std::string> Bounding(const json::Object& config) {
  return Texts(config.at("process").at("capabilities").at("bounding"));
}

// The whole of it for a plain container, so that nothing changes unseen.
constexpr std::string_view kGolden = R"({"ociVersion":"1.0.2",
"process":{"terminal":false,"user":{"uid":0,"gid":0,"additionalGids":[]},"args":["/entry","arg"],
"env":["PATH=/bin","HOSTNAME=web-0","A=image","B=pod","C=pod","HOME=/"],"cwd":"/",
"capabilities":{"bounding":["CAP_CHOWN"],"effective":["CAP_CHOWN"],"permitted":["CAP_CHOWN"]},
"noNewPrivileges":false,"oomScoreAdj":1000},
"root":{"path":"/root","readonly":false},
"mounts":[
{"destination":"/proc","type":"proc","source":"proc","options":["nosuid","noexec","nodev"]},
{"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","strictatime","mode=755","size=65536k"]},
{"destination":"/dev/pts","type":"devpts","source":"devpts",
"options":["nosuid","noexec","newinstance","ptmxmode=0666","mode=0620","gid=5"]},
{"destination":"/dev/mqueue","type":"mqueue","source":"mqueue","options":["nosuid","noexec","nodev"]},
{"destination":"/sys","type":"sysfs","source":"sysfs","options":["nosuid","noexec","nodev","ro"]},
{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup",
"options":["nosuid","noexec","nodev","relatime","ro"]},
{"destination":"/data","type":"bind","source":"/volumes/data","options":["rbind","rprivate","ro"]}],
"linux":{"namespaces":[{"type":"mount"},{"type":"pid"},{"type":"cgroup"}],"cgroupsPath":"/pod/id",
"resources":{"cpu":{"shares":2},"unified":{"memory.oom.group":"1"},"devices":[{"allow":false,"access":"rwm"}]},
"maskedPaths":["/proc/acpi","/proc/asound","/proc/interrupts","/proc/kcore","/proc/keys","/proc/latency_stats",
"/proc/timer_list","/proc/timer_stats","/proc/sched_debug","/sys/firmware","/sys/devices/virtual/powercap",
"/proc/scsi"],
"readonlyPaths":["/proc/bus","/proc/fs","/proc/irq","/proc/sys","/proc/sysrq-trigger"]}})";

TEST(OciConfig, Golden) {
  Case c;
  c.input.capabilities = {"CAP_CHOWN"};
  c.input.mounts = {{.source = "/volumes/data", .path = "/data", .read_only = true}};
  c.container().env = {{"B", "pod"}, {"C", "pod"}};
  EXPECT_EQ(json::Value(c.Make()), *json::Parse(kGolden)) << json::Serialize(c.Make());
}

TEST(OciConfig, Limits) {
  Case c;
  c.container().cpu_limit_milli = 250;
  c.container().cpu_request_milli = 100;
  c.container().memory_limit_bytes = 64 << 20;
  c.input.max_processes = 500;
  json::Object config = c.Make();
  const json::Value& resources = config.at("linux").at("resources");
  EXPECT_EQ(resources.at("cpu"), *json::Parse(R"({"shares":102,"period":100000,"quota":25000})"));
  EXPECT_EQ(resources.at("unified"), *json::Parse(R"({"memory.oom.group":"1","pids.max":"500"})"));
  EXPECT_EQ(resources.at("memory"), *json::Parse(R"({"limit":67108864,"swap":67108864})"));
  c.container().cpu_limit_milli = 1;
  EXPECT_EQ(c.Make().at("linux").at("resources").at("cpu").at("quota"), 1000);
  c.input.cgroup_path = "";
  EXPECT_FALSE(c.Make().at("linux").as_object().contains("resources"));
}

TEST(OciConfig, Capabilities) {
  Case c;
  EXPECT_EQ(Bounding(c.Make()).size(), 14u);
  EXPECT_THAT(Bounding(c.Make()), Contains("CAP_NET_RAW"));
  EXPECT_THAT(Bounding(c.Make()), Not(Contains("CAP_SYS_ADMIN")));
  Security& security = c.container().security;
  security.add_capabilities = {"SYS_ADMIN", "cap_net_admin"};
  security.drop_capabilities = {"NET_RAW"};
  EXPECT_THAT(Bounding(c.Make()), Contains("CAP_NET_ADMIN"));
  EXPECT_THAT(Bounding(c.Make()), Not(Contains("CAP_NET_RAW")));
  security.drop_capabilities = {"ALL"};
  EXPECT_THAT(Bounding(c.Make()), ElementsAre("CAP_SYS_ADMIN", "CAP_NET_ADMIN"));
  security.add_capabilities = {"ALL"};
  security.drop_capabilities = {"MKNOD"};
  EXPECT_EQ(Bounding(c.Make()).size(), 40u);
  security = {.privileged = true};
  EXPECT_EQ(Bounding(c.Make()).size(), 41u);
  // What we do not have we cannot give.
  c.input.capabilities = {"CAP_KILL"};
  EXPECT_THAT(Bounding(c.Make()), ElementsAre("CAP_KILL"));
  security = {.add_capabilities = {"FLY"}};
  EXPECT_EQ(MakeOciConfig(c.input).status().message(), "unknown capability \"CAP_FLY\" to add");
}

TEST(OciConfig, Privileged) {
  Case c;
  c.container().security = {.privileged = true, .seccomp = Security::Seccomp::kRuntimeDefault};
  c.input.devices = {{.path = "/dev/sda", .type = 'b', .major = 8, .mode = 0660, .gid = 6}};
  json::Object config = c.Make();
  const json::Object& linux = config.at("linux").as_object();
  EXPECT_FALSE(linux.contains("maskedPaths"));
  EXPECT_FALSE(linux.contains("seccomp"));
  EXPECT_EQ(linux.at("devices").as_array().size(), 1u);
  EXPECT_EQ(linux.at("resources").at("devices").at(0).at("allow"), true);
}

TEST(OciConfig, RuntimeDefaultSeccomp) {
  Case c;
  c.container().security.seccomp = Security::Seccomp::kRuntimeDefault;
  auto allows = [](const json::Object& config, std::string_view call) {
    for (const json::Value& rule : config.at("linux").at("seccomp").at("syscalls").as_array()) {
      auto names = Texts(rule.at("names"));
      bool plain = !rule.as_object().contains("args") && rule.at("action") == "SCMP_ACT_ALLOW";
      if (plain && std::find(names.begin(), names.end(), call) != names.end()) return true;
    }
    return false;
  };
  EXPECT_TRUE(allows(c.Make(), "openat"));
  EXPECT_TRUE(allows(c.Make(), "chroot"));  // SYS_CHROOT is a default
  EXPECT_FALSE(allows(c.Make(), "mount"));
  EXPECT_FALSE(allows(c.Make(), "clone"));
  c.container().security.add_capabilities = {"SYS_ADMIN"};
  EXPECT_TRUE(allows(c.Make(), "mount"));
  EXPECT_TRUE(allows(c.Make(), "clone"));
}

TEST(OciConfig, MountsOfThePodReplaceOurs) {
  Case c;
  c.input.mounts = {{.source = "/v/deep", .path = "/a/b/c"},
                    {.source = "/v/top", .path = "/a"},
                    {.source = "/v/dev", .path = "/dev/mqueue"},
                    {.source = "/v/second", .path = "/b"}};
  std::vector<std::string> paths;
  json::Object config = c.Make();
  for (const json::Value& mount : config.at("mounts").as_array()) {
    paths.emplace_back(json::String(mount, "destination"));
  }
  EXPECT_THAT(paths,
              ElementsAre("/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/a", "/b", "/dev/mqueue", "/a/b/c"));
}

TEST(OciConfig, Propagation) {
  Case c;
  using Propagation = BindMount::Propagation;
  c.input.mounts = {{.source = "/v", .path = "/v", .propagation = Propagation::kHostToContainer}};
  EXPECT_EQ(c.Make().at("linux").at("rootfsPropagation"), "rslave");
  c.input.mounts.push_back({.source = "/w", .path = "/w", .propagation = Propagation::kBidirectional});
  EXPECT_EQ(c.Make().at("linux").at("rootfsPropagation"), "rshared");
}

TEST(OciConfig, Namespaces) {
  Case c;
  c.input.pid_namespace = "/proc/5/ns/pid";
  EXPECT_EQ(c.Make().at("linux").at("namespaces").at(1), *json::Parse(R"({"type":"pid","path":"/proc/5/ns/pid"})"));
  c.input.guest_pid_namespace = true;
  EXPECT_EQ(c.Make().at("linux").at("namespaces").as_array().size(), 2u);
}

TEST(OciConfig, ProcessOfAnExec) {
  Case c;
  c.input.user = {.uid = 5, .gid = 6, .groups = {6}};
  json::Object config = c.Make();
  json::Object process = MakeExecProcess(config.at("process").as_object(), {"sh", "-c", "x"}, true);
  EXPECT_THAT(Texts(process.at("args")), ElementsAre("sh", "-c", "x"));
  EXPECT_EQ(process.at("terminal"), true);
  EXPECT_THAT(Texts(process.at("env")), Contains("TERM=xterm"));
  EXPECT_EQ(process.at("user").at("uid"), 5);
}

TEST(OciConfig, WorkingDirectoryAndTerminal) {
  Case c;
  c.image.working_dir = "image";
  c.container().tty = true;
  EXPECT_EQ(c.Make().at("process").at("cwd"), "/image");
  EXPECT_THAT(Texts(c.Make().at("process").at("env")), Contains("TERM=xterm"));
  c.container().working_dir = "/pod";
  EXPECT_EQ(c.Make().at("process").at("cwd"), "/pod");
}

TEST(OciConfig, OtherLimitsAreWrittenAsTheFirst) {
  EXPECT_THAT(UpdateOptions({.cpu_limit_milli = 250, .cpu_request_milli = 100, .memory_limit_bytes = 1 << 20}),
              ElementsAre("--cpu-share=102", "--cpu-period=100000", "--cpu-quota=25000", "--memory=1048576",
                          "--memory-swap=1048576"));
  EXPECT_THAT(UpdateOptions({}),
              ElementsAre("--cpu-share=2", "--cpu-period=100000", "--cpu-quota=-1", "--memory=-1", "--memory-swap=-1"));
}

TEST(OomScoreAdj, ByQualityOfService) {
  GuestSpec pod;
  pod.containers = {{.name = "a"}, {.name = "b"}};
  const int64_t gib = int64_t{1} << 30;
  auto score = [&](int i) { return OomScoreAdj(pod, pod.containers[static_cast<size_t>(i)], gib); };
  EXPECT_EQ(score(0), 1000);
  pod.containers[0].memory_request_bytes = gib / 4;
  EXPECT_EQ(score(0), 750);
  EXPECT_EQ(score(1), 999);
  pod.containers[0].memory_request_bytes = 2 * gib;
  EXPECT_EQ(score(0), 3);
  for (ContainerSpec& container : pod.containers) {
    container.cpu_limit_milli = container.cpu_request_milli = 100;
    container.memory_limit_bytes = container.memory_request_bytes = gib / 8;
  }
  EXPECT_EQ(score(0), -997);
}

}  // namespace
}  // namespace vck::guestos
