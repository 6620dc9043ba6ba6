// Kernel modules without kmod: what to load, in which order, and loading it.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace vck::guestos {

// What depmod would know: modules.dep ("a.ko: b.ko c.ko", paths relative to the directory) and modules.alias
// ("alias <pattern> <module>"). Lines of another form are skipped. Names count with '-' as '_'.
class ModuleIndex {
 public:
  static ModuleIndex Parse(std::string_view dep, std::string_view alias);

  struct Module {
    std::string name;
    std::string path;
  };
  // `names` with all that they need, each once, in an order that can be loaded. NotFound names one that is unknown;
  // FailedPrecondition a circle.
  [[nodiscard]] StatusOr<std::vector<Module>> LoadOrder(const std::vector<std::string>& names) const;
  // The modules that answer to what the kernel asks for ("fs-overlay", "nft-expr-2-nat"): of that name, or with an
  // alias that matches as fnmatch(3) does.
  [[nodiscard]] std::vector<std::string> Resolve(std::string_view wanted) const;

 private:
  struct Entry {
    std::string path;
    std::vector<std::string> needs;
  };
  std::map<std::string, Entry, std::less<>> modules_;
  std::vector<std::pair<std::string, std::string>> aliases_;  // pattern, module
};

// The parameters of one module from a kernel command line: "scsi_mod.scan=sync" gives "scan=sync" for scsi_mod.
std::string ModuleParameters(std::string_view command_line, std::string_view module);

// The running kernel's modules, in /usr/lib/modules/<release>.
class Modules {
 public:
  static StatusOr<Modules> Open();
  // Loads those that modules.boot names, on VMware those of modules.vmware too, and removes their files from the
  // initramfs: they would only take memory. One that does not fit this hardware or does not load is logged.
  void LoadBoot();
  // Loads what the kernel asks modprobe for. NotFound when no module answers to it.
  Status Load(std::string_view wanted);

 private:
  // NotFound when its device is missing, too.
  Status LoadFile(const ModuleIndex::Module& module);
  std::string dir_;
  std::string command_line_;
  ModuleIndex index_;
};

// The program as the kernel's modprobe: `modprobe -q -- NAME`. An exit status.
int ModprobeMain(const std::vector<std::string>& args);

}  // namespace vck::guestos
