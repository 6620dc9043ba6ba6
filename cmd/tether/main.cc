// tether: the first process of a pod VM. Called as modprobe, the kernel's helper that loads modules on demand; called
// with "pause", the first process of a process namespace that containers share.
#include <csignal>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

#include "guestos/equip.h"
#include "guestos/guest.h"
#include "guestos/modules.h"
#include "guestos/pause.h"

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv, argv + argc);
  const std::string_view program = argc > 0 ? argv[0] : "";
  if (program.substr(program.rfind('/') + 1) == "modprobe") {
    return vck::guestos::ModprobeMain({args.begin() + 1, args.end()});
  }
  if (args.size() == 2 && args[1] == "pause") vck::guestos::RunPause();
  if (args.size() == 2 && args[1] == "--version") {
    std::puts(VCK_VERSION);
    return 0;
  }
  if (::getpid() != 1) {
    std::fputs("tether: the first process of a pod VM, and nothing else; see docs/guest.md\n", stderr);
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  vck::guestos::RunGuest(vck::guestos::EquipWithCrun);
}
