// vch-kubelet's command line and YAML file: what they come to, and what is said about mistakes.
#include "flags.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <sys/wait.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "http/tls.h"
#include "node/settings.h"

namespace vck {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class FlagsTest : public ::testing::Test {
 protected:
  FlagsTest() {
    std::string pattern = ::testing::TempDir() + "flags-XXXXXX";
    dir = mkdtemp(pattern.data());
    Write("kubeconfig",
          "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
          "clusters: [{name: k, cluster: {server: 'https://127.0.0.1:6443', insecure-skip-tls-verify: true}}]\n"
          "users: [{name: u, user: {token: t}}]\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n");
    Write("password", "secret\n");
  }
  ~FlagsTest() override { std::filesystem::remove_all(dir); }

  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(dir + "/" + name) << text;
    return dir + "/" + name;
  }
  // What every start needs.
  [[nodiscard]] std::vector<std::string> Needed() const {
    return {"--node-name=vch1",
            "--vch-id=v",
            "--state-dir=" + dir,
            "--kubeconfig=" + dir + "/kubeconfig",
            "--vcenter-url=https://vc/sdk",
            "--vcenter-user=u",
            "--vcenter-password-file=" + dir + "/password"};
  }
  ParsedCommandLine Parse(std::vector<std::string> more, const std::string& yaml = "") const {
    std::vector<std::string> arguments = Needed();
    if (!yaml.empty()) arguments.push_back("--config=" + Write("config.yaml", yaml));
    arguments.insert(arguments.end(), more.begin(), more.end());
    return ParseCommandLine(arguments);
  }
  // The lines between the first and the last, with the directory's name taken out.
  std::vector<std::string> Mistakes(const ParsedCommandLine& parsed) const {
    EXPECT_FALSE(parsed.line.has_value());
    EXPECT_EQ(parsed.exit_code, 2);
    std::vector<std::string> lines = absl::StrSplit(parsed.text, '\n', absl::SkipEmpty());
    EXPECT_EQ(lines.front(), "vch-kubelet cannot start:");
    EXPECT_EQ(lines.back(), "Run vch-kubelet --help for the flags.");
    lines.erase(lines.begin());
    lines.pop_back();
    for (std::string& line : lines) {
      for (size_t at = 0; (at = line.find(dir + "/")) != std::string::npos;) line.erase(at, dir.size() + 1);
    }
    return lines;
  }

  std::string dir;
};

TEST_F(FlagsTest, Good) {
  auto parsed = Parse({"-v", "2", "--leader-elect=false", "--pod-dns="},
                      "max-pods: 7\nvcenter-tags: false\npod-dns: [1.2.3.4]\n");
  ASSERT_TRUE(parsed.line.has_value()) << parsed.text;
  EXPECT_EQ(parsed.line->verbosity, 2);
  EXPECT_EQ(parsed.line->options.pod.max_pods, 7);
  EXPECT_FALSE(parsed.line->options.vcenter.tags);
  EXPECT_EQ(parsed.line->options.pod.dns, "") << "a flag may be set to nothing";
  EXPECT_EQ(parsed.line->inputs.kube.identity.token, "t");
}

