#include "guestos/bundle.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/sysmacros.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/log.h"
#include "guestapi/late_env.h"
#include "guestos/files.h"
#include "guestos/kernel_files.h"
#include "guestos/oci_config.h"
#include "guestos/paths.h"

namespace vck::guestos {
namespace {

namespace fs = std::filesystem;
using guestapi::ContainerSpec;
using guestapi::GuestSpec;

constexpr size_t kMaxAccountFile = size_t{1} << 20;  // /etc/passwd, /etc/group
constexpr std::string_view kConfigError = "CreateContainerConfigError";
constexpr std::string_view kCreateError = "CreateContainerError";

// What we can give away: our own bounding set.
std::vector<std::string> OurCapabilities() {
  auto status = ReadFile("/proc/self/status", size_t{64} * 1024);
  if (!status.ok()) return {};
  for (std::string_view line : absl::StrSplit(*status, '\n')) {
    uint64_t mask = 0;
    if (!absl::ConsumePrefix(&line, "CapBnd:")) continue;
    if (absl::SimpleHexAtoi(absl::StripAsciiWhitespace(line), &mask)) return CapabilityNames(mask);
  }
  return {};
}

int64_t MemoryBytes() {
  struct sysinfo info{};
  return ::sysinfo(&info) == 0 ? static_cast<int64_t>(info.totalram) * info.mem_unit : 0;
}

// All device nodes but those that every container has of its own.
std::vector<DeviceNode> DevicesIn(const std::string& directory) {
  std::vector<DeviceNode> out;
  std::error_code ec;
  auto it = fs::recursive_directory_iterator(directory, ec);
  for (; !ec && it != fs::recursive_directory_iterator(); it.increment(ec)) {
    const std::string path = it->path().string();
    const std::string name = it->path().filename().string();
    if (it.depth() == 0 && (name == "pts" || name == "shm" || name == "mqueue" || name == "fd" || name == "console" ||
                            name == "ptmx" || name == "hugepages")) {
      it.disable_recursion_pending();
      continue;
    }
    struct stat info{};
    if (::lstat(path.c_str(), &info) != 0 || !(S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode))) continue;
    out.push_back({.path = absl::StrCat("/dev", path.substr(directory.size())),
                   .type = S_ISBLK(info.st_mode) ? 'b' : 'c',
                   .major = major(info.st_rdev),
                   .minor = minor(info.st_rdev),
                   .mode = info.st_mode & 07777,
                   .uid = info.st_uid,
                   .gid = info.st_gid});
  }
  return out;
}

std::string TextOrNothing(StatusOr<std::string> text) { return text.ok() ? *std::move(text) : ""; }

// Written in place: containers have mounted the file, not its name.
Status Refresh(const std::string& path, const std::string& content) {
  auto before = ReadFile(path, content.size() + 1);
  if (before.ok() && *before == content) return absl::OkStatus();
  return WriteFile(path, content);
}

// A quarter of the pod's processes is left for the others when one container starts as many as it can.
int64_t ProcessesOfOne(const std::string& cgroup) {
  if (cgroup.empty()) return 0;
  int64_t all = 0;
  auto text = ReadKernelFile(absl::StrCat(kCgroupRoot, cgroup, "/pids.max"));
  return text.ok() && absl::SimpleAtoi(*text, &all) ? all - all / 4 : 0;
}

}  // namespace

Bundles::Bundles(BundleOptions options)
    : options_(std::move(options)),
      images_(options_.images_directory, options_.device_of),
      volumes_({.disk_directory = options_.scratch_directory + "/volumes",
                .memory_directory = options_.secrets_directory,
                .mount_directory = options_.state_directory + "/subpaths",
                .host_root = options_.host_root}),
      capabilities_(OurCapabilities()),
      memory_bytes_(MemoryBytes()),
      max_processes_(ProcessesOfOne(options_.cgroup)) {}

Bundles::~Bundles() {
  if (!shared_memory_.empty()) ::umount2(shared_memory_.c_str(), MNT_DETACH);
}

void Bundles::CleanUp() {
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(options_.scratch_directory + "/containers", ec)) {
    if (Status removed = RemoveOverlay(entry.path().string()); !removed.ok()) {
      Log(Severity::kError, "A former container's files stay", {{"err", removed}});
    }
  }
}

