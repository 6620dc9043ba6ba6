#include "guestos/modules.h"

#include <algorithm>
#include <cerrno>
#include <functional>
#include <set>

#include <fcntl.h>
#include <fnmatch.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/log.h"
#include "guestos/fd.h"
#include "guestos/files.h"
#include "guestos/kernel_files.h"
#include "guestos/vmware_rpc.h"

namespace vck::guestos {
namespace {

constexpr std::string_view kModulesDir = "/usr/lib/modules";
// What the kernel runs to load a module (tools/bootstrap-iso puts it there). Not where the kernel looks by itself:
// while it boots it asks for modules that are not in the initramfs, and would run this program each time to find that
// out.
constexpr std::string_view kModprobe = "/usr/lib/vch/modprobe";
const std::string kModprobeSysctl = "/proc/sys/kernel/modprobe";
constexpr size_t kMaxIndexBytes = size_t{4} << 20;

std::string Plain(std::string_view name) { return absl::StrReplaceAll(name, {{"-", "_"}}); }

// "kernel/fs/ext4/ext4.ko" is ext4.
std::string NameOf(std::string_view path) {
  if (size_t slash = path.rfind('/'); slash != std::string_view::npos) path.remove_prefix(slash + 1);
  return Plain(path.substr(0, path.find('.')));
}

}  // namespace

ModuleIndex ModuleIndex::Parse(std::string_view dep, std::string_view alias) {
  ModuleIndex out;
  for (std::string_view line : absl::StrSplit(dep, '\n')) {
    size_t colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0) continue;
    Entry entry{.path = std::string(line.substr(0, colon))};
    for (std::string_view need : absl::StrSplit(line.substr(colon + 1), ' ', absl::SkipWhitespace())) {
      entry.needs.push_back(NameOf(need));
    }
    std::string name = NameOf(entry.path);
    out.modules_.insert_or_assign(std::move(name), std::move(entry));
  }
  for (std::string_view line : absl::StrSplit(alias, '\n')) {
    if (!absl::ConsumePrefix(&line, "alias ")) continue;
    // The pattern may hold anything but a blank.
    size_t blank = line.find(' ');
    if (blank == std::string_view::npos) continue;
    out.aliases_.emplace_back(line.substr(0, blank), Plain(line.substr(blank + 1)));
  }
  return out;
}

StatusOr<std::vector<ModuleIndex::Module>> ModuleIndex::LoadOrder(const std::vector<std::string>& names) const {
  std::vector<Module> out;
  std::set<std::string, std::less<>> done, open;
  std::function<Status(std::string_view)> visit = [&](std::string_view name) -> Status {
    if (done.contains(name)) return absl::OkStatus();
    auto it = modules_.find(name);
    if (it == modules_.end()) return absl::NotFoundError(absl::StrCat("no module ", name));
    if (!open.emplace(name).second)
      return absl::FailedPreconditionError(absl::StrCat("module ", name, " needs itself"));
    for (const std::string& need : it->second.needs) RETURN_IF_ERROR(visit(need));
    done.emplace(name);
    out.push_back({std::string(name), it->second.path});
    return absl::OkStatus();
  };
  for (const std::string& name : names) RETURN_IF_ERROR(visit(Plain(name)));
  return out;
}

std::vector<std::string> ModuleIndex::Resolve(std::string_view wanted) const {
  std::string plain = Plain(wanted);
  if (modules_.contains(plain)) return {plain};
  std::vector<std::string> out;
  std::string exact(wanted);
  for (const auto& [pattern, module] : aliases_) {
    // Aliases of names have '-' and '_' as they like, those of devices do not.
    if (::fnmatch(pattern.c_str(), exact.c_str(), 0) != 0 && Plain(pattern) != plain) continue;
    if (std::find(out.begin(), out.end(), module) == out.end()) out.push_back(module);
  }
  return out;
}