// What a flag comes to in the part that it is for, and in no other.
TEST_F(FlagsTest, EachReachesWhatItIsFor) {
  using node::Options;
  struct Case {
    std::string flag;
    std::string (*effect)(const Options&);
    std::string want, otherwise;
  };
  static const auto kTime = [](absl::Duration d) {
    return absl::FormatDuration(absl::Trunc(d, absl::Milliseconds(1)));
  };
  static const auto kVm = [](const Options& o) { return PodVmOf(o, {}, 2000); };
  const std::vector<Case> cases = {
      {"--node-status-report-frequency=7m", [](const Options& o) { return kTime(ThresholdsOf(o).report_every); }, "7m",
       "5m"},
      {"--memory-pressure-threshold=4", [](const Options& o) { return absl::StrCat(ThresholdsOf(o).memory_free); },
       "0.04", "0.02"},
      {"--disk-pressure-threshold=25", [](const Options& o) { return absl::StrCat(ThresholdsOf(o).datastore_free); },
       "0.25", "0.1"},
      {"--node-lease-duration=20s",
       [](const Options& o) { return absl::StrCat(kTime(LeaseOf(o).duration), " ", kTime(LeaseOf(o).renew)); },
       "20s 5s", "40s 10s"},
      {"--vcenter-concurrency=5", [](const Options& o) { return absl::StrCat(CallsOf(o.vcenter).concurrency); }, "5",
       "32"},
      {"--vcenter-task-timeout=9m", [](const Options& o) { return kTime(CallsOf(o.vcenter).task_timeout); }, "9m",
       "5m"},
      {"--vcenter-power-on-delay=2s", [](const Options& o) { return kTime(CallsOf(o.vcenter).power_on_batch); }, "2s",
       "100ms"},
      {"--vcenter-power-on-batch=3", [](const Options& o) { return absl::StrCat(CallsOf(o.vcenter).power_on_max); },
       "3", "64"},
      {"--vcenter-relist=3h", [](const Options& o) { return kTime(InventoryOf(o.vcenter, {}).relist); }, "3h", "30m"},
      {"--vcenter-tick=1s",
       [](const Options& o) {
         return absl::StrCat(kTime(InventoryOf(o.vcenter, {}).round), " ", kTime(InventoryOf(o.vcenter, {}).tick));
       },
       "1s 1s", "100ms 100ms"},
      {"--retry-initial=2s", [](const Options& o) { return kTime(QueueOf(o, "q").backoff.initial); }, "2s", "100ms"},
      {"--retry-max=3m", [](const Options& o) { return kTime(QueueOf(o, "q").backoff.max); }, "3m", "1m"},
      {"--retry-qps=7", [](const Options& o) { return absl::StrCat(QueueOf(o, "q").retries_per_second); }, "7", "100"},
      {"--retry-burst=8", [](const Options& o) { return absl::StrCat(QueueOf(o, "q").retry_burst); }, "8", "1000"},
      {"--power-on-retry-initial=1s", [](const Options& o) { return kTime(VmReconcilerOf(o).power_on.initial); }, "1s",
       "10s"},
      {"--power-on-retry-max=8m", [](const Options& o) { return kTime(VmReconcilerOf(o).power_on.max); }, "8m", "5m"},
      {"--vcenter-lost-create-timeout=1m", [](const Options& o) { return kTime(VmReconcilerOf(o).create_unknown); },
       "1m", "30s"},
      {"--orphan-interval=1m", [](const Options& o) { return kTime(VmReconcilerOf(o).orphan_interval); }, "1m", "10s"},
      {"--orphan-grace-period=2m", [](const Options& o) { return kTime(VmReconcilerOf(o).plan.orphan_grace); }, "2m",
       "10s"},
      {"--guest-boot-slack=1h", [](const Options& o) { return kTime(VmReconcilerOf(o).plan.boot_slack); }, "1h", "3m"},
      {"--guest-stop-slack=2h", [](const Options& o) { return kTime(VmReconcilerOf(o).plan.stop_slack); }, "2h", "15s"},
      {"--guest-halt-slack=3h", [](const Options& o) { return kTime(VmReconcilerOf(o).plan.halt_slack); }, "3h", "10s"},
      {"--guest-save-slack=4h", [](const Options& o) { return kTime(VmReconcilerOf(o).plan.save_slack); }, "4h", "2m"},
      {"--container-log-max-size=2Mi", [](const Options& o) { return absl::StrCat(SpecOf(o, "", {}).log_max_bytes); },
       "2097152", "10485760"},
      {"--container-log-max-files=9", [](const Options& o) { return absl::StrCat(SpecOf(o, "", {}).log_max_files); },
       "9", "5"},
      {"--kube-api-page-size=11", [](const Options& o) { return absl::StrCat(SpecOf(o, "", {}).page_size); }, "11",
       "250"},
      {"--default-cpu=300m", [](const Options& o) { return absl::StrCat(kVm(o).default_cpu_milli); }, "300", "1000"},
      {"--default-memory=1Gi", [](const Options& o) { return absl::StrCat(kVm(o).default_memory_bytes); }, "1073741824",
       "536870912"},
      {"--default-ephemeral-storage=1Mi", [](const Options& o) { return absl::StrCat(kVm(o).default_ephemeral_bytes); },
       "1048576", "1073741824"},
      {"--guest-memory-overhead=1Mi",
       [](const Options& o) { return absl::StrCat(kVm(o).guest_overhead_bytes, " ", OverheadOf(o).memory_bytes); },
       "1048576 1048576", "67108864 67108864"},
      {"--guest-cpu-overhead=50m",
       [](const Options& o) { return absl::StrCat(kVm(o).guest_overhead_cpu_milli, " ", OverheadOf(o).cpu_millis); },
       "50 50", "0 0"},
      {"--max-parallel-image-pulls=2", [](const Options& o) { return absl::StrCat(ImagesOf(o).parallel_pulls); }, "2",
       "3"},
      {"--image-gc-high-threshold=90", [](const Options& o) { return absl::StrCat(ImagesOf(o).gc_high); }, "90", "85"},
      {"--image-gc-low-threshold=50", [](const Options& o) { return absl::StrCat(ImagesOf(o).gc_low); }, "50", "80"},
      {"--minimum-image-ttl-duration=1m", [](const Options& o) { return kTime(ImagesOf(o).gc_min_age); }, "1m", "2m"},
      {"--image-gc-interval=30s", [](const Options& o) { return kTime(ImagesOf(o).gc_interval); }, "30s", "5m"},
      {"--image-maximum-gc-age=24h", [](const Options& o) { return kTime(ImagesOf(o).gc_max_age); }, "24h", "0"},
      {"--image-work-dir=/w", [](const Options& o) { return ImagesOf(o).work_dir; }, "/w", dir + "/images"},
  };
  for (const Case& given : cases) {
    const auto parsed = Parse({given.flag});
    ASSERT_TRUE(parsed.line.has_value()) << parsed.text;
    for (const Case& c : cases) {
      EXPECT_EQ(c.effect(parsed.line->options), &c == &given ? c.want : c.otherwise) << given.flag << " on " << c.flag;
    }
  }
}