Status Bundles::WritePodFiles(const GuestSpec& pod) {
  const std::string directory = options_.scratch_directory + "/pod";
  RETURN_IF_ERROR(MakeDirs(directory));
  if (!pod.hosts_file.empty()) RETURN_IF_ERROR(Refresh(directory + "/hosts", pod.hosts_file));
  if (!pod.resolv_conf.empty()) RETURN_IF_ERROR(Refresh(directory + "/resolv.conf", pod.resolv_conf));
  if (!pod.host_name.empty()) RETURN_IF_ERROR(Refresh(directory + "/hostname", pod.host_name + "\n"));
  return absl::OkStatus();
}

Status Bundles::SetSysctls(const GuestSpec& pod) {
  if (pod.sysctls == sysctls_set_) return absl::OkStatus();
  for (const auto& [name, value] : pod.sysctls) {
    // Either separator is fine, as sysctl(8) has it; the first one that is there counts.
    std::string path = name;
    const size_t first = name.find_first_of("./");
    if (first != std::string::npos && name[first] == '.') path = absl::StrReplaceAll(name, {{".", "/"}, {"/", "."}});
    if (absl::StrContains(path, "..")) return absl::InvalidArgumentError(absl::StrCat("sysctl \"", name, "\""));
    const std::string file = absl::StrCat(options_.sysctls, "/", path);
    Fd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd.valid() || ::write(fd.get(), value.data(), value.size()) < 0) {
      return FileError(errno, absl::StrCat("set sysctl ", name, "=", value, ":"), file);
    }
  }
  sysctls_set_ = pod.sysctls;
  return absl::OkStatus();
}

