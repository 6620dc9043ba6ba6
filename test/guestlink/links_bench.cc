// What a link costs the kubelet: links_bench GUEST-SIM [N]. Starts guest-sim, powers N guests on, connects to all, and
// prints CPU and memory per link and per guest. Not a test.
#include <csignal>
#include <cstdio>
#include <fstream>

#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "guestlink/net.h"

extern char** environ;

namespace vck::guestlink {
namespace {

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](timeval t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double CpuSeconds(pid_t pid) {
  std::ifstream in(absl::StrCat("/proc/", pid, "/stat"));
  std::string text;
  std::getline(in, text);
  std::vector<std::string> fields = absl::StrSplit(text.substr(text.rfind(')') + 2), ' ');
  int64_t user = 0;
  int64_t system = 0;
  (void)absl::SimpleAtoi(fields[11], &user);
  (void)absl::SimpleAtoi(fields[12], &system);
  return static_cast<double>(user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

int64_t ResidentKiB(const std::string& pid) {
  std::ifstream in(absl::StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(in, line);) {
    int64_t value = 0;
    if (absl::StartsWith(line, "VmRSS:")) {
      std::vector<std::string> words = absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
      (void)absl::SimpleAtoi(words[1], &value);
      return value;
    }
  }
  return 0;
}

int Main(const std::string& binary, int n) {
  std::signal(SIGPIPE, SIG_IGN);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  std::string path = absl::StrCat("/tmp/links-bench-", ::getpid(), ".sock");
  std::vector<std::string> words = {binary, "--control", path};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  if (posix_spawn(&pid, binary.c_str(), nullptr, nullptr, argv.data(), environ) != 0) return 1;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  int fd = -1;
  for (int i = 0; i < 100; ++i) {
    fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) break;
    ::close(fd);
    absl::SleepFor(absl::Milliseconds(50));
  }
  FILE* control = fdopen(fd, "r+");
  auto guests_before = ResidentKiB(std::to_string(pid));

  int running = 0;
  std::set<std::string> seen;
  Net net;
  std::string key = NewKey();
  Kubelet kubelet(&net, key);
  net.Pass(absl::Milliseconds(50));
  std::map<std::string, int> index;
  std::vector<Endpoint> endpoints(static_cast<size_t>(n));
  double boot_cpu = CpuSeconds(pid);
  for (int i = 0; i < n; ++i) {
    guestapi::BootConfig config;
    config.pod_uid = absl::StrCat("0b0e5a0c-1111-4222-8333-", absl::Hex(i, absl::kZeroPad12));
    config.address = absl::StrCat("127.77.", i / 250, ".", i % 250 + 1);
    config.kubelet_key_hash = kubelet->key_hash();
    config.kubelet_ca = kubelet->ca_pem();
    json::Object guestinfo;
    guestinfo[guestapi::kConfigKey] = guestapi::Encode(config);
    std::string vm = absl::StrCat("vm-", i);
    index[vm] = i;
    std::fputs((json::Serialize({{"op", "power_on"}, {"vm", vm}, {"guestinfo", std::move(guestinfo)}}) + "\n").c_str(),
               control);
    std::fflush(control);
    endpoints[static_cast<size_t>(i)] = {.vm = vm, .address = config.address};
    for (int announced = 0; announced < 2;) {
      char* line = nullptr;
      size_t size = 0;
      if (getline(&line, &size, control) < 0) return 1;
      auto message = *json::Parse(line);
      std::free(line);
      ++announced;
      if (json::String(message, "op") == "set") {
        auto text = json::String(json::Get(message, "guestinfo"), guestapi::kGuestKey);
        endpoints[static_cast<size_t>(i)].guest = *guestapi::DecodeAnnouncement(text);
      }
    }
  }
  boot_cpu = CpuSeconds(pid) - boot_cpu;
  auto guests_booted = ResidentKiB(std::to_string(pid));
  int64_t before = ResidentKiB("self");
  double cpu = CpuSeconds();
  double guest_cpu = CpuSeconds(pid);
  Instant begin = net.clock().Now();
  kubelet->states().Subscribe([&](const std::string& uid) {
    auto state = kubelet.State(uid);
    if (!state.guest.containers.empty() && state.guest.containers[0].ready && seen.insert(uid).second) ++running;
  });
  for (int i = 0; i < n; ++i) {
    std::string uid = absl::StrCat("0b0e5a0c-1111-4222-8333-", absl::Hex(i, absl::kZeroPad12));
    kubelet->Push(uid, SpecOf(uid, ""));
    kubelet->Connect(uid, endpoints[static_cast<size_t>(i)]);
  }
  bool ok = net.Until([&] { return running == n; }, absl::Minutes(2));
  absl::Duration took = net.clock().Now() - begin;
  cpu = CpuSeconds() - cpu;
  guest_cpu = CpuSeconds(pid) - guest_cpu;
  net.Pass(absl::Seconds(1));
  double idle = CpuSeconds();
  net.Pass(absl::Seconds(3));
  idle = CpuSeconds() - idle;
  std::printf("%d of %d guests ready in %s\n", running, n, absl::FormatDuration(took).c_str());
  std::printf("kubelet: %.2f ms of CPU and %.1f KiB a link; idle %.2f %% of a core\n", cpu * 1e3 / n,
              static_cast<double>(ResidentKiB("self") - before) / n, idle / 3 * 100);
  std::printf("guest-sim: boot %.2f ms and %.1f KiB a guest; connected %.2f ms and %.1f KiB more\n", boot_cpu * 1e3 / n,
              static_cast<double>(guests_booted - guests_before) / n, guest_cpu * 1e3 / n,
              static_cast<double>(ResidentKiB(std::to_string(pid)) - guests_booted) / n);
  {
    // As a kubelet that was restarted: the guests have their certificates.
    cpu = CpuSeconds();
    Kubelet again(&net, key);
    for (int i = 0; i < n; ++i) {
      again->Connect(absl::StrCat("0b0e5a0c-1111-4222-8333-", absl::Hex(i, absl::kZeroPad12)),
                     endpoints[static_cast<size_t>(i)]);
    }
    ok = net.Until([&] { return again->states().size() == endpoints.size(); }, absl::Minutes(2)) && ok;
    std::printf("another kubelet: %.2f ms of CPU a link\n", (CpuSeconds() - cpu) * 1e3 / n);
  }
  std::fclose(control);
  ::kill(pid, SIGTERM);
  ::waitpid(pid, nullptr, 0);
  return ok ? 0 : 1;
}

}  // namespace
}  // namespace vck::guestlink

int main(int argc, char** argv) {
  int n = 1000;
  if (argc < 2 || (argc > 2 && !absl::SimpleAtoi(argv[2], &n))) {
    std::fprintf(stderr, "usage: links_bench GUEST-SIM [N]\n");
    return 2;
  }
  return vck::guestlink::Main(argv[1], n);
}