TEST_F(FlagsTest, AFlagWinsOverTheFileWhereverItStands) {
  EXPECT_EQ(Parse({"--max-pods=8"}, "max-pods: 7").line->options.pod.max_pods, 8);
  std::vector<std::string> arguments = Needed();
  arguments.insert(arguments.begin(), "--max-pods=8");
  arguments.push_back("--config");
  arguments.push_back(Write("c.yaml", "max-pods: 7\n"));
  EXPECT_EQ(ParseCommandLine(arguments).line->options.pod.max_pods, 8);
  EXPECT_EQ(Parse({"--max-pods=8", "--max-pods", "9"}).line->options.pod.max_pods, 9) << "the last one counts";
}

TEST_F(FlagsTest, WhatYamlMaySay) {
  struct Case {
    const char* yaml;
    std::string node::KubeOptions::* field;
    const char* want;
  };
  for (const Case& c : {
           Case{"node-labels: {a: b, c: 1}", &node::KubeOptions::node_labels, "a=b,c=1"},
           {"node-labels: [a=b, c=d]", &node::KubeOptions::node_labels, "a=b,c=d"},
           {"node-labels: a=b", &node::KubeOptions::node_labels, "a=b"},
           {"node-labels: ", &node::KubeOptions::node_labels, ""},
           {"register-with-taints: [{key: a, effect: NoSchedule}]", &node::KubeOptions::taints, "a:NoSchedule"},
           {"register-with-taints:\n- {key: a, value: b, effect: NoSchedule}\n- c:NoExecute",
            &node::KubeOptions::taints, "a=b:NoSchedule,c:NoExecute"},
           {"register-with-taints: []", &node::KubeOptions::taints, ""},
           {"register-with-taints: ''", &node::KubeOptions::taints, ""},
       }) {
    auto parsed = Parse({}, c.yaml);
    ASSERT_TRUE(parsed.line.has_value()) << c.yaml << "\n" << parsed.text;
    EXPECT_EQ(parsed.line->options.kube.*c.field, c.want) << c.yaml;
  }
}