std::string ModuleParameters(std::string_view command_line, std::string_view module) {
  std::vector<std::string_view> out;
  for (std::string_view word : absl::StrSplit(command_line, absl::ByAnyChar(" \t\n"), absl::SkipEmpty())) {
    size_t dot = word.find('.');
    if (dot == std::string_view::npos || Plain(word.substr(0, dot)) != Plain(module)) continue;
    out.push_back(word.substr(dot + 1));
  }
  return absl::StrJoin(out, " ");
}

StatusOr<Modules> Modules::Open() {
  utsname name{};
  ::uname(&name);
  Modules out;
  out.dir_ = absl::StrCat(kModulesDir, "/", name.release);
  ASSIGN_OR_RETURN(std::string dep, ReadFile(out.dir_ + "/modules.dep", kMaxIndexBytes));
  ASSIGN_OR_RETURN(std::string alias, ReadFile(out.dir_ + "/modules.alias", kMaxIndexBytes));
  out.index_ = ModuleIndex::Parse(dep, alias);
  out.command_line_ = ReadFile("/proc/cmdline", kMaxIndexBytes).value_or("");
  return out;
}

Status Modules::LoadFile(const ModuleIndex::Module& module) {
  std::string path = absl::StrCat(dir_, "/", module.path);
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  // Its file is removed once it is loaded at boot.
  if (!fd.valid()) return errno == ENOENT ? absl::OkStatus() : absl::ErrnoToStatus(errno, path);
  std::string parameters = ModuleParameters(command_line_, module.name);
  if (::syscall(SYS_finit_module, fd.get(), parameters.c_str(), 0) == 0 || errno == EEXIST) return absl::OkStatus();
  if (errno == ENODEV) return absl::NotFoundError(absl::StrCat("no device for ", module.name));
  return absl::ErrnoToStatus(errno, module.name);
}

void Modules::LoadBoot() {
  std::string wanted = ReadFile(dir_ + "/modules.boot", kMaxIndexBytes).value_or("");
  if (IsVmware()) wanted += ReadFile(dir_ + "/modules.vmware", kMaxIndexBytes).value_or("");
  std::vector<std::string> names = absl::StrSplit(wanted, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  auto order = index_.LoadOrder(names);
  if (!order.ok()) {
    Log(Severity::kError, "Kernel modules cannot be loaded", {{"err", order.status()}});
    return;
  }
  for (const ModuleIndex::Module& module : *order) {
    Status status = LoadFile(module);
    if (absl::IsNotFound(status)) {
      LogV(1, "Kernel module does not fit this machine", {{"module", module.name}});
    } else if (!status.ok()) {
      Log(Severity::kWarning, "Kernel module not loaded", {{"module", module.name}, {"err", status}});
      continue;
    }
    ::unlink(absl::StrCat(dir_, "/", module.path).c_str());
  }
  if (Status status = WriteKernelFile(kModprobeSysctl, kModprobe); !status.ok()) {
    Log(Severity::kWarning, "Modules will not be loaded on demand", {{"err", status}});
  }
}

Status Modules::Load(std::string_view wanted) {
  std::vector<std::string> names = index_.Resolve(wanted);
  if (names.empty()) return absl::NotFoundError(absl::StrCat("no module answers to ", wanted));
  ASSIGN_OR_RETURN(std::vector<ModuleIndex::Module> order, index_.LoadOrder(names));
  Status result;
  for (const ModuleIndex::Module& module : order) {
    if (Status status = LoadFile(module); !status.ok()) result = status;
  }
  return result;
}

int ModprobeMain(const std::vector<std::string>& args) {
  auto modules = Modules::Open();
  if (!modules.ok()) return 1;
  int result = 0;
  for (const std::string& arg : args) {
    if (arg.empty() || arg[0] == '-') continue;
    if (!modules->Load(arg).ok()) result = 1;
  }
  return result;
}

}  // namespace vck::guestos