StatusOr<std::string> Bundles::SharedMemory(const GuestSpec& pod) {
  if (pod.host_ipc && fs::is_directory("/dev/shm")) return "/dev/shm";
  if (!shared_memory_.empty()) return shared_memory_;
  std::string path = options_.state_directory + "/shm";
  RETURN_IF_ERROR(MakeDirs(path));
  if (::mount("shm", path.c_str(), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=65536k") != 0) {
    return FileError(errno, "mount", path);
  }
  shared_memory_ = path;
  return path;
}

StatusOr<std::shared_ptr<const Image>> Bundles::OpenImage(const GuestSpec& pod, const ContainerSpec& container) {
  for (const guestapi::ImageSpec& image : pod.images) {
    if (image.id == container.image_id) return images_.Open(image.unit);
  }
  return absl::NotFoundError(
      absl::StrCat("this VM has no disk of image \"", container.image, "\" (", container.image_id, ")"));
}

Status Bundles::Apply(const GuestSpec& pod, absl::Time now) {
  RETURN_IF_ERROR(volumes_.Apply(pod, now));
  return WritePodFiles(pod);
}

StatusOr<Bundle> Bundles::Make(const GuestSpec& pod, const ContainerSpec& container, const std::string& run_id,
                               const std::string& pid_namespace, absl::Time now, BundleFailure* failure) {
  failure->reason = kCreateError;
  auto bundle = Fill(pod, container, run_id, pid_namespace, now, failure);
  if (!bundle.ok()) {
    failure->message = bundle.status().message();
    Remove(run_id);
  }
  return bundle;
}

StatusOr<Bundle> Bundles::Fill(const GuestSpec& pod, ContainerSpec container, const std::string& run_id,
                               const std::string& pid_namespace, absl::Time now, BundleFailure* failure) {
  ASSIGN_OR_RETURN(auto image, OpenImage(pod, container));
  auto config_error = [&](Status status) {
    if (!status.ok()) failure->reason = kConfigError;
    return status;
  };
  if (container.security.run_as_non_root) {
    const std::string name = absl::StrCat(pod.pod_name, "_", pod.pod_namespace, "(", pod.pod_uid, ")");
    RETURN_IF_ERROR(config_error(CheckNonRoot(container.security.user, image->config.user, name, container.name)));
  }
  RETURN_IF_ERROR(config_error(volumes_.Apply(pod, now)));
  const auto read_key = [this](const guestapi::EnvFileKey& key) { return volumes_.ReadEnvKey(key); };
  RETURN_IF_ERROR(config_error(SettleEnv(read_key, &container)));
  auto mounts = volumes_.MountsOf(container, run_id);
  RETURN_IF_ERROR(config_error(mounts.status()));
  RETURN_IF_ERROR(WritePodFiles(pod));
  RETURN_IF_ERROR(SetSysctls(pod));

  Bundle out;
  out.directory = absl::StrCat(options_.state_directory, "/containers/", run_id);
  out.overlay = absl::StrCat(options_.scratch_directory, "/containers/", run_id);
  if (!options_.cgroup.empty()) out.cgroup = absl::StrCat(options_.cgroup, "/", run_id);
  const std::string& signal = !container.stop_signal.empty() ? container.stop_signal : image->config.stop_signal;
  ASSIGN_OR_RETURN(out.stop_signal, ParseSignal(signal.empty() ? "TERM" : signal));
  ASSIGN_OR_RETURN(std::string rootfs, MountOverlay(image->rootfs, out.overlay));

  UserRequest request{.image_user = image->config.user,
                      .user = container.security.user,
                      .group = container.security.group,
                      .groups = pod.supplemental_groups};
  if (pod.fs_group) request.groups.push_back(*pod.fs_group);
  ASSIGN_OR_RETURN(out.user, ResolveUser(request, TextOrNothing(ReadInRoot(rootfs, "etc/passwd", kMaxAccountFile)),
                                         TextOrNothing(ReadInRoot(rootfs, "etc/group", kMaxAccountFile))));

  auto taken = [&](std::string_view path) {
    return std::any_of(mounts->begin(), mounts->end(), [&](const BindMount& m) { return m.path == path; });
  };
  auto add = [&](std::string source, std::string path, bool read_only) {
    if (!taken(path)) mounts->push_back({.source = std::move(source), .path = std::move(path), .read_only = read_only});
  };
  const std::string files = options_.scratch_directory + "/pod";
  const bool read_only = container.security.read_only_root;
  if (!pod.hosts_file.empty()) add(files + "/hosts", "/etc/hosts", false);
  if (!pod.resolv_conf.empty()) add(files + "/resolv.conf", "/etc/resolv.conf", read_only);
  if (!pod.host_name.empty()) add(files + "/hostname", "/etc/hostname", read_only);
  ASSIGN_OR_RETURN(std::string shm, SharedMemory(pod));
  add(std::move(shm), "/dev/shm", false);
  if (!container.termination_message_path.empty()) {
    out.termination_file = out.overlay + "/termination-log";
    RETURN_IF_ERROR(WriteFile(out.termination_file, "", 0666));
    add(out.termination_file, container.termination_message_path, false);
  }
  if (read_only) {
    // The image's volumes stay writable: the same directories, by a mount that is.
    ASSIGN_OR_RETURN(Fd root, OpenDirectory(rootfs));
    for (const std::string& path : image->config.volumes) {
      ASSIGN_OR_RETURN(Fd directory, MakeDirsInRoot(root.get(), path));
      std::error_code ec;
      const fs::path real = fs::read_symlink(PathOf(directory), ec);  // links on the way are the image's, not ours
      if (ec) return FileError(ec.value(), "readlink", path);
      add(real.string(), path, false);
    }
  }

  OciInput input{.pod = &pod,
                 .container = &container,
                 .image = &image->config,
                 .user = out.user,
                 .rootfs = rootfs,
                 .cgroup_path = out.cgroup,
                 .pid_namespace = pid_namespace,
                 .guest_pid_namespace = pod.host_pid,
                 .mounts = *std::move(mounts),
                 .capabilities = capabilities_,
                 .memory_bytes = memory_bytes_,
                 .max_open_files = options_.max_open_files,
                 .max_processes = max_processes_};
  if (container.security.privileged) input.devices = DevicesIn(options_.devices);
  ASSIGN_OR_RETURN(json::Object config, MakeOciConfig(input));
  out.process = config["process"].as_object();
  RETURN_IF_ERROR(MakeDirs(out.directory, 0700));
  RETURN_IF_ERROR(WriteFile(out.directory + "/config.json", json::Serialize(std::move(config)), 0600));
  return out;
}

void Bundles::Remove(const std::string& run_id) {
  for (const Status& status : {RemoveOverlay(absl::StrCat(options_.scratch_directory, "/containers/", run_id)),
                               RemoveTree(absl::StrCat(options_.state_directory, "/containers/", run_id))}) {
    if (!status.ok()) Log(Severity::kError, "A container's files stay", {{"err", status}});
  }
  volumes_.Release(run_id);
}

}  // namespace vck::guestos