TEST_F(FlagsTest, Mistakes) {
  struct Case {
    std::vector<std::string> flags;
    const char* yaml;
    const char* want;  // the only line
  };
  const std::string long_id(65, 'x');
  for (const Case& c : {
           // ---- the file ----
           Case{{}, "a: b: c", "config.yaml:1: not YAML: illegal map value"},
           {{}, "- a", "config.yaml: expected a map of flag names to values, such as \"node-name: vch1\", got a list"},
           {{}, "foo: 1", "config.yaml:1: foo: there is no such flag"},
           {{}, "\nmax-pod: 1", "config.yaml:2: max-pod: there is no such flag; did you mean --max-pods?"},
           {{}, "max-pods: x", "config.yaml:1: --max-pods: \"x\" is not a whole number"},
           {{}, "max-pods: [1]", "config.yaml:1: --max-pods: expected one value, got a list"},
           {{}, "max-pods: {a: 1}", "config.yaml:1: --max-pods: expected one value, got a map"},
           {{}, "pod-dns: {a: 1}", "config.yaml:1: --pod-dns: expected a list or text, got a map"},
           {{}, "pod-dns: [{a: 1}]", "config.yaml:1: --pod-dns: expected a list of texts, got a map"},
           {{}, "node-labels: {a: {b: c}}", "config.yaml:1: --node-labels: expected a map of text to text, got a map"},
           {{}, "node-labels: {a: }", "config.yaml:1: --node-labels: expected a map of text to text, got nothing"},
           {{}, "? [a]\n: b", "config.yaml:1: expected the name of a flag, got a list"},
           {{},
            "register-with-taints: [{key: a, efect: b}]",
            "config.yaml:1: --register-with-taints: a taint has no \"efect\""},
           {{},
            "register-with-taints: [{key: a, effect: b}]",
            "config.yaml:1: --register-with-taints: taint \"a:b\": expected key[=value]:effect with effect NoSchedule, "
            "PreferNoSchedule or NoExecute"},
           {{}, "v: 1\nv: 2", "config.yaml:2: v: stands there twice"},
           {{}, "config: x", "config.yaml:1: config: for the command line only"},
           {{}, "drain-timeout: 5", "config.yaml:1: --drain-timeout: \"5\" is not a time, such as 30s, 5m or 1h30m"},
           {{}, "leader-elect: perhaps", "config.yaml:1: --leader-elect: \"perhaps\" is not true or false"},
           {{}, "max-pods: 0", "config.yaml:1: --max-pods: expected at least 1"},
           // ---- the command line ----
           {{"--max-pods=0"}, "max-pods: 1", "--max-pods: expected at least 1"},
           {{"--foo=1"}, "", "--foo: there is no such flag"},
           {{"--foo", "1"}, "", "--foo: there is no such flag"},
           {{"-node-ip=1.2.3.4"}, "", "-node-ip: there is no such flag; did you mean --node-ip?"},
           {{"stray"}, "", "\"stray\": expected a flag, such as --node-name=vch1 or --leader-elect=false"},
           {{"--max-pods"}, "", "--max-pods: expected a value"},
           {{"--max-pods", "--leader-elect=false"}, "", "--max-pods: expected a value"},
           {{"--config=/no/such"}, "", "--config: cannot read /no/such"},
           {{"--config=/"}, "", "--config: cannot read /"},
           // ---- values ----
           {{"--default-cpu=-1"}, "", "--default-cpu: \"-1\" is less than nothing"},
           {{"--default-memory=-1Gi"}, "", "--default-memory: \"-1Gi\" is less than nothing"},
           {{"--guest-memory-overhead=-64Mi"}, "", "--guest-memory-overhead: \"-64Mi\" is less than nothing"},
           {{"--drain-timeout=-1s"}, "", "--drain-timeout: expected a time such as 20s, or 0s"},
           {{"--kube-api-page-size=0"}, "", "--kube-api-page-size: expected at least 1"},
           {{"--kube-api-timeout=0s"}, "", "--kube-api-timeout: expected a positive time, such as 30s or 5m"},
           {{"--event-queue-size=0"}, "", "--event-queue-size: expected at least 1"},
           {{"--disk-pressure-threshold=101"}, "", "--disk-pressure-threshold: expected a percentage, 0 to 100"},
           {{"--memory-pressure-threshold=nan"}, "", "--memory-pressure-threshold: \"nan\" is not a number"},
           {{"--vcenter-call-timeout=0s"}, "", "--vcenter-call-timeout: expected a positive time, such as 30s or 5m"},
           {{"--vcenter-tick=1ms"}, "", "--vcenter-tick: expected at least 10ms"},
           {{"--vcenter-power-on-delay=-1s"}, "", "--vcenter-power-on-delay: expected a time such as 100ms, or 0s"},
           {{"--vcenter-power-on-batch=0"}, "", "--vcenter-power-on-batch: expected at least 1"},
           {{"--power-on-retry-max=1s"}, "", "--power-on-retry-max: expected at least --power-on-retry-initial"},
           {{"--guest-boot-slack=0s"}, "", "--guest-boot-slack: expected a positive time, such as 30s or 5m"},
           {{"--guest-stop-slack=-1s"}, "", "--guest-stop-slack: expected a time such as 15s, or 0s"},
           {{"--guest-keepalive=10ms"}, "", "--guest-keepalive: expected at least 1s"},
           {{"--max-parallel-guest-handshakes=0"}, "", "--max-parallel-guest-handshakes: expected at least 1"},
           {{"--image-gc-interval=0s"}, "", "--image-gc-interval: expected a positive time, such as 30s or 5m"},
           {{"--retry-burst=0"}, "", "--retry-burst: expected at least 1"},
           {{"--worker-threads=0"}, "", "--worker-threads: expected at least 1"},
           {{"--bootstrap-iso=boot.iso"},
            "",
            "--bootstrap-iso: \"boot.iso\"; expected \"[datastore] path/bootstrap.iso\""},
           {{"--bootstrap-iso=[ds]"}, "", "--bootstrap-iso: \"[ds]\"; expected \"[datastore] path/bootstrap.iso\""},
           {{"--vch-id=" + long_id},
            "",
            "--vch-id: has 65 characters; expected a name or UUID of at most 64 characters that stays the same for "
            "this VCH's life"},
           {{"--logging-format=xml"}, "", "--logging-format: \"xml\"; expected text or json"},
           // ---- files ----
           {{"--kubeconfig=/no/such"}, "", "--kubeconfig: /no/such: No such file or directory"},
           {{"--vcenter-password-file=/no/such"}, "", "--vcenter-password-file: cannot read /no/such"},
           {{"--vcenter-password-file=/"}, "", "--vcenter-password-file: cannot read /"},
           {{"--vcenter-ca=/no/such"}, "", "--vcenter-ca: cannot read /no/such"},
           {{"--client-ca-file=/no/such"}, "", "--client-ca-file: cannot read /no/such"},
           {{"--registries=/no/such"}, "", "--registries: cannot read /no/such"},
       }) {
    std::vector<std::string> mistakes = Mistakes(Parse(c.flags, c.yaml));
    EXPECT_THAT(mistakes, ::testing::ElementsAre(c.want)) << c.yaml << " " << (c.flags.empty() ? "" : c.flags[0]);
  }
}

