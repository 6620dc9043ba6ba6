#include "guestos/oci_config.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "guestos/seccomp.h"

namespace vck::guestos {
namespace {

using guestapi::ContainerSpec;
using guestapi::GuestSpec;
using guestapi::Security;

constexpr std::string_view kDefaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// By number (linux/capability.h).
constexpr std::string_view kCapabilities[] = {"CHOWN",
                                              "DAC_OVERRIDE",
                                              "DAC_READ_SEARCH",
                                              "FOWNER",
                                              "FSETID",
                                              "KILL",
                                              "SETGID",
                                              "SETUID",
                                              "SETPCAP",
                                              "LINUX_IMMUTABLE",
                                              "NET_BIND_SERVICE",
                                              "NET_BROADCAST",
                                              "NET_ADMIN",
                                              "NET_RAW",
                                              "IPC_LOCK",
                                              "IPC_OWNER",
                                              "SYS_MODULE",
                                              "SYS_RAWIO",
                                              "SYS_CHROOT",
                                              "SYS_PTRACE",
                                              "SYS_PACCT",
                                              "SYS_ADMIN",
                                              "SYS_BOOT",
                                              "SYS_NICE",
                                              "SYS_RESOURCE",
                                              "SYS_TIME",
                                              "SYS_TTY_CONFIG",
                                              "MKNOD",
                                              "LEASE",
                                              "AUDIT_WRITE",
                                              "AUDIT_CONTROL",
                                              "SETFCAP",
                                              "MAC_OVERRIDE",
                                              "MAC_ADMIN",
                                              "SYSLOG",
                                              "WAKE_ALARM",
                                              "BLOCK_SUSPEND",
                                              "AUDIT_READ",
                                              "PERFMON",
                                              "BPF",
                                              "CHECKPOINT_RESTORE"};

// containerd's.
constexpr std::string_view kDefaultCapabilities[] = {
    "CHOWN",  "DAC_OVERRIDE", "FSETID",  "FOWNER",           "MKNOD",      "NET_RAW", "SETGID",
    "SETUID", "SETFCAP",      "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL",    "AUDIT_WRITE"};

constexpr std::string_view kMasked[] = {"/proc/acpi",
                                        "/proc/asound",
                                        "/proc/interrupts",
                                        "/proc/kcore",
                                        "/proc/keys",
                                        "/proc/latency_stats",
                                        "/proc/timer_list",
                                        "/proc/timer_stats",
                                        "/proc/sched_debug",
                                        "/sys/firmware",
                                        "/sys/devices/virtual/powercap",
                                        "/proc/scsi"};
constexpr std::string_view kReadOnly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

constexpr int64_t kCpuPeriod = 100'000, kMinCpuQuota = 1000;  // µs
constexpr int64_t kMinCpuShares = 2, kMaxCpuShares = 262'144;

json::Array Strings(const std::vector<std::string>& strings) {
  json::Array out;
  for (const std::string& s : strings) out.emplace_back(s);
  return out;
}
template <size_t N>
json::Array Strings(const std::string_view (&strings)[N]) {
  json::Array out;
  for (std::string_view s : strings) out.emplace_back(s);
  return out;
}

std::string FullName(std::string_view capability) {
  return absl::StrCat("CAP_", absl::StripPrefix(absl::AsciiStrToUpper(capability), "CAP_"));
}

bool Contains(const std::vector<std::string>& list, std::string_view wanted) {
  return std::find(list.begin(), list.end(), wanted) != list.end();
}

bool NamesAll(const std::vector<std::string>& list) {
  return std::any_of(list.begin(), list.end(), [](const std::string& s) { return absl::EqualsIgnoreCase(s, "ALL"); });
}

// As the CRI says: ALL first, then single ones are added, then dropped.
StatusOr<std::vector<std::string>> Capabilities(const Security& security, const std::vector<std::string>& available) {
  if (security.privileged) return available;
  std::vector<std::string> out;
  if (NamesAll(security.add_capabilities)) {
    out = available;
  } else if (!NamesAll(security.drop_capabilities)) {
    for (std::string_view name : kDefaultCapabilities) out.push_back(FullName(name));
  }
  for (const std::string& name : security.add_capabilities) {
    const std::string full = FullName(name);
    if (full == "CAP_ALL" || Contains(out, full)) continue;
    if (std::find(std::begin(kCapabilities), std::end(kCapabilities), full.substr(4)) == std::end(kCapabilities)) {
      return absl::InvalidArgumentError(absl::StrCat("unknown capability \"", full, "\" to add"));
    }
    out.push_back(full);
  }
  std::erase_if(out, [&](const std::string& name) {
    return !Contains(available, name) ||
           std::any_of(security.drop_capabilities.begin(), security.drop_capabilities.end(),
                       [&](const std::string& dropped) { return FullName(dropped) == name; });
  });
  return out;
}

std::string_view NameOf(std::string_view assignment) { return assignment.substr(0, assignment.find('=')); }

// Later ones replace earlier ones of the same name, at their place.
void SetEnv(std::vector<std::string>* env, std::string assignment) {
  for (std::string& existing : *env) {
    if (NameOf(existing) == NameOf(assignment)) {
      existing = std::move(assignment);
      return;
    }
  }
  env->push_back(std::move(assignment));
}

std::vector<std::string> Environment(const OciInput& input) {
  std::vector<std::string> env{std::string(kDefaultPath)};
  if (!input.pod->host_name.empty()) env.push_back(absl::StrCat("HOSTNAME=", input.pod->host_name));
  if (input.container->tty) env.emplace_back("TERM=xterm");
  for (const std::string& assignment : input.image->env) SetEnv(&env, assignment);
  for (const auto& [name, value] : input.container->env) SetEnv(&env, absl::StrCat(name, "=", value));
  // As runc does; the image may have no passwd for crun to look it up in.
  bool has_home = std::any_of(env.begin(), env.end(), [](std::string_view e) { return NameOf(e) == "HOME"; });
  if (!has_home) env.push_back("HOME=" + input.user.home);
  return env;
}

StatusOr<json::Object> Process(const OciInput& input, const std::vector<std::string>& capabilities) {
  const ContainerSpec& container = *input.container;
  ASSIGN_OR_RETURN(auto args, MergeCommand(container.command, container.args, *input.image));
  json::Object user;
  user["uid"] = input.user.uid;
  user["gid"] = input.user.gid;
  json::Array groups;
  for (uint32_t gid : input.user.groups) groups.emplace_back(gid);
  user["additionalGids"] = std::move(groups);

  json::Object sets;
  for (std::string_view set : {"bounding", "effective", "permitted"}) sets[set] = Strings(capabilities);

  json::Object out;
  out["terminal"] = container.tty;
  out["user"] = std::move(user);
  out["args"] = Strings(args);
  out["env"] = Strings(Environment(input));
  std::string cwd = !container.working_dir.empty() ? container.working_dir : input.image->working_dir;
  out["cwd"] = absl::StartsWith(cwd, "/") ? cwd : "/" + cwd;
  out["capabilities"] = std::move(sets);
  out["noNewPrivileges"] = container.security.no_new_privileges;
  out["oomScoreAdj"] = OomScoreAdj(*input.pod, container, input.memory_bytes);
  if (input.max_open_files > 0) {
    json::Object files;
    files["type"] = "RLIMIT_NOFILE";
    files["soft"] = input.max_open_files;
    files["hard"] = input.max_open_files;
    out["rlimits"] = json::Array{std::move(files)};
  }
  return out;
}

json::Object Mount(std::string_view path, std::string_view type, std::string_view source,
                   std::initializer_list<std::string_view> options) {
  json::Object out;
  out["destination"] = path;
  out["type"] = type;
  out["source"] = source;
  json::Array list;
  for (std::string_view option : options) list.emplace_back(option);
  out["options"] = std::move(list);
  return out;
}

json::Object Bind(const BindMount& mount) {
  std::string_view propagation = "rprivate";
  if (mount.propagation == BindMount::Propagation::kHostToContainer) propagation = "rslave";
  if (mount.propagation == BindMount::Propagation::kBidirectional) propagation = "rshared";
  return Mount(mount.path, "bind", mount.source, {"rbind", propagation, mount.read_only ? "ro" : "rw"});
}

size_t Depth(const BindMount& mount) {
  return static_cast<size_t>(std::count(mount.path.begin(), mount.path.end(), '/'));
}

json::Array Mounts(const OciInput& input) {
  const bool privileged = input.container->security.privileged;
  const std::string_view sys_mode = privileged ? "rw" : "ro";
  json::Array all;
  all.push_back(Mount("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}));
  all.push_back(Mount("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}));
  all.push_back(Mount("/dev/pts", "devpts", "devpts",
                      {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}));
  all.push_back(Mount("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}));
  all.push_back(Mount("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", sys_mode}));
  if (!input.cgroup_path.empty()) {
    all.push_back(Mount("/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", sys_mode}));
  }
  std::set<std::string_view> taken;
  for (const BindMount& mount : input.mounts) taken.insert(mount.path);
  json::Array out;
  for (json::Value& mount : all) {
    if (!taken.contains(json::String(mount, "destination"))) out.push_back(std::move(mount));
  }
  // What is mounted higher up must not hide what is below.
  std::vector<const BindMount*> sorted;
  sorted.reserve(input.mounts.size());
  for (const BindMount& mount : input.mounts) sorted.push_back(&mount);
  std::sort(sorted.begin(), sorted.end(), [](const BindMount* a, const BindMount* b) {
    return std::pair(Depth(*a), a) < std::pair(Depth(*b), b);  // of the same depth: in their order
  });
  for (const BindMount* mount : sorted) out.push_back(Bind(*mount));
  return out;
}

int64_t CpuShares(int64_t request_milli) {
  return std::clamp(request_milli * 1024 / 1000, kMinCpuShares, kMaxCpuShares);
}

int64_t CpuQuota(int64_t limit_milli) { return std::max(limit_milli * kCpuPeriod / 1000, kMinCpuQuota); }

json::Object Resources(const OciInput& input) {
  const ContainerSpec& container = *input.container;
  json::Object cpu;
  cpu["shares"] = CpuShares(container.cpu_request_milli);
  if (container.cpu_limit_milli > 0) {
    cpu["period"] = kCpuPeriod;
    cpu["quota"] = CpuQuota(container.cpu_limit_milli);
  }
  json::Object out;
  out["cpu"] = std::move(cpu);
  if (container.memory_limit_bytes > 0) {
    json::Object memory;
    memory["limit"] = container.memory_limit_bytes;
    memory["swap"] = container.memory_limit_bytes;  // memory and swap together: none
    out["memory"] = std::move(memory);
  }
  // A container dies as a whole when it runs out of memory.
  json::Object unified;
  unified["memory.oom.group"] = "1";
  if (input.max_processes > 0) unified["pids.max"] = std::to_string(input.max_processes);
  out["unified"] = std::move(unified);
  json::Object devices;
  devices["allow"] = container.security.privileged;
  devices["access"] = "rwm";
  out["devices"] = json::Array{std::move(devices)};
  return out;
}

json::Object Linux(const OciInput& input, const std::vector<std::string>& capabilities) {
  const Security& security = input.container->security;
  json::Object out;
  // Network, IPC and UTS are the pod's, and so the guest's.
  json::Array namespaces;
  auto add = [&](std::string_view type, std::string_view path) {
    json::Object item;
    item["type"] = type;
    if (!path.empty()) item["path"] = path;
    namespaces.push_back(std::move(item));
  };
  add("mount", "");
  if (!input.guest_pid_namespace) add("pid", input.pid_namespace);
  if (!input.cgroup_path.empty() && !security.privileged) add("cgroup", "");
  out["namespaces"] = std::move(namespaces);
  if (!input.cgroup_path.empty()) {
    out["cgroupsPath"] = input.cgroup_path;
    out["resources"] = Resources(input);
  }
  json::Array devices;
  for (const DeviceNode& node : input.devices) {
    json::Object item;
    item["path"] = node.path;
    item["type"] = std::string(1, node.type);
    item["major"] = node.major;
    item["minor"] = node.minor;
    item["fileMode"] = node.mode;
    item["uid"] = node.uid;
    item["gid"] = node.gid;
    devices.push_back(std::move(item));
  }
  if (!devices.empty()) out["devices"] = std::move(devices);
  if (!security.privileged && !security.unmasked_proc) {
    out["maskedPaths"] = Strings(kMasked);
    out["readonlyPaths"] = Strings(kReadOnly);
  }
  if (!security.privileged && security.seccomp == Security::Seccomp::kRuntimeDefault) {
    out["seccomp"] = DefaultSeccomp(capabilities);
  }
  using Propagation = BindMount::Propagation;
  auto any = [&](Propagation wanted) {
    return std::any_of(input.mounts.begin(), input.mounts.end(),
                       [&](const BindMount& m) { return m.propagation == wanted; });
  };
  if (any(Propagation::kBidirectional)) {
    out["rootfsPropagation"] = "rshared";
  } else if (any(Propagation::kHostToContainer)) {
    out["rootfsPropagation"] = "rslave";
  }
  return out;
}

}  // namespace

StatusOr<json::Object> MakeOciConfig(const OciInput& input) {
  ASSIGN_OR_RETURN(auto capabilities, Capabilities(input.container->security, input.capabilities));
  json::Object out;
  out["ociVersion"] = "1.0.2";
  ASSIGN_OR_RETURN(out["process"], Process(input, capabilities));
  json::Object root;
  root["path"] = input.rootfs;
  root["readonly"] = input.container->security.read_only_root;
  out["root"] = std::move(root);
  out["mounts"] = Mounts(input);
  out["linux"] = Linux(input, capabilities);
  return out;
}

json::Object MakeExecProcess(const json::Object& process, const std::vector<std::string>& command, bool tty) {
  json::Object out = process;
  out["args"] = Strings(command);
  out["terminal"] = tty;
  json::Array& env = out["env"].as_array();
  auto is_term = [](const json::Value& e) { return absl::StartsWith(json::AsString(e), "TERM="); };
  if (tty && std::none_of(env.begin(), env.end(), is_term)) env.emplace_back("TERM=xterm");
  return out;
}

std::vector<std::string> UpdateOptions(const guestapi::Resources& resources) {
  constexpr int64_t kNoLimit = -1;
  const int64_t quota = resources.cpu_limit_milli > 0 ? CpuQuota(resources.cpu_limit_milli) : kNoLimit;
  const int64_t memory = resources.memory_limit_bytes > 0 ? resources.memory_limit_bytes : kNoLimit;
  return {absl::StrCat("--cpu-share=", CpuShares(resources.cpu_request_milli)),
          absl::StrCat("--cpu-period=", kCpuPeriod), absl::StrCat("--cpu-quota=", quota),
          absl::StrCat("--memory=", memory), absl::StrCat("--memory-swap=", memory)};
}

std::vector<std::string> CapabilityNames(uint64_t mask) {
  std::vector<std::string> out;
  for (size_t i = 0; i < std::size(kCapabilities); ++i) {
    if ((mask >> i & 1) != 0) out.push_back(absl::StrCat("CAP_", kCapabilities[i]));
  }
  return out;
}

int OomScoreAdj(const GuestSpec& pod, const ContainerSpec& container, int64_t memory_bytes) {
  constexpr int kGuaranteed = -997, kBestEffort = 1000;
  bool guaranteed = true, best_effort = true;
  for (const ContainerSpec& c : pod.containers) {
    if (c.kind == ContainerSpec::Kind::kEphemeral) continue;
    const bool limited = c.cpu_limit_milli > 0 && c.memory_limit_bytes > 0;
    const bool equal = c.cpu_limit_milli == c.cpu_request_milli && c.memory_limit_bytes == c.memory_request_bytes;
    guaranteed = guaranteed && limited && equal;
    best_effort = best_effort && c.cpu_limit_milli == 0 && c.memory_limit_bytes == 0 && c.cpu_request_milli == 0 &&
                  c.memory_request_bytes == 0;
  }
  if (best_effort) return kBestEffort;
  if (guaranteed) return kGuaranteed;
  if (memory_bytes <= 0) return kBestEffort - 1;
  const int64_t share = 1000 * std::min(container.memory_request_bytes, memory_bytes) / memory_bytes;
  return static_cast<int>(std::clamp<int64_t>(1000 - share, 3, kBestEffort - 1));
}

}  // namespace vck::guestos