TEST_F(FlagsTest, AllMistakesAtOnce) {
  unsetenv("VCENTER_PASSWORD");
  std::string config = Write("c.yaml", "foo: 1\nmax-pods: x\nnode-labels: [[a]]\nkubeconfig: " + Write("bad", "{]") +
                                           "\nvcenter-ca: " + Write("ca.pem", "no certificate"));
  std::vector<std::string> mistakes = Mistakes(ParseCommandLine({"--bar", "--retry-max=soon", "--config", config}));
  std::string all = absl::StrJoin(mistakes, "\n");
  for (const char* want :
       {"c.yaml:1: foo: ", "c.yaml:2: --max-pods: ", "c.yaml:3: --node-labels: ", "--bar: ", "--retry-max: \"soon\"",
        "--node-name: missing", "--vch-id: missing", "--vcenter-url: missing",
        "c.yaml:4: --kubeconfig: bad: ", "--vcenter-password-file: no password", "c.yaml:5: --vcenter-ca: ca.pem: "}) {
    EXPECT_THAT(all, HasSubstr(want));
  }
}

TEST_F(FlagsTest, CertificatesAreLookedAt) {
  std::string key = *http::GenerateKeyPem();
  auto mistakes =
      Mistakes(Parse({"--tls-cert-file", Write("crt", "nothing"), "--tls-private-key-file", Write("key", key)}));
  ASSERT_EQ(mistakes.size(), 1u);
  EXPECT_THAT(mistakes[0], ::testing::StartsWith("--tls-cert-file, --tls-private-key-file: "));
}

TEST_F(FlagsTest, HelpAndVersion) {
  auto help = ParseCommandLine({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_FALSE(help.line.has_value());
  EXPECT_THAT(help.text, AllOf(HasSubstr("\nvCenter:\n"), HasSubstr("  --max-pods N (4000)\n"),
                               HasSubstr("  -v N (0)\n"), HasSubstr("  --leader-elect (false)\n")));
  for (std::string_view line : absl::StrSplit(help.text, '\n')) EXPECT_LE(line.size(), 120u) << line;
  EXPECT_EQ(ParseCommandLine({"--version"}).text, "vch-kubelet " VCK_VERSION "\n");
}

// Each flag of --help is in docs/operations.md.
TEST(Documentation, NamesAllFlags) {
  const char* file = std::getenv("OPERATIONS_MD");
  if (file == nullptr) GTEST_SKIP() << "OPERATIONS_MD names no file";
  std::ifstream in(file);
  std::stringstream read;
  read << in.rdbuf();
  std::string text = read.str();
  std::replace(text.begin(), text.end(), '\n', ' ');
  const std::string help = ParseCommandLine({"--help"}).text;
  int flags = 0;
  for (std::string_view line : absl::StrSplit(help, '\n')) {
    if (!line.starts_with("  -")) continue;
    std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipWhitespace());
    ++flags;
    std::string want = absl::StrCat("`", words[0], "`");
    // Numbers with their defaults; times, texts and switches are told of in words.
    if (words.size() == 3 && words[1][0] == 'N' && words[0] != "-v") {
      absl::StrAppend(&want, " ", words[2].substr(0, words[2].size() - 1));
    }
    EXPECT_TRUE(text.find(want) != std::string::npos) << want << " is not in " << file;
  }
  EXPECT_GT(flags, 80);
}

// The process: where the text goes and what its exit status is.
TEST(Process, MistakesGoToStandardErrorWithExitStatus2) {
  const char* program = std::getenv("VCH_KUBELET");
  if (program == nullptr) GTEST_SKIP() << "VCH_KUBELET names no vch-kubelet";
  std::FILE* pipe = popen(absl::StrCat(program, " --foo 2>&1 >/dev/null").c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string text;
  for (int c = 0; (c = std::fgetc(pipe)) != EOF;) text += static_cast<char>(c);
  EXPECT_EQ(WEXITSTATUS(pclose(pipe)), 2) << text;
  EXPECT_THAT(text, AllOf(HasSubstr("--foo: there is no such flag"), HasSubstr("--node-name: missing")));
}

}  // namespace
}  // namespace vck
